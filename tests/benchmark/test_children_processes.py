"""Child processes: side by side on their own cores, failing alone, never outliving their parent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmark import children
from benchmark.children import Job

ROOT = Path(children.__file__).parent.parent

# Writes when it began and ended and on which core, and tells its parent how it goes; ends when
# its partner, which may be itself, is up too.
WORKER = """
import json, sys, time
from pathlib import Path
folder, name, partner = sys.argv[1:4]
core = [flag for flag in sys.argv if flag.startswith("--cpu_core=")][0].split("=")[1]
began = time.time()
print("some library says hello")
print(json.dumps(["update", "trial_1", 0.5, "half"]), flush=True)
Path(folder, f"{name}.up").touch()
while not Path(folder, f"{partner}.up").exists():
    assert time.time() < began + 60
    time.sleep(0.01)
print(json.dumps(["end", "trial_1", "done"]), flush=True)
with open(f"{folder}/{name}.json", "w") as file:
    json.dump([began, time.time(), core], file)
"""


def job(name: str, *command: str) -> Job:
    return Job(name, (sys.executable, "-c", *command))


def worker(tmp_path: Path, name: str, partner: str | None = None) -> Job:
    return job(name, WORKER, str(tmp_path), name, partner or name)


def test_as_many_side_by_side_as_there_are_cores_each_on_its_own(tmp_path, reports):
    # The first two end only if they are up at the same time.
    partners = {"a": "b", "b": "a"}
    jobs = [worker(tmp_path, name, partners.get(name)) for name in "abcde"]
    assert children.run_all(jobs, [3, 7], reports) == {}
    told = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "abcde"]
    for began, _, _ in told:
        at_once = [core for start, end, core in told if start <= began < end]
        assert len(at_once) == len(set(at_once)) <= 2
    assert {core for _, _, core in told} == {"3", "7"}


def test_children_are_shown_under_their_labels(tmp_path, reports):
    children.run_all([worker(tmp_path, "a"), worker(tmp_path, "b")], [0, 1], reports)
    for name in "ab":
        updates = [update for update in reports.updates if update[0] == name]
        assert updates == [(name, 0.0, "starting"), (name, 0.5, "half")]
    assert sorted(reports.ends) == [("a", "done"), ("b", "done")]
    assert reports.notes == []


def test_one_that_fails_does_not_stop_the_others(tmp_path, reports):
    message = "import sys; print('log'); sys.exit('a warning\\nerror: no memory left')"
    summary = "import sys; print('error: of rank 1\\n====', file=sys.stderr); sys.exit(1)"
    jobs = [
        job("torchrun", summary),
        job("silent", "import sys; sys.exit(3)"),
        job("told", message),
        job("killed", "import os; os.kill(os.getpid(), 9)"),
        worker(tmp_path, "good"),
    ]
    failed = children.run_all(jobs, [0], reports)
    assert failed == {
        "torchrun": "of rank 1",
        "silent": "exit status 3",
        "told": "no memory left",
        "killed": "ended by SIGKILL",
    }
    assert (tmp_path / "good.json").exists()
    assert ("told", "failed: no memory left") in reports.ends


def test_no_jobs(reports):
    assert children.run_all([], [0], reports) == {}


# Children that know what they should do when they are interrupted, in a parent of their own.
PARENT = """
import sys
from benchmark import children, errors
from fakes.reports import RecordingReporter

CHILD = '''
import os, signal, sys, time
from benchmark import children
children.end_with_stdin()
kind, folder = sys.argv[1:3]
if kind == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"{folder}/{kind}.{os.getpid()}", "w").close()
try:
    time.sleep(60)
except KeyboardInterrupt:
    open(f"{folder}/{kind}.interrupted", "w").close()
    raise
'''

def main():
    children._GRACE_SEC = {number: GRACE for number in children._GRACE_SEC}
    jobs = [children.Job(k, (sys.executable, "-c", CHILD, k, sys.argv[1])) for k in KINDS]
    with RecordingReporter() as reporter:
        children.run_all(jobs, range(len(jobs)), reporter)

KINDS, GRACE = sys.argv[2].split(","), float(sys.argv[3])
errors.run_main(main, argv=["parent"])
"""


def start_parent(tmp_path, *kinds: str, grace: float) -> tuple[subprocess.Popen, list[int]]:
    """The parent process and the process ids of its children, once they are up. `grace`: seconds
    that children have to follow each signal."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), ",".join(kinds), str(grace)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while len(found := list(tmp_path.glob("*.*"))) < len(kinds):
        assert time.monotonic() < deadline, parent.communicate(timeout=1)
        time.sleep(0.02)
    return parent, [int(path.suffix[1:]) for path in found]


def gone(pids: list[int], within: float) -> bool:
    deadline = time.monotonic() + within
    while any(psutil.pid_exists(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_ctrl_c_ends_every_child_the_deaf_ones_too(tmp_path):
    parent, pids = start_parent(tmp_path, "polite", "deaf", grace=3.0)
    start = time.monotonic()
    parent.send_signal(signal.SIGINT)
    _, stderr = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert stderr == "interrupted\n"
    assert gone(pids, 0)
    assert (tmp_path / "polite.interrupted").exists()
    assert time.monotonic() - start > 5.9  # the deaf one was asked, told, then killed


def test_a_second_ctrl_c_kills_at_once(tmp_path):
    parent, pids = start_parent(tmp_path, "deaf", grace=300.0)
    parent.send_signal(signal.SIGINT)
    time.sleep(0.3)
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=60)  # well within the grace
    assert parent.returncode == 130
    assert gone(pids, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_end_when_their_parent_is_killed(tmp_path, number):
    parent, pids = start_parent(tmp_path, "polite", "deaf", grace=300.0)
    parent.send_signal(number)
    parent.communicate(timeout=60)
    assert gone(pids, 60)


def test_a_child_can_be_interrupted_while_it_writes_much(tmp_path, reports):
    """More than a pipe holds, in lines longer than one read."""
    text = "import json; print(json.dumps(['note', 'x' * 300000]))"
    children.run_all([job("long", text)], [0], reports)
    assert [len(note) for note in reports.notes] == [len("long: ") + 300000]
