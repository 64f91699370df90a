"""The files of a report: which there are, and how they are written."""

import os
from pathlib import Path

import pytest
from log_trees import hits_at, race, realistic_race, trial_dir, write_trial
from PIL import Image

from benchmark.errors import UserError
from benchmark.report import write_report
from benchmark.scoring import score_tree

TEXTS = ["report.html", "scores.csv", "scores.json", "scores.md", "scores.tex"]


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = realistic_race(tmp_path_factory.mktemp("logs"), studies=2)
    write_report(score_tree(root), root / "report")
    return root / "report"


def test_files(report: Path):
    plots = [
        "ogbg_small_steps",
        "ogbg_small_studies",
        "ogbg_small_time",
        "performance_profile",
        "speedup_over_adamw",
        "speedup_over_shampoo",
    ]
    expected = [f"plots/{name}.{kind}" for name in plots for kind in ("png", "svg")]
    assert names_in(report) == [*expected, *TEXTS]


def test_the_page_comes_first(tmp_path: Path):
    files = write_report(score_tree(race(tmp_path, {"a": [1]}), baselines=()), tmp_path / "out")
    assert files[0] == tmp_path / "out" / "report.html"
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in files) == names_in(
        tmp_path / "out"
    )


def test_png_files_are_images_with_more_than_white(report: Path):
    for path in (report / "plots").glob("*.png"):
        with Image.open(path) as image:
            assert image.width >= 800
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50


def test_plots_without_anything_to_show_are_not_written(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [])
    write_report(score_tree(tmp_path, baselines=("a",)), tmp_path / "out")
    expected = ["plots/performance_profile.png", "plots/performance_profile.svg"]
    assert names_in(tmp_path / "out") == [*expected, *TEXTS]


def test_the_same_logs_give_the_same_bytes(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]})
    scores = score_tree(tmp_path, baselines=("a",))
    first = [path.read_bytes() for path in write_report(scores, tmp_path / "one")]
    second = [path.read_bytes() for path in write_report(scores, tmp_path / "two")]
    assert first == second


def test_a_second_report_replaces_the_first_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    race(tmp_path, {"a": [1]})
    scores = score_tree(tmp_path, baselines=())
    files = write_report(scores, tmp_path / "report")
    replaced = []

    def replace(source: Path, target: Path) -> None:
        # The new file is whole, and in the same folder, before the old one goes.
        assert Path(source).parent == Path(target).parent
        assert Path(source).stat().st_size > 0
        assert Path(target).exists()
        replaced.append(Path(target))
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    write_report(scores, tmp_path / "report")
    assert sorted(replaced) == sorted(files)
    left = [path for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert sorted(left) == sorted(files)
    # A report beside the submissions is not taken for one of them.
    assert list(score_tree(tmp_path, baselines=()).scores) == ["a"]


def test_a_folder_that_cannot_be_written_is_a_one_line_error(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*: cannot write the report: "):
        write_report(score_tree(tmp_path, baselines=()), tmp_path / "file" / "report")


def test_a_large_pool_stays_small_on_disk(tmp_path: Path):
    """Thirty submissions of three studies with 150 evaluations: two megabytes of points."""
    for i in range(30):
        for study in range(3):
            values = hits_at(60 + i + study, of=150)
            write_trial(trial_dir(tmp_path, f"s{i:02}", study=study), values, compile_time=None)
    files = write_report(score_tree(tmp_path, baselines=("s00",)), tmp_path / "out")
    assert sum(path.stat().st_size for path in files if path.suffix == ".svg") < 800_000
    assert files[0].stat().st_size < 1_200_000
