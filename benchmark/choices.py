"""Lists of names that a user gives: `all`, or some of those that are known."""

from collections.abc import Collection, Sequence

from benchmark.errors import UserError


def choose(flag: str, given: Sequence[str], known: Collection[str]) -> list[str]:
    """Those of `known` that are given, in its order; all of them for `["all"]`.

    Raises:
        UserError: none is given, or one is unknown.
    """
    if list(given) == ["all"]:
        return list(known)
    for name in given or [""]:
        if name not in known:
            raise UserError(f"--{flag}: {name!r} is unknown; allowed: all, {', '.join(known)}")
    return [name for name in known if name in given]
