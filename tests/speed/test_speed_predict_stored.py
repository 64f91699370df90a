"""The constants as they are kept."""

from pathlib import Path

import pytest
from imagined_steps import step_times

from benchmark.errors import UserError
from speed.predict import entries, models, stored
from speed.predict.calibrate import calibrate
from speed.predict.gpus import GPUS


def test_what_was_written_is_read(tmp_path: Path):
    path = tmp_path / "constants.json"
    found = calibrate(step_times())
    stored.write(found, path)
    again = stored.read(path)
    assert again.efficiency == pytest.approx(found.efficiency, rel=1e-5)
    assert again.factorisation == pytest.approx(found.factorisation, rel=1e-5)
    assert again.caspr_iterations == pytest.approx(found.caspr_iterations, rel=1e-5)
    for kept, row in zip(again.references, found.references, strict=True):
        assert kept[:4] == row[:4]
        assert kept.seconds == pytest.approx(row.seconds, rel=1e-5)
    stored.write(again, path)
    assert stored.read(path) == again


def test_the_kept_constants_follow_from_the_kept_step_times():
    kept = stored.read()
    assert {GPUS["v100"].short in row.gpu for row in kept.references} == {True}
    shares = [
        models.model(row.workload).flops
        * entries.ENTRIES[row.submission].batch(row.workload)
        / (row.devices * 15.7e12 * row.seconds)
        for row in kept.references
    ]
    assert kept.efficiency.least == pytest.approx(max(shares), rel=1e-5)
    assert kept.efficiency.middle == pytest.approx(max(shares) ** 0.5, rel=1e-5)
    for value in (kept.efficiency, kept.launch, kept.factorisation):
        assert value.least <= value.middle <= value.most


def test_bad_files_are_told_in_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="no such file"):
        stored.read(tmp_path / "absent.json")
    for content in ("{", "[]", "{}"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(UserError, match=r"bad.json: not a calibration"):
            stored.read(tmp_path / "bad.json")


def test_trees_need_names_that_differ(tmp_path: Path):
    with pytest.raises(UserError, match="the log trees' names must differ: a, a"):
        stored.from_logs([tmp_path / "a", tmp_path / "b" / ".." / "a"])
