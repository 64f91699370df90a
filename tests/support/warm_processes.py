"""Python in processes that a server forks, with what takes seconds to import imported before.

For what needs processes of its own, but not that they start from nothing: many runs of one script,
and PyTorch's ranks. What a user starts is a new interpreter, and every script's tests have that
too: runs here do not show what imports of their own would need.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# A server that only imports: forking this process could stop at a lock of another thread. The
# first optimizer of PyTorch imports torch._dynamo, which takes as long as PyTorch itself.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["absl.flags", "pandas", "rich", "benchmark.report", "torch", "torch._dynamo"]
)


def run_script(
    name: str, *flags: str, cwd: Path = REPOSITORY, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """scripts/<name>.py with these flags, as `subprocess.run` would have it.

    Raises:
      subprocess.TimeoutExpired: it took longer.
    """
    script = str(REPOSITORY / "scripts" / f"{name}.py")
    (done,) = run(_run_script, [((script, *flags), {})], cwd, timeout)
    return done


def run_codes(
    code: str, arguments: Sequence[str], environments: Sequence[Mapping[str, str]], timeout: float
) -> list[subprocess.CompletedProcess[str]]:
    """`python -c code arguments` in the repository, in a process for each of the environments.

    Raises:
      subprocess.TimeoutExpired: one of them took longer.
    """
    calls = [((code, *arguments), environment) for environment in environments]
    return run(_run_code, calls, REPOSITORY, timeout)


def run(
    function: Callable[[], None],
    calls: Sequence[tuple[Sequence[str], Mapping[str, str]]],
    cwd: Path,
    timeout: float,
) -> list[subprocess.CompletedProcess[str]]:
    """`function()` in a process for every (sys.argv, variables), all at once."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [[Path(folder, f"{i}.{stream}") for stream in "oe"] for i in range(len(calls))]
        processes: list[Any] = [
            _SERVER.Process(target=_run, args=(function, argv, dict(environment), cwd, *paths))
            for (argv, environment), paths in zip(calls, pairs, strict=True)
        ]
        try:
            for process in processes:
                process.start()
            for process in processes:
                process.join(timeout)
            done = [process.exitcode for process in processes]
        finally:
            for process in processes:
                process.kill()
        if None in done:
            raise subprocess.TimeoutExpired([function.__name__], timeout)
        return [
            subprocess.CompletedProcess(argv, status, *(path.read_text() for path in paths))
            for (argv, _), status, paths in zip(calls, done, pairs, strict=True)
        ]


def _run(
    function: Callable[[], None],
    argv: Sequence[str],
    environment: dict[str, str],
    cwd: Path,
    stdout: Path,
    stderr: Path,
) -> None:
    for number, path in ((1, stdout), (2, stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.environ |= environment
    # PyTorch, imported before, no longer reads OMP_NUM_THREADS.
    sys.modules["torch"].set_num_threads(1)
    os.chdir(cwd)
    sys.argv = list(argv)
    function()


def _run_script() -> None:
    runpy.run_path(sys.argv[0], run_name="__main__")


def _run_code() -> None:
    code = sys.argv[0]
    sys.argv[0] = "-c"
    sys.path.insert(0, "")
    exec(code, {"__name__": "__main__"})
