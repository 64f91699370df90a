"""The HTML page."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from log_trees import (
    META,
    gold,
    hits_at,
    race,
    realistic_race,
    trial_dir,
    write_targets,
    write_trial,
)

from benchmark.report import html, write_report
from benchmark.report.style import COLOURS, looks
from benchmark.scoring import Scores, score_tree


class Page(HTMLParser):
    """Collects what a test asks of the page and checks that its tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "line", "rect", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.table: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag == "table":
            self.table = self.tables.setdefault(str(dict(attrs)["id"]), [])
        if tag == "tr":
            self.table.append([])
        if tag in ("td", "th"):
            self.table[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        # Not the glyph of a swatch.
        if {"td", "th"} & set(self.open) and "text" not in self.open:
            self.table[-1][-1] += data.strip()

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)


def page_of(scores: Scores) -> str:
    """Without plots."""
    return html.render(scores, [], looks(list(scores.scores), scores.baselines))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = realistic_race(tmp_path_factory.mktemp("logs"), studies=2)
    page, *_ = write_report(score_tree(root), root / "report")
    return page.read_text()


def assert_self_contained(text: str, plots: int) -> None:
    page = Page(text)
    assert not {tag for tag, _ in page.attributes} & {"script", "link", "iframe", "object"}
    sources = [str(attrs["src"]) for _, attrs in page.attributes if "src" in attrs]
    assert len(sources) == plots
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    links = [str(attrs["href"]) for _, attrs in page.attributes if "href" in attrs]
    anchors = [attrs["id"] for _, attrs in page.attributes if "id" in attrs]
    assert len(anchors) == len(set(anchors))
    assert all(link[0] == "#" and link[1:] in anchors for link in links)
    assert not re.search(r"https?:|@import|url\(", text)
    assert all(attrs.get("alt") for tag, attrs in page.attributes if tag == "img")


def test_the_page_needs_nothing_else(report: str):
    # Profile, two speed-ups, times, two curves.
    assert_self_contained(report, 6)
    viewport = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    assert ("meta", viewport) in Page(report).attributes


def test_it_says_what_was_found_and_how_it_was_scored(report: str):
    words = Page(report).words
    for told in (
        "asgo has the highest AlgoPerf benchmark score, 1.0000, of 4 submissions on 1 workload",
        "Of 2 studies: no ranking",
        "written rules (mode fastest): of a study's trials the fastest counts",
        "the exact area under the performance profile",
        "Imagined CPU @ 3.00GHz, 1 of 2 CPU cores",
        "jax 0.7.0, optax 0.2.2, numpy 2.4.6",
        str(META["git_commit_hash"]),
        "8 runs",
    ):
        assert told in words, told
    assert "MIXED" not in words
    assert "official script differ" not in words


def test_the_tables_hold_the_numbers(report: str):
    tables = Page(report).tables
    assert [row[1] for row in tables["scores"]] == [
        *("submission", "asgo", "nadamw", "shampoo", "adamw")
    ]
    assert tables["scores"][1][0] == "1"
    assert tables["scores"][1][2:4] == ["1.0000", "1 of 1"]
    assert tables["times"][1][0] == "asgo"
    assert re.fullmatch(r"24\.11\.00\W", tables["times"][1][1])
    assert tables["entries-table"][1][:3] == ["asgo", "ogbg_small", "2 of 2"]
    runs = tables["runs"]
    assert len(runs) == 5
    assert runs[1] == [
        *("adamw", "jax", "ogbg_small", "0 to 1", "1", "2"),
        *("learning_rate 0.001", "100, 101", "targets_reached"),
    ]


def test_every_submission_has_its_look_in_every_table(report: str):
    for look in looks(["adamw", "asgo", "nadamw", "shampoo"]).values():
        assert report.count(f'stroke="{look.colour}"') == 3
        assert report.count(f'fill="{look.colour}">{look.glyph}') == 3


def test_names_are_escaped_wherever_they_stand(tmp_path: Path):
    name, workload = "<b>&_%\"'", "<i>&_%"
    race(tmp_path, {name: [2, 99, 99], "other": [1, 1, 1]}, workload)
    page, *_ = write_report(score_tree(tmp_path, baselines=(name, "<x>")), tmp_path / "out")
    text = page.read_text()
    assert "<b>&" not in text
    assert "<i>" not in text
    assert "baseline &lt;x&gt;: no logs" in text
    parsed = Page(text)
    assert parsed.tables["scores"][2][1] == name
    assert parsed.tables["missed"][1][:2] == [name, workload]
    assert_self_contained(text, 5)


def test_mixed_runs_are_marked_at_the_top(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    write_trial(trial_dir(tmp_path, "b"), hits_at(1), meta={**META, "cpu_model_name": "<Another>"})
    text = page_of(score_tree(tmp_path, baselines=(), allow_mixed=True))
    banner = text[text.index('role="alert"') : text.index("<nav")]
    assert "Mixed runs: times do not compare." in banner
    assert "different hardware: &lt;Another&gt;, 1 of 2 CPU cores (1 run, of b)" in banner
    assert "(MIXED)</title>" in text


def test_runs_that_compare_have_no_banner(report: str):
    assert 'role="alert"' not in report


def listed(text: str, start: str, end: str) -> Sequence[str]:
    return re.findall(r"<li>(.*?)</li>", text[text.index(start) : text.index(end)], re.DOTALL)


def test_many_warnings_show_one_of_each_kind_and_fold_the_rest(tmp_path: Path):
    race(tmp_path, {"b": [1] * 9})
    for study in range(9):
        folder = write_trial(trial_dir(tmp_path, "a", study=study), hits_at(1))
        (folder / "meta_data_0.json").write_text("{")
    scores = score_tree(tmp_path, baselines=("none",))
    assert len(scores.warnings) == 10
    text = page_of(scores)
    notices = text[text.index('class="notices"') : text.index('id="leaderboard"')]
    shown, folded = notices.split("<details>")
    assert len(re.findall("<li>", shown)) == 2
    assert "(and 8 more like it)" in shown
    assert "10 things to know before comparing</strong>, 9 of them about what was left out" in shown
    assert "<summary>8 more</summary>" in folded
    assert len(re.findall("<li>", folded)) == 8
    assert notices.count("meta_data_0.json") == 9


def test_no_warnings_no_box(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [1]}), baselines=())
    assert scores.warnings == ()
    assert 'class="notices"' not in page_of(scores)


def test_where_the_modes_differ_it_says_so_and_why(tmp_path: Path):
    """Of the slow one the script takes a later time; the score follows."""
    race(tmp_path, {"quick": [2]})
    for i in range(5):
        write_trial(trial_dir(tmp_path, f"slow{i}", trial=1), hits_at(2), period=30.0)
        write_trial(trial_dir(tmp_path, f"slow{i}", trial=2), hits_at(3), period=10.0)
    scores = score_tree(tmp_path, baselines=())
    text = page_of(scores)
    assert "5 entries have another time by AlgoPerf's" in Page(text).words
    items = listed(text, 'id="differences"', 'id="hardware"')
    assert len(items) == 5
    assert items[0].startswith("slow0, toy: 30 s by the rules (--mode=fastest), 60 s by the offic")
    assert "the script takes the trial that meets the target at the lowest row" in items[0]
    board = Page(text).tables["scores"]
    assert board[0][3] == "score, modeofficial"
    by_name = {row[1]: row[2:4] for row in board}
    assert by_name["slow0"] == ["0.8333", f"{scores.other_scores['slow0']:.4f}"]
    assert scores.other_scores["slow0"] < 0.5


def test_lost_credit_is_told_with_its_reason(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]}, "toy")
    race(tmp_path, {"a": [6], "b": [1]}, "toy_variant")
    targets = write_targets(tmp_path / "targets.json", {"toy": 0.7}, {"toy_variant": 0.7})
    text = page_of(score_tree(tmp_path, targets=targets, baselines=()))
    assert '<abbr title="no credit: toy_variant over 4 times the best">10.0*</abbr>' in text
    page = Page(text)
    assert "* toy, no credit for a: toy_variant over 4 times the best." in page.words
    assert page.tables["scores"][1][1:4] == ["b", "1.0000", "1 of 1"]
    assert page.tables["scores"][2][1:4] == ["a", "0.0000", "0 of 1"]
    assert page.tables["missed"][1][-1] == "toy_variant over 4 times the best"
    assert "a workload gives credit only if its variant is reached too" in page.words


def test_missed_targets_by_how_much(tmp_path: Path):
    """The best run meets the target, the median study falls short by 0.02."""
    race(tmp_path, {"a": [8, 10, 10], "b": [1, 1, 1]})
    text = page_of(score_tree(tmp_path, baselines=()))
    assert Page(text).tables["missed"][1] == [
        *("a", "toy", "≥ 0.7", "0.7", "met", "0.02 (2.9 %)", "1 of 3, 2 needed", "not reached")
    ]
    assert "a: 0.02 (2.9 %)" in Page(text).words


@pytest.mark.parametrize(
    ("logged", "best", "typical", "told"),
    [
        ([1], "met", "-", "a: 1 of 3 studies reached it"),
        ([9, 9], "0.01 (1.4 %)", "0.01 (1.4 %)", "a: 0.01 (1.4 %)"),
        ([1, 9], "met", "0.01 (1.4 %)", "a: 0.01 (1.4 %)"),
    ],
)
def test_absent_studies_lie_behind_the_median_one(
    tmp_path: Path, logged: list[int], best: str, typical: str, told: str
):
    """Of three required studies."""
    race(tmp_path, {"a": logged, "b": [1, 1, 1]})
    page = Page(page_of(score_tree(tmp_path, baselines=())))
    assert page.tables["missed"][1][4:6] == [best, typical]
    assert told in page.words


def test_only_nan_was_logged(tmp_path: Path):
    race(tmp_path, {"b": [1]})
    write_trial(trial_dir(tmp_path, "a"), ["nan", "nan"])
    page = Page(page_of(score_tree(tmp_path, baselines=())))
    assert page.tables["missed"][1][3:6] == ["-", "-", "-"]
    assert "a: nothing finite was logged" in page.words


def test_nothing_missed(tmp_path: Path):
    text = page_of(score_tree(race(tmp_path, {"a": [1]}), baselines=()))
    assert "None: every entry has credit on every workload." in text


@pytest.mark.parametrize(
    ("hits", "told"),
    [
        ({"a": [99], "b": [99]}, "No submission reached a target for credit, on 1 workload"),
        ({"a": [99]}, "The only submission did not reach a target for credit"),
        ({"a": [1]}, "a, scored alone, has the AlgoPerf benchmark score 1.0000 on 1 workload"),
        ({"a": [1], "b": [1]}, "a, b have the highest AlgoPerf benchmark score, 1.0000, of 2"),
    ],
)
def test_the_result_in_special_pools(tmp_path: Path, hits: dict[str, list[int]], told: str):
    page, *_ = write_report(score_tree(race(tmp_path, hits), baselines=()), tmp_path / "out")
    assert told in Page(page.read_text()).words


def test_no_evaluations_at_all(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [])
    page, *_ = write_report(score_tree(tmp_path, baselines=("a",)), tmp_path / "out")
    assert "No evaluations were logged." in page.read_text()
    assert_self_contained(page.read_text(), 1)


def test_no_logs_in_mode_official_and_no_budget_known(tmp_path: Path):
    meta = {key: META[key] for key in META if "max_allowed" not in key}
    write_trial(trial_dir(tmp_path, "a", "one"), hits_at(1), meta=meta)
    write_trial(trial_dir(tmp_path, "b", "one"), hits_at(2), meta=meta)
    write_trial(trial_dir(tmp_path, "b", "two"), hits_at(99), meta=meta)
    scores = score_tree(tmp_path, baselines=("b",), mode="official")
    page, *_ = write_report(scores, tmp_path / "out")
    parsed = Page(page.read_text())
    assert [row[0] for row in parsed.tables["times"][1:]] == ["a", "b"]
    assert parsed.tables["times"][1][2] == "-"
    assert "not known" in parsed.words
    # Over both one workload; over all a budget would be needed.
    assert parsed.tables["scores"][1][-2:] == ["-", "2.00 (1)"]
    assert "nan" not in parsed.words.lower().split()


def test_a_large_pool_is_folded_and_says_who_has_a_colour(tmp_path: Path):
    race(tmp_path, {f"s{i:02}": [1 + i // 7] for i in range(42)})
    text = page_of(score_tree(tmp_path, baselines=("s41",)))
    words = Page(text).words
    assert (
        f"{len(COLOURS)} submissions, the baselines and the best by score, have a colour" in words
    )
    assert "<details><summary>42 entries</summary>" in text
    assert "<details><summary>42 rows</summary>" in text
    assert "s00, s01, s02, s03 and 3 more, 10.0 s" in words


def test_the_official_logs_of_version_05():
    root = gold() / "v05_external" / "logs"
    scores = score_tree(root, baselines=("shampoo_submission", "baseline"))
    page = Page(page_of(scores))
    board = page.tables["scores"]
    assert board[1][1:3] == ["shampoo_submission", "0.7863"]
    assert [row[4] for row in board[1:]] == ["7 of 8", "6 of 8", "6 of 8", "6 of 8", "4 of 8"]
    assert board[1][-2:] == ["1.39 (1.31 to 1.46)", "1.45 (7)"]
    assert len(page.tables["times"][2]) == 15
    assert len(page.tables["runs"]) < 20
