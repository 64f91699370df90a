"""The files of a report: page, plots, data."""

import csv
import json
import math
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from log_trees import META, hits_at, race, realistic_race, trial_dir, write_trial
from PIL import Image

from benchmark.errors import UserError
from benchmark.report import write_report
from benchmark.scoring import score_tree


class Page(HTMLParser):
    """Collects what a test asks of the page and checks that its tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "line"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open) and "text" not in self.open:
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = realistic_race(tmp_path_factory.mktemp("logs"), studies=2)
    write_report(score_tree(root), root / "report")
    return root / "report"


def test_files(report: Path):
    assert sorted(path.name for path in report.iterdir()) == [
        "ogbg_small_steps.png",
        "ogbg_small_time.png",
        "performance_profile.png",
        "report.html",
        "scores.csv",
        "scores.json",
    ]


def test_the_page_needs_nothing_else(report: Path):
    text = (report / "report.html").read_text()
    page = Page(text)
    tags = {tag for tag, _ in page.attributes}
    assert not tags & {"script", "link", "iframe"}
    sources = [attrs.get("src") or "" for _, attrs in page.attributes if "src" in attrs]
    assert len(sources) == 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"(href|url\()\s*=?\s*[\"']?https?:", text)
    assert all(attrs.get("alt") for tag, attrs in page.attributes if tag == "img")
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        page.attributes
    )


def test_the_page_holds_the_table_and_the_facts(report: Path):
    page = Page((report / "report.html").read_text())
    assert page.rows[0][:3] == ["submission", "workload", "reached"]
    assert page.rows[1][:3] == ["asgo", "ogbg_small", "2 of 2"]
    assert [row[0] for row in page.rows[1:5]] == ["asgo", "nadamw", "shampoo", "adamw"]
    for fact in (
        "asgo has the highest AlgoPerf benchmark score, 1.0000. Of 2 studies: no ranking",
        "validation mean_average_precision ≥ 0.7, budget 60 s",
        "Imagined CPU @ 3.00GHz, 1 of 2 CPU cores",
        "jax 0.7.0, optax 0.2.2, numpy 2.4.6",
        str(META["git_commit_hash"]),
        "8 runs",
    ):
        assert fact in re.sub(r"\s+", " ", page.text), fact
    runs = [row for row in page.rows if len(row) > 5 and row[2] == "jax"]
    assert len(runs) == 8
    assert runs[1] == ["adamw", "ogbg_small", "jax", "1", "1", "101", "targets_reached",
                       "learning_rate 0.001"]  # fmt: skip


def test_png_files_are_images_with_more_than_white(report: Path):
    for path in report.glob("*.png"):
        with Image.open(path) as image:
            assert image.width >= 1000
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50


def test_scores_json(report: Path):
    data = json.loads((report / "scores.json").read_text())
    assert list(data["scores"]) == ["asgo", "nadamw", "shampoo", "adamw"]
    assert (data["mode"], data["integral"], data["num_studies"]) == ("fastest", "exact", 2)
    asgo = data["time_to_target_s"]["asgo"]["ogbg_small"]
    adamw = data["time_to_target_s"]["adamw"]["ogbg_small"]
    assert data["time_ratios"]["adamw"]["asgo"]["ogbg_small"] == pytest.approx(asgo / adamw)
    assert data["scores"]["adamw"] == pytest.approx((4 - adamw / asgo) / 3)
    assert data["targets"]["ogbg_small"]["validation_target_value"] == 0.7
    assert data["steps_to_target"]["asgo"]["ogbg_small"] > 0
    for name in ("time_to_target_s", "steps_to_target"):
        studies = [row for row in data["studies"] if row["submission"] == "asgo"]
        assert [row["study"] for row in studies] == [0, 1]
        values = [float(row[name]) for row in studies]
        assert data[name]["asgo"]["ogbg_small"] == pytest.approx(sum(values) / 2)
    assert data["warnings"] == []


def test_scores_csv(report: Path):
    with open(report / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["submission"] for row in rows] == ["asgo", "nadamw", "shampoo", "adamw"]
    assert float(rows[0]["score"]) == 1.0
    assert {"reached", "steps_to_target", "time_to_target", "ratio_to_shampoo", "compile_time",
            "best_validation", "target"} <= set(rows[0])  # fmt: skip


def test_what_is_not_reached_or_unknown(tmp_path: Path):
    race(tmp_path, {"a": [99], "shampoo": [1]})
    write_report(score_tree(tmp_path), tmp_path / "out")
    text = (tmp_path / "out" / "scores.json").read_text()
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["time_to_target_s"]["a"]["toy"] == "inf"
    assert data["time_ratios"]["shampoo"]["a"]["toy"] == "inf"
    assert list(data["time_ratios"]) == ["shampoo"]
    with open(tmp_path / "out" / "scores.csv", newline="") as file:
        by_name = {row["submission"]: row for row in csv.DictReader(file)}
    assert by_name["a"]["time_to_target"] == "inf"
    assert by_name["a"]["ratio_to_adamw"] == ""
    assert "have the highest" not in text


def test_nobody_reaches_the_target(tmp_path: Path):
    race(tmp_path, {"a": [99], "b": [99]})
    page, *_ = write_report(score_tree(tmp_path, baselines=()), tmp_path / "out")
    assert "None of them reached a target." in page.read_text()


def test_no_evaluations_at_all(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [])
    page, *others = write_report(score_tree(tmp_path, baselines=()), tmp_path / "out")
    assert "No evaluations were logged." in page.read_text()
    assert [path.name for path in others] == [
        "scores.json",
        "scores.csv",
        "performance_profile.png",
    ]


def test_names_and_warnings_are_escaped(tmp_path: Path):
    race(tmp_path, {"<b>bold</b> & co".replace("/", "_"): [1]})
    page, *_ = write_report(score_tree(tmp_path, baselines=("<x>",)), tmp_path / "out")
    text = page.read_text()
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold&lt;_b&gt; &amp; co" in text
    assert "baseline &lt;x&gt;: no logs" in text
    Page(text)


def test_facts_that_differ_are_counted(tmp_path: Path):
    for study, commit in enumerate("aab"):
        meta = {**META, "git_commit_hash": commit * 40}
        write_trial(trial_dir(tmp_path, "x", study=study), hits_at(1), meta=meta)
    page, *_ = write_report(score_tree(tmp_path, baselines=()), tmp_path / "out")
    text = page.read_text()
    assert f"{'a' * 40} (2 of 3 runs)<br>{'b' * 40} (1 of 3 runs)" in text
    assert '<th scope="col">commit</th>' in text


def test_facts_that_nobody_logged(tmp_path: Path):
    meta = {key: META[key] for key in META if key.startswith("workload.")}
    write_trial(trial_dir(tmp_path, "x"), hits_at(1), meta=meta)
    page, *_ = write_report(score_tree(tmp_path, baselines=()), tmp_path / "out")
    assert "<dt>Hardware</dt><dd>not logged</dd>" in page.read_text()


def test_the_same_logs_give_the_same_bytes(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]})
    scores = score_tree(tmp_path, baselines=())
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
        replaced.append(Path(target).name)
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    write_report(scores, tmp_path / "report")
    assert sorted(replaced) == sorted(path.name for path in files)
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(replaced)
    # A report beside the submissions is not taken for one of them.
    assert list(score_tree(tmp_path, baselines=()).scores) == ["a"]


def test_a_folder_that_cannot_be_written_is_a_one_line_error(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*: cannot write the report: "):
        write_report(score_tree(tmp_path, baselines=()), tmp_path / "file" / "report")


def test_scores_survive_the_round_trip(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [3, 4], "b": [1, 99]}), baselines=())
    write_report(scores, tmp_path / "out")
    data = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert data["scores"] == scores.scores
    assert float(data["time_to_target_s"]["b"]["toy"]) == math.inf
    assert data["studies_reached"] == {"a": {"toy": 2.0}, "b": {"toy": 1.0}}
