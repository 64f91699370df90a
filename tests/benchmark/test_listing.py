"""The table of workloads: complete, and silent on what was not measured."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmark import listing, tables
from workloads_overrides import SMALL_WORKLOADS, budgets, targets
from workloads_overrides.c4.sizes import SIZES


@pytest.fixture(scope="module")
def shown() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def rows(shown) -> dict[str, listing.Row]:
    found = listing.rows(lambda name, done: shown.append((name, done)))
    return {row.name: row for row in found}


def test_every_workload_once_with_its_aliases(rows):
    assert list(rows) == [
        *SMALL_WORKLOADS,
        "c4_60m",
        "c4, c4_130m",
        "c4_350m",
        *targets.load(),
    ]


def test_parameters(rows):
    counts = {name: row.parameters for name, row in rows.items()}
    # The design's figures.
    assert counts["c4_60m"] == 58_073_600
    assert counts["c4, c4_130m"] == 134_105_856
    assert counts["c4_350m"] == 367_969_280
    assert counts["ogbg"] == 3_554_176
    assert counts["wmt"] == 133_521_408
    assert counts["imagenet_resnet"] == 25_557_032
    assert counts["imagenet_vit"] == 22_122_472
    assert counts["finewebedu_lm"] is None  # not in the harness at the pinned commit
    assert all(1e4 < counts[name] < 1e6 for name in SMALL_WORKLOADS)


def test_a_target_that_was_not_measured_is_not_shown(rows):
    for name in ("c4_60m", "c4, c4_130m", "c4_350m"):
        row = rows[name]
        assert row.status == "provisional"
        assert row.validation_target is row.test_target is None
        assert row.metric == "loss"
        assert listing.cells(row)[3:6] == ["-", "-", "provisional"]


@pytest.mark.parametrize("name", SMALL_WORKLOADS)
def test_small_workloads_have_what_their_files_say(rows, name):
    row = rows[name]
    folder = Path(listing.__file__).parent.parent / "workloads_overrides" / "small"
    file = folder / name.removesuffix("_small") / "targets.json"
    content = json.loads(file.read_text())
    assert row.status == content["status"] == "measured"
    assert row.validation_target == content["validation_target_value"]
    assert row.test_target == content["test_target_value"]
    numbers = ("max_allowed_runtime_sec", "eval_period_time_sec", "step_hint")
    assert row.budgets == {"own": tuple(content[number] for number in numbers)}


def test_budgets_of_c4_stand_under_their_rule_sets_alone(rows):
    assert rows["c4, c4_130m"].budgets["2026_4xA100"] == (13_000, 300, 20_000)
    for name in SIZES:
        (row,) = [row for row in rows.values() if row.name.split(", ")[0] == name]
        assert set(row.budgets) == set(budgets.RULE_SETS)


def test_official_ones(rows):
    for name, target in targets.load().items():
        row = rows[name]
        assert row.validation_target == target.validation_target_value
        assert row.test_target == target.test_target_value
        assert set(row.budgets) <= set(budgets.RULE_SETS)
    assert rows["ogbg"].budgets["v0.6_8xV100"] == (12_011, 240, 52_000)
    assert set(rows["finewebedu_lm"].budgets) == {"2026_4xA100"}
    assert listing.cells(rows["finewebedu_lm"])[4] == "-"  # it has no test split


def test_progress_rises_from_0_and_names_what_is_next(rows, shown):
    del rows
    names, fractions = zip(*shown, strict=True)
    assert names == (*SMALL_WORKLOADS, *SIZES)
    assert fractions[0] == 0
    assert list(fractions) == sorted(fractions)
    assert fractions[-1] < 1


def test_the_printed_table_has_a_cell_for_every_heading(rows):
    for row in rows.values():
        assert len(listing.cells(row)) == len(listing.headings())
    file = io.StringIO()
    tables.print_rows(
        listing.headings(), map(listing.cells, rows.values()), Console(file=file, width=1000)
    )
    (line,) = [line for line in file.getvalue().splitlines() if line.startswith("c4, c4_130m")]
    budgets_shown = "38,000 / 860 / 20,000 13,000 / 300 / 20,000"
    wanted = f"c4, c4_130m 134,105,856 loss - - provisional - {budgets_shown}"
    assert line.split() == wanted.split()
