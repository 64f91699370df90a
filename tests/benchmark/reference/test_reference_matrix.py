"""Running the matrix: against a fake harness, in real processes."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from fake_harness import FAILS, PASSES, SLEEPS, make_entry, make_harness, make_repository, write

from benchmark import progress
from benchmark.errors import UserError
from benchmark.reference import entries, harness, matrix, process
from benchmark.reference.matrix import Options, Runner

HOW = Options(batch_sizes={"ogbg": 2, "wmt": 4}, time_limit_sec=30.0)
TELLS = """
import json, os, sys
def behave(flags):
    import {module}
    told = dict(vars(flags), path=sys.path, cwd=os.getcwd(), environment=dict(os.environ))
    with open("{out}" + f"/{{flags.framework}}.{{os.getpid()}}.json", "w") as f:
        json.dump(told, f)
"""


class Bench:
    """A harness, a repository and a folder for results."""

    def __init__(self, folder: Path, submissions: dict[str, str]) -> None:
        self.folder = folder
        self.root = make_repository(folder / "root", submissions)
        self.clone = make_harness(folder / "clone")
        self.output = folder / "out"

    def tests(self, how=HOW, workloads=("ogbg",), frameworks=("jax",), names=("all",)):
        found = entries.of_repository(self.root, names, frameworks)
        official = harness.find(sys.executable, str(self.clone))
        return official, matrix.tests(found, self.root, workloads, official, how)

    def run(self, how=HOW, jobs=1, **choice):
        official, tests = self.tests(how, **choice)
        with progress.reporter("none") as reporter:
            Runner(official, self.output, how, reporter).run(tests, jobs)
        return {test.label: test.load(self.output) for test in tests}


def test_passes_and_failures_are_told(tmp_path):
    bench = Bench(tmp_path, {"good": PASSES, "bad": FAILS})
    found = bench.run(workloads=["ogbg", "wmt"])
    assert {label: result.status for label, result in found.items()} == {
        "good ogbg jax": "passed",
        "good wmt jax": "passed",
        "bad ogbg jax": "failed",
        "bad wmt jax": "failed",
    }
    bad = found["bad wmt jax"]
    assert bad.cause == "ValueError: no wmt today"
    assert "ValueError: no wmt today" in bad.output_tail
    assert 0 < bad.seconds < 30
    assert bad.command[1] == str(bench.clone / harness.TEST)
    assert "--global_batch_size=4" in bad.command


def test_tests_of_one_workload_come_before_those_of_the_next(tmp_path):
    _, tests = Bench(tmp_path, {"a": PASSES, "b": PASSES}).tests(workloads=["wmt", "ogbg"])
    assert [test.label for test in tests] == ["a wmt jax", "b wmt jax", "a ogbg jax", "b ogbg jax"]


def test_a_test_that_takes_too_long_is_ended_with_its_children(tmp_path):
    child = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', '{}'])\n"
    mark = f"import time; time.sleep(61.{os.getpid()})"
    bench = Bench(tmp_path, {"slow": child.format(mark) + SLEEPS})
    start = time.monotonic()
    found = bench.run(dataclasses.replace(HOW, time_limit_sec=3.0))
    assert time.monotonic() - start < 20
    assert found["slow ogbg jax"].status == "timeout"
    assert found["slow ogbg jax"].cause == "not finished after 3 s"
    assert not any(mark in " ".join(p.info["cmdline"] or []) for p in _processes())


def _processes():
    return psutil.process_iter(["cmdline"])


def test_what_a_test_sees(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    told = tmp_path / "told"
    told.mkdir()
    bench = Bench(tmp_path, {"a": TELLS.format(module="matprec", out=told)})
    how = dataclasses.replace(
        HOW, jax_num_cpu_devices=2, num_train_steps=3, compilation_cache=tmp_path / "cache"
    )
    found = bench.run(how, frameworks=["jax", "pytorch"])
    assert [result.status for result in found.values()] == ["passed", "passed"], found
    seen = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in told.iterdir()}
    for framework, one in seen.items():
        copy = bench.output / ".sources" / bench.tests()[1][0].sources.digest
        assert one["path"][1:3] == [str(bench.clone), str(copy)]
        assert "/somewhere/else" not in one["path"]
        assert str(bench.root) not in one["path"]
        assert not Path(one["cwd"]).is_relative_to(tmp_path)
        assert one["tuning_search_space"] == str(copy / "tuning_search_spaces/a.json")
        assert one["submission_path"] == f"submissions/a/{framework}/submission.py"
        assert one["num_train_steps"] == 3
        assert one["environment"]["OMP_NUM_THREADS"] == "1"
        assert one["environment"]["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cache")
    assert seen["jax"]["environment"]["JAX_NUM_CPU_DEVICES"] == "2"
    assert "JAX_NUM_CPU_DEVICES" not in seen["pytorch"]["environment"]
    assert seen["jax"]["log_file"] != seen["pytorch"]["log_file"]


def test_an_exported_entry_sees_only_itself(tmp_path):
    told = tmp_path / "told"
    told.mkdir()
    exports = tmp_path / "exports"
    source = TELLS.format(module="self_tuning.a.part", out=told)
    write(make_entry(exports / "self_tuning/a", source, space=False) / "part.py", "")
    make_entry(exports / "self_tuning/b", "import self_tuning.a\n" + PASSES, space=False)
    bench = Bench(tmp_path, {})
    official = harness.find(sys.executable, str(bench.clone))
    found = entries.of_exports(exports, ["all"], ["jax"])
    tests = matrix.tests(found, exports, ["ogbg"], official, HOW)
    with progress.reporter("none") as reporter:
        Runner(official, bench.output, HOW, reporter).run(tests, 1)
    first, second = (test.load(bench.output) for test in tests)
    assert first.status == "passed", first
    assert "--tuning_search_space=None" in first.command
    assert second.cause == "ModuleNotFoundError: No module named 'self_tuning.a'"


def keys(bench, how=HOW, **choice):
    return {test.label: test.key for test in bench.tests(how, **choice)[1]}


def test_what_can_change_a_result_changes_its_key(tmp_path):
    bench = Bench(tmp_path, {"a": PASSES})
    seen = [keys(bench)["a ogbg jax"]]
    for how in (
        dataclasses.replace(HOW, batch_sizes={"ogbg": 3}),
        dataclasses.replace(HOW, num_train_steps=2),
        dataclasses.replace(HOW, jax_num_cpu_devices=2),
    ):
        seen.append(keys(bench, how)["a ogbg jax"])
    for path in (
        "matprec/__init__.py",
        "submissions/a/jax/submission.py",
        "algoperf_api/__init__.py",
        "tuning_search_spaces/a.json",
    ):
        write(bench.root / path, "# changed")
        seen.append(keys(bench)["a ogbg jax"])
    write(bench.clone / "tests/helper.py", "# changed")
    seen.append(keys(bench)["a ogbg jax"])
    assert len(set(seen)) == len(seen) == 9


def test_what_cannot_change_a_result_keeps_its_key(tmp_path):
    bench = Bench(tmp_path, {"a": PASSES})
    before = keys(bench, frameworks=["jax", "pytorch"])
    write(bench.root / "benchmark/run.py", "# changed")
    write(bench.clone / "README.md", "changed")
    how = dataclasses.replace(HOW, time_limit_sec=9.0, compilation_cache=tmp_path)
    assert keys(bench, how, frameworks=["jax", "pytorch"]) == before
    devices = dataclasses.replace(HOW, jax_num_cpu_devices=2)
    assert keys(bench, devices, frameworks=["pytorch"])["a ogbg pytorch"] in before.values()


def test_an_edit_while_tests_run_changes_none_of_them(tmp_path):
    edit = "open('{path}', 'w').write('raise SystemExit(7)')\n"
    bench = Bench(tmp_path, {"a": PASSES, "b": PASSES})
    target = bench.root / "submissions/b/jax/submission.py"
    write(
        bench.root / "submissions/a/jax/submission.py",
        f"def behave(flags):\n    {edit.format(path=target)}",
    )
    official, tests = bench.tests()
    with progress.reporter("none") as reporter:
        Runner(official, bench.output, HOW, reporter).run(tests, 1)
    assert target.read_text() == "raise SystemExit(7)"
    assert [test.load(bench.output).status for test in tests] == ["passed", "passed"]
    assert all(test.load(bench.output) is None for test in bench.tests()[1])


def test_jobs_run_side_by_side(tmp_path):
    # Each waits for the other to have begun.
    meets = (
        "import pathlib, time\n"
        "def behave(flags):\n"
        f"    here = pathlib.Path({str(tmp_path)!r})\n"
        "    (here / flags.workload).touch()\n"
        "    other = {'ogbg': 'wmt', 'wmt': 'ogbg'}[flags.workload]\n"
        "    while not (here / other).exists():\n"
        "        time.sleep(0.05)\n"
    )
    bench = Bench(tmp_path, {"a": meets})
    found = bench.run(workloads=["ogbg", "wmt"], jobs=2)
    assert [result.status for result in found.values()] == ["passed", "passed"]


def test_an_interrupt_ends_what_runs_and_keeps_what_is_finished(tmp_path):
    bench = Bench(tmp_path, {"a": PASSES, "b": SLEEPS, "c": PASSES})
    official, tests = bench.tests()

    def interrupt():
        while tests[0].load(bench.output) is None:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), progress.reporter("none") as reporter:
        Runner(official, bench.output, HOW, reporter).run(tests, 1)
    assert [test.load(bench.output) is not None for test in tests] == [True, False, False]
    assert not any(str(bench.clone) in " ".join(p.info["cmdline"] or []) for p in _processes())


def test_a_command_that_cannot_be_run_is_the_user_s_mistake(tmp_path):
    with pytest.raises(UserError, match="absent: cannot be run: No such file"):
        process.run([str(tmp_path / "absent")], {}, tmp_path, 1.0, threading.Event())


def test_of_a_long_output_the_end_is_kept(tmp_path):
    program = "print('first'); print('x' * 300_000); print('last')"
    done = process.run([sys.executable, "-c", program], {}, tmp_path, 30.0, threading.Event())
    assert done is not None
    assert done.exit_status == 0
    assert "first" not in done.output
    assert done.output.endswith("x\nlast\n")
    assert len(done.output) == 200_000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs cores to keep to")
def test_a_process_is_kept_to_its_core(tmp_path):
    core = max(os.sched_getaffinity(0))
    program = "import os, time; time.sleep(0.5); print(os.sched_getaffinity(0))"
    command = [sys.executable, "-c", program]
    done = process.run(command, {}, tmp_path, 30.0, threading.Event(), core=core)
    assert done is not None
    assert done.output.strip() == f"{{{core}}}"
