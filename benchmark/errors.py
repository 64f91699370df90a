"""Mistakes of the user's, told in one line, and the frame that every script runs in."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags

USER_ERROR = 2  # exit status of a mistake of the user's, before any training
INTERRUPTED = 130  # exit status after Ctrl-C, as a shell reports it
GOES_ON = "interrupted: the same command keeps what is finished and goes on"


class UserError(Exception):
    """What the user can mend: the message names the value, where it stands and what is allowed."""


def one_line(error: BaseException | str) -> str:
    """`error` on one line: messages of other libraries may span several."""
    return " ".join(str(error).split())


def summary(error: BaseException) -> str:
    """One line that names the type as well, for errors that are not the user's."""
    return f"{type(error).__name__}: {one_line(error)}"


def is_first_rank() -> bool:
    """Whether this process speaks for its run: it does, unless torchrun has started it as another
    than the first of several."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def run_main(
    main: Callable[[], int | None],
    argv: Sequence[str] | None = None,
    on_interrupt: str = "interrupted",
) -> NoReturn:
    """Parses absl flags, runs `main` and exits.

    The status is what `main` returned (None: 0), 2 with one line on stderr after a `UserError` or
    a bad flag, 130 with the line `on_interrupt` after Ctrl-C. absl's own frame would print several
    lines for a bad flag and leave `--help` with status 1.

    Of the processes that torchrun starts, the first alone prints. The others end with 0 where it
    tells a `UserError`, which all of them find: torchrun would end it before it has told.
    """
    args = list(sys.argv if argv is None else argv)
    if any(arg in ("-h", "-help", "--help") for arg in args[1:]):
        app.usage(shorthelp=True, writeto_stdout=True, exitcode=0)
    try:
        rest = flags.FLAGS(args)
        if len(rest) > 1:
            raise UserError(f"unexpected argument {rest[1]!r}: flags are written --name=value")
        status = main() or 0
    except (UserError, flags.Error) as error:
        status = 0
        if is_first_rank():
            print(f"error: {one_line(error)}", file=sys.stderr)
            status = USER_ERROR
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if is_first_rank():
            print(on_interrupt, file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) has left: say nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
