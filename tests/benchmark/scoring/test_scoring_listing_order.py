"""In which order the file system lists a tree changes nothing at all."""

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from log_trees import hits_at, race, trial_dir, write_csv, write_trial

from benchmark.errors import UserError
from benchmark.scoring import MODES, Scores, score_tree
from benchmark.scoring.time_to_target import Mode


@pytest.fixture
def shuffled(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """All ways of listing a folder give another order each time."""
    chance = random.Random(1)
    listdir, scandir, iterdir = os.listdir, os.scandir, Path.iterdir

    def shuffle(entries: Any) -> list[Any]:
        entries = list(entries)
        return chance.sample(entries, len(entries))

    @contextlib.contextmanager
    def scan(path: Any = ".") -> Iterator[Any]:
        with scandir(path) as entries:
            yield iter(shuffle(entries))

    monkeypatch.setattr(os, "listdir", lambda path=".": shuffle(listdir(path)))
    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(shuffle(iterdir(path))))
    return chance


def odd_tree(root: Path) -> Path:
    """Ties of scores, times and rows; several numbered files; much that is told."""
    race(root, {"d": [2, 3], "c": [2, 3], "b": [3, 2], "a": [99, 99]})
    race(root, {"d": [2, 3], "b": [99, 2]}, "other")
    for trial, period in ((10, 15.0), (2, 10.0), (3, 12.0)):
        write_trial(trial_dir(root, "a", study=1, trial=trial), hits_at(2), period=period)
    for name in ("b", "c"):
        folder = trial_dir(root, name, study=5)
        for number, seed in ((9, 1), (10, 2), (1, 3)):
            write_trial(folder, hits_at(4))
            (folder / f"meta_data_{number}.json").write_text(f'{{"rng_seed": {seed}}}')
    write_csv(trial_dir(root, "c", study=6), "")
    write_csv(trial_dir(root, "c", study=7), "global_step,score\n1,2\n")
    write_trial(root / "e" / "study_0" / "toy_pytorch" / "trial_1", hits_at(1))
    write_trial(root / "e" / "study_0" / "toy_jax" / "trial_1", hits_at(1))
    write_trial(trial_dir(root, "d", "unknown"), hits_at(1), meta={})
    (trial_dir(root, "d") / "flags_0.json").write_text("{")
    for name in ("zz", "x_y", "report"):
        (root / "d" / "study_0" / name).mkdir()
    (root / "loop").symlink_to("loop")
    (root / "d" / "study_9").symlink_to("study_0")
    for name, cpu in (("b", "Another CPU"), ("d", "A third CPU")):
        folder = trial_dir(root, name, study=1)
        (folder / "meta_data_7.json").write_text(f'{{"cpu_model_name": "{cpu}"}}')
    return root


def everything(scores: Scores) -> dict[str, Any]:
    found = {name: getattr(scores, name) for name in scores.__dataclass_fields__}
    frames = {name: value for name, value in found.items() if hasattr(value, "to_csv")}
    assert frames.keys() >= {"table", "speedups", "studies", "profile", "curves", "facts"}
    plain = {name: value for name, value in found.items() if name not in frames}
    texts = {name: frame.to_csv() for name, frame in frames.items()}
    # As text, so that the order of dictionaries and NaN are compared too.
    return texts | {name: repr(value) for name, value in plain.items()}


@pytest.mark.parametrize("mode", MODES)
def test_nothing_depends_on_the_listing(tmp_path: Path, mode: Mode, shuffled: random.Random):
    root = odd_tree(tmp_path)
    baselines = ("c", "d")
    first = score_tree(root, baselines=baselines, mode=mode, allow_mixed=True)
    assert first.warnings
    assert first.left_out
    assert first.mixed
    assert first.differences
    state = shuffled.getstate()
    for _ in range(6):
        again = score_tree(root, baselines=baselines, mode=mode, allow_mixed=True)
        assert everything(again) == everything(first)
    assert shuffled.getstate() != state  # the listing was in fact shuffled


def test_errors_do_not_depend_on_it_either(tmp_path: Path, shuffled: random.Random):
    told = set()
    root = odd_tree(tmp_path)
    for _ in range(6):
        with pytest.raises(UserError) as error:
            score_tree(root, baselines=())
        told.add(str(error.value))
    assert len(told) == 1
