"""Runs as child processes, some side by side, each on a core of its own.

A child belongs to its parent: it is told to stop when the parent is interrupted, and ends by itself
when the parent is killed, because its standard input, a pipe that the parent holds, closes then.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.errors import INTERRUPTED
from benchmark.progress import Reporter, relay

# How long an interrupted child may take before it is told more firmly: XLA finishes a compilation
# before Python sees a signal.
_GRACE_SEC = {signal.SIGINT: 3.0, signal.SIGTERM: 2.0}


@dataclass(frozen=True)
class Job:
    """A command that ends by itself; `label` is what is shown."""

    label: str
    argv: tuple[str, ...]


def run_all(jobs: Iterable[Job], cores: Sequence[int | None], reporter: Reporter) -> dict[str, str]:
    """Runs every job, as many side by side as there are cores; each gets `--cpu_core` (but for
    None, which keeps it to no core), `--progress=json` and `--end_with_stdin` besides its own
    arguments.

    Returns:
        What went wrong, in one line, by the label of each job that failed. A job that fails does
        not stop the others.

    Raises:
        KeyboardInterrupt: after every child has ended.
    """
    waiting = list(reversed(list(jobs)))
    free = list(reversed(cores))
    running: list[_Child] = []
    failed = {}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        stack.callback(_end, running)
        while waiting or running:
            while waiting and free:
                child = _Child(waiting.pop(), free.pop())
                reporter.update(child.job.label, 0.0, "starting")
                running.append(child)
                selector.register(child.output, selectors.EVENT_READ, child)
            for key, _ in selector.select():
                child = key.data
                if child.read(reporter):
                    continue
                selector.unregister(child.output)
                told = child.failure()
                running.remove(child)
                free.append(child.core)
                if told is not None:
                    failed[child.job.label] = told
                    reporter.end(child.job.label, f"failed: {told}")
    return failed


def end_with_stdin() -> None:
    """In a child: ends this process at once when its standard input closes."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, name="end_with_stdin", daemon=True).start()


class _Child:
    def __init__(self, job: Job, core: int | None) -> None:
        self.job = job
        self.core = core
        self._unread = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        pinned = [] if core is None else [f"--cpu_core={core}"]
        self.process = subprocess.Popen(
            [*job.argv, *pinned, "--progress=json", "--end_with_stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # Ctrl-C in the terminal is for the parent, which passes it on.
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()

    def read(self, reporter: Reporter) -> bool:
        """Shows what the child has told; False at the end of its output."""
        data = os.read(self.output, 65536)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            relay(line.decode(errors="replace"), self.job.label, reporter)
        return bool(data)

    def failure(self) -> str | None:
        """Waits for the end; what the child last wrote to standard error if it failed."""
        status = self.process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        self.close()
        if status == 0:
            return None
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        told = [line for line in lines if line.strip()] or [f"exit status {status}"]
        # torchrun adds a summary of its own to what a script says.
        errors = [line for line in told if line.startswith("error: ")] or told
        return errors[-1].removeprefix("error: ")

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()


def _end(children: list[_Child]) -> None:
    """Ends children that still run: asked first, then told, then killed."""
    try:
        for number, grace in _GRACE_SEC.items():
            for child in children:
                child.process.send_signal(number)
            deadline = time.monotonic() + grace
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
    finally:  # also after a second Ctrl-C
        for child in children:
            child.process.kill()
            child.process.wait()
            child.close()
