"""Flags that only AlgoPerf's harness knows: told from our own and handed on unread."""

from collections.abc import Sequence

from absl import flags

_FALSE = ("false", "f", "0")
# Taken by absl or by `run_main` without being defined.
_BUILT_IN = ("flagfile", "undefok", "h", "help")
# absl's own, which the harness logs by and this repository's scripts do not.
_LOGGING = ("verbosity", "v", "alsologtostderr", "logtostderr", "log_dir", "stderrthreshold")


def split(
    argv: Sequence[str], known: flags.FlagValues = flags.FLAGS
) -> tuple[list[str], list[str]]:
    """`argv`, as of sys.argv, without the flags that are not in `known`, and those flags.

    A flag's value in an argument of its own (`--name value`) goes where the flag goes. Arguments
    after `--` are left where they are.
    """
    ours, theirs = list(argv[:1]), []
    place = ours
    for number, argument in enumerate(argv[1:], start=1):
        if argument == "--":
            ours.extend(argv[number:])
            break
        if argument.startswith("-"):
            place = ours if _is_known(name_of(argument), known) else theirs
        place.append(argument)
    return ours, theirs


def name_of(argument: str) -> str:
    """`--name=value` -> `name`."""
    return argument.lstrip("-").partition("=")[0]


def switch(arguments: Sequence[str], name: str) -> bool | None:
    """What the last `--name`, `--noname` or `--name=value` says; None without one."""
    said = None
    for argument in arguments:
        if not argument.startswith("-"):
            continue
        if name_of(argument) == f"no{name}":
            said = False
        elif name_of(argument) == name:
            said = argument.partition("=")[2].lower() not in _FALSE
    return said


def _is_known(name: str, known: flags.FlagValues) -> bool:
    if name.removeprefix("no") in _LOGGING:
        return False
    if name in known or name in _BUILT_IN:
        return True
    positive = name.removeprefix("no")
    return positive != name and positive in known and known[positive].boolean
