"""The matrix: which tests there are, and running those that have no result yet."""

import datetime
import queue
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import cores
from benchmark.progress import Reporter
from benchmark.reference import process, results, sources
from benchmark.reference.entries import NO_SEARCH_SPACE, Entry
from benchmark.reference.harness import TEST, Harness

_POLL_SEC = 1.0


@dataclass(frozen=True)
class Options:
    """How every test of a matrix is run.

    Attributes:
        batch_sizes: global batch size of each workload.
        jax_num_cpu_devices: virtual JAX devices; None: as the machine has.
        time_limit_sec: of one test.
        compilation_cache: folder of JAX's persistent compilation cache, or None.
    """

    batch_sizes: dict[str, int]
    num_train_steps: int = 1
    jax_num_cpu_devices: int | None = None
    time_limit_sec: float = 1800.0
    compilation_cache: Path | None = None


@dataclass(frozen=True)
class Test:
    """One test: `made_of` is all that can change its result, `key` a digest of that."""

    entry: Entry
    workload: str
    sources: sources.Sources
    made_of: dict[str, Any]

    @property
    def key(self) -> str:
        return results.digest(self.made_of)

    @property
    def label(self) -> str:
        return f"{self.entry.name} {self.workload} {self.entry.framework}"

    def load(self, folder: Path) -> results.Result | None:
        entry = self.entry
        return results.load(folder, entry.name, self.workload, entry.framework, self.key)


def tests(
    entries: Iterable[Entry], root: Path, workloads: Sequence[str], harness: Harness, how: Options
) -> list[Test]:
    """Every test of the matrix: all entries on the first workload, then on the next."""
    entries = list(entries)
    code = {parts: sources.of(root, parts) for parts in {entry.parts for entry in entries}}
    return [
        Test(
            entry,
            workload,
            code[entry.parts],
            {
                "sources": code[entry.parts].digest,
                "submission_path": entry.submission_path,
                "search_space": entry.search_space,
                "harness": harness.digest,
                "versions": harness.versions,
                "workload": workload,
                "framework": entry.framework,
                "global_batch_size": how.batch_sizes[workload],
                "num_train_steps": how.num_train_steps,
                "jax_num_cpu_devices": _devices(how, entry),
            },
        )
        for workload in workloads
        for entry in entries
    ]


def _devices(how: Options, entry: Entry) -> int | None:
    return how.jax_num_cpu_devices if entry.framework == "jax" else None


class Runner:
    """Runs tests side by side and stores each result as soon as it is known."""

    def __init__(
        self, harness: Harness, output_dir: Path, how: Options, reporter: Reporter
    ) -> None:
        self._harness = harness
        self._output_dir = output_dir
        self._how = how
        self._reporter = reporter
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._finished = 0

    def run(self, todo: Sequence[Test], jobs: int) -> None:
        """Runs all of `todo`, `jobs` at a time.

        Raises:
            KeyboardInterrupt: after the running tests have been ended; nothing is stored for them.
        """
        folder = self._output_dir / ".sources"
        copies = {t.sources.digest: t.sources.snapshot(folder) for t in todo}
        commits = {t.sources.digest: sources.commit(t.sources.root) for t in todo}
        # A core each where there are enough: JAX, TensorFlow and PyTorch size their pools by it.
        slots: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        free = cores.available()[::-1]
        for i in range(jobs):
            slots.put(free[i] if len(free) >= jobs else None)

        def run_one(test: Test) -> None:
            core = slots.get()
            try:
                digest = test.sources.digest
                self._run_one(test, copies[digest], commits[digest], core, len(todo))
            finally:
                slots.put(core)

        with ThreadPoolExecutor(jobs) as pool:
            futures: set[Future[None]] = {pool.submit(run_one, test) for test in todo}
            try:
                while futures:
                    done, futures = wait(futures, _POLL_SEC, FIRST_COMPLETED)
                    for future in done:
                        future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _run_one(self, test: Test, copy: Path, commit: str, core: int | None, total: int) -> None:
        if self._stop.is_set():
            return
        limit = self._how.time_limit_sec

        def tick(seconds: float) -> None:
            with self._lock:
                text = f"{seconds:.0f} s, {self._finished} of {total} finished"
                self._reporter.update(test.label, seconds / limit, text)

        # A folder outside any checkout, for neither its files nor packages beside it to get in.
        with tempfile.TemporaryDirectory(prefix="reference_test_") as scratch:
            command = self._command(test, copy, scratch)
            variables = process.environment(
                [self._harness.directory, copy], _devices(self._how, test.entry)
            )
            if self._how.compilation_cache is not None:
                variables["JAX_COMPILATION_CACHE_DIR"] = str(self._how.compilation_cache)
            ended = process.run(command, variables, Path(scratch), limit, self._stop, tick, core)
        if ended is None:
            return
        status, cause = results.judge(ended.exit_status, ended.output, limit)
        result = results.Result(
            submission=test.entry.name,
            workload=test.workload,
            framework=test.entry.framework,
            status=status,
            seconds=round(ended.seconds, 1),
            cause=cause,
            time_limit_sec=limit,
            command=command,
            environment=variables,
            key=test.key,
            made_of=test.made_of,
            commit=commit,
            finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            output_tail=ended.output.splitlines()[-results.TAIL_LINES :],
            harness_commit=self._harness.commit,
        )
        results.save(result, self._output_dir)
        with self._lock:
            self._finished += 1
            told = f"{status} in {ended.seconds:.0f} s, {self._finished} of {total}"
            self._reporter.end(test.label, f"{told}{': ' if cause else ''}{cause}")

    def _command(self, test: Test, copy: Path, scratch: str) -> list[str]:
        space = test.entry.search_space
        if space != NO_SEARCH_SPACE:
            space = str(copy / space)
        return [
            self._harness.python,
            str(self._harness.directory / TEST),
            f"--workload={test.workload}",
            f"--framework={test.entry.framework}",
            f"--submission_path={test.entry.submission_path}",
            f"--tuning_search_space={space}",
            f"--global_batch_size={self._how.batch_sizes[test.workload]}",
            f"--num_train_steps={self._how.num_train_steps}",
            # Its default is one file for all processes of the machine.
            f"--log_file={scratch}/log.pkl",
        ]
