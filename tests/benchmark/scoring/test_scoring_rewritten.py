"""Files that another process rewrites while they are read."""

import itertools
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from log_trees import META, METRIC, race, trial_dir, write_csv, write_trial

from benchmark.scoring import MODES, score_tree

# Rewrites its file with ever more rows, now whole, now in pieces, as a run that has no notion of
# atomic replacement, and at times puts its folder aside. The third row meets the target (30.25 s).
WRITER = """
import os, pathlib, random, sys
path, header = pathlib.Path(sys.argv[1]), sys.argv[2]
meta = path.with_name("meta_data_0.json")
whole = meta.read_text()
chance = random.Random(0)
while True:
    with open(path, "w") as file:
        file.write(header)
        for i in range(1, chance.randint(1, 40)):
            row = f"{100 * i},{10 * i}.25,{0.65 if i < 3 else 0.75}\\n"
            cut = chance.randrange(len(row))
            file.write(row[:cut])
            file.flush()
            file.write(row[cut:])
    meta.write_text(whole[: chance.randrange(len(whole))])
    meta.write_text(whole)
    if chance.random() < 0.1:
        path.unlink()
    if chance.random() < 0.3:
        aside = path.parent.with_name("interrupted_trial_1")
        path.parent.rename(aside)
        aside.rename(path.parent)
"""


def test_a_file_that_is_rewritten_gives_the_times_in_it_or_none(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]})
    header = f"global_step,score,validation/{METRIC}\n"
    path = write_csv(trial_dir(tmp_path, "a"), header)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path, header])
    seen, told, end = set(), set(), time.monotonic() + 3
    try:
        while time.monotonic() < end:
            for mode in MODES:
                scores = score_tree(tmp_path, baselines=("b",), mode=mode)
                times = scores.by_workload("time_to_target")["toy"]
                assert times["b"] == 20.0
                seen.add(times.get("a", math.nan))  # while its folder is aside there is no a
                told.update(line.partition(": ")[0] for line in scores.left_out)
        assert writer.poll() is None, "the writer has failed"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    finite = {found for found in seen if math.isfinite(found)}
    assert finite == {30.25}
    # Else the writer was never in the way.
    assert len(seen) > 1
    assert any("a/study_0/toy_jax" in name for name in told)


def test_files_that_go_between_the_listing_and_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A run that is started anew removes what was there."""
    race(tmp_path, {"a": [1, 1], "b": [2, 2]})
    listing = os.listdir
    gone = trial_dir(tmp_path, "a", study=1)

    def removing(path: str | Path = ".") -> list[str]:
        names = listing(path)
        if Path(path) == gone:
            for name in names:
                (gone / name).unlink()
            gone.rmdir()
        return names

    monkeypatch.setattr(os, "listdir", removing)
    scores = score_tree(tmp_path, baselines=())
    assert not gone.exists()
    assert scores.by_workload("time_to_target")["toy"].to_dict() == {"b": 20.0, "a": math.inf}
    assert any("study_1/toy_jax/trial_1" in line for line in scores.left_out)


def test_folders_that_go_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each time that something asks what a folder is, it may be the last."""
    for moment in itertools.count(1):
        root = race(tmp_path / f"{moment}", {"a": [1, 1], "b": [2, 2]})
        gone = trial_dir(root, "a", study=1)
        with monkeypatch.context() as patch:
            asked = removed_when_asked(gone, moment, patch)
            scores = score_tree(root, baselines=())
        if len(asked) < moment:
            break
        times = scores.by_workload("time_to_target")["toy"].to_dict()
        assert times == {"b": 20.0, "a": math.inf}, moment
        assert any("a" in line and "study" in line for line in scores.left_out), moment
    assert moment > 3


def removed_when_asked(folder: Path, moment: int, patch: pytest.MonkeyPatch) -> list[Path]:
    """Removes a folder right after the so manieth answer on it or its file; those asked for."""
    stat = Path.stat
    asked: list[Path] = []

    def stat_and_remove(path: Path, **kwargs: Any) -> os.stat_result:
        result = stat(path, **kwargs)
        if folder in (path, path.parent):
            asked.append(path)
            if len(asked) == moment:
                shutil.rmtree(folder)
        return result

    patch.setattr(Path, "stat", stat_and_remove)
    return asked


def test_a_growing_run_only_ever_gains(tmp_path: Path):
    """Every prefix of the evaluations that a run writes gives its final time, or none yet."""
    chance = random.Random(0)
    race(tmp_path, {"b": [2]})
    values = [0.65, 0.6, 0.72, 0.5, 0.8]
    for length in range(1, 6):
        folder = write_trial(trial_dir(tmp_path, "a"), values[:length], meta=META)
        with open(folder / "eval_measurements.csv", "a") as file:
            file.write("1.5,600,600,60,0.9"[: chance.randint(1, 18)])
        found = score_tree(tmp_path, baselines=()).by_workload("time_to_target").at["a", "toy"]
        assert found == (30.0 if length >= 3 else math.inf)
