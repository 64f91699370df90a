"""Many plots are drawn in two processes: the same files, and nothing left behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from log_trees import race

from benchmark.report import write, write_report
from benchmark.scoring import Scores, score_tree

REPOSITORY = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")

# Long after a fork: where Python drops exceptions, a Ctrl-C must not be lost.
SLOW = """
import os, sys, time
from benchmark.report import plots, write_report
from benchmark.scoring import score_tree

draw = plots.svg

def slowly(figure):
    time.sleep(0.5)
    return draw(figure)

plots.svg = slowly
os.register_at_fork(after_in_parent=lambda: time.sleep(0.5))
scores = score_tree(sys.argv[1])
print("drawing", flush=True)
write_report(scores, sys.argv[2])
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("one", "two", "three", "four", "five"):
        race(tmp_path / "logs", {"adamw": [3, 4], "shampoo": [1, 2]}, name)
    return tmp_path / "logs"


def report(scores: Scores, folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in write_report(scores, folder)
    }


def test_two_processes_draw_the_same(tree: Path, monkeypatch: pytest.MonkeyPatch):
    scores = score_tree(tree)
    by_two = report(scores, tree.parent / "two")
    assert len([name for name in by_two if name.endswith(".svg")]) >= write.MANY
    monkeypatch.setattr(write, "MANY", 1000)
    assert report(scores, tree.parent / "one") == by_two


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_stays_behind(tree: Path, sent: signal.Signals):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tree), str(tree.parent / "out")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "drawing\n"
    deadline = time.monotonic() + 20
    while len(children := psutil.Process(process.pid).children()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(sent)
    assert process.wait(timeout=20) != 0
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert len(gone) == 2, alive
