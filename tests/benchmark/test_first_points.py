"""Which point goes first: ranks over the workloads that were measured."""

import json

import pytest

from benchmark import first_points
from benchmark.errors import UserError

A, B, C = {"learning_rate": 0.1}, {"learning_rate": 0.2}, {"learning_rate": 0.3}


def record(values, metric="accuracy"):
    """A search's record; values by point, None where a run ended without one."""
    runs = [{"hyperparameters": point, "best_validation": value} for point, value in values]
    return {"metric": metric, "search": runs}


def test_one_workload_takes_its_best_point():
    assert first_points.choose({"w": record([(A, 0.5), (B, 0.7), (C, 0.6)])}) == B


def test_lower_is_better_for_losses():
    values = [(A, 3.5), (B, 3.7), (C, 3.6)]
    assert first_points.choose({"w": record(values, "loss")}) == A
    assert first_points.choose({"w": record(values, "bleu")}) == B


def test_metrics_of_any_scale_count_alike():
    records = {
        "small": record([(A, 0.001), (B, 0.002), (C, 0.003)]),  # C, B, A
        "large": record([(A, 10.0), (B, 30.0), (C, 20.0)]),  # B, C, A
        "loss": record([(A, 9.0), (B, 2.0), (C, 5.0)], "loss"),  # B, C, A
    }
    assert first_points.choose(records) == B


def test_of_equal_mean_ranks_the_better_worst_one_wins():
    records = {
        "one": record([(A, 0.9), (B, 0.8), (C, 0.7)]),  # ranks 1, 2, 3
        "two": record([(A, 0.7), (B, 0.8), (C, 0.9)]),  # ranks 3, 2, 1
    }
    assert first_points.choose(records) == B


def test_of_wholly_equal_points_the_first_one_wins():
    assert first_points.choose({"w": record([(B, 0.5), (A, 0.5)])}) == B


def test_a_point_without_a_value_comes_last():
    records = {"one": record([(A, None), (B, 0.1)]), "two": record([(A, 0.6), (B, 0.5)])}
    records["three"] = record([(A, None), (B, 0.2)], "loss")
    assert first_points.choose(records) == B


def test_points_that_a_workload_has_not_tried_are_no_candidates():
    records = {
        "one": record([(A, 0.1), (B, 0.5), (C, 0.9)]),
        "two": record([(A, 0.1), (B, 0.2)]),
    }
    assert first_points.choose(records) == B
    # Nor do they take a place away from the others: B is first among A and B.
    records["three"] = record([(A, 0.3), (B, 0.2), (C, 0.9)])
    assert first_points.choose(records) == B


def test_nothing_in_common_is_told():
    records = {"one": record([(A, 0.1)]), "two": record([(B, 0.1)])}
    with pytest.raises(UserError, match="no point was tried on all of one, two"):
        first_points.choose(records)


def test_put_first_reads_every_record_and_keeps_the_other_points(tmp_path):
    space = tmp_path / "tuning_search_spaces" / "mine.json"
    space.parent.mkdir()
    space.write_text(json.dumps([C, A]))
    for workload in ("one", "two"):
        first_points.write_record(workload, "mine", record([(A, 0.1), (B, 0.5)]), tmp_path)
    first_points.write_record("one", "other", record([(A, 0.9)]), tmp_path)
    assert first_points.put_first("mine", tmp_path) == B
    assert json.loads(space.read_text()) == [B, A]


def test_put_first_without_a_record(tmp_path):
    with pytest.raises(UserError, match=r"'mine' has no record of a search; scripts/tune\.py"):
        first_points.put_first("mine", tmp_path)


def test_records_stand_by_workload(tmp_path):
    path = first_points.record_path("ogbg_small", "asgo", tmp_path)
    parts = ("tuning_search_spaces", "measured", "ogbg_small", "asgo.json")
    assert path.relative_to(tmp_path).parts == parts


@pytest.fixture(scope="module")
def repository(request):
    return request.config.rootpath


def test_every_list_in_the_repository_has_its_chosen_point_first(repository):
    """What stands first anywhere came from the records, by the rule above."""
    folder = repository / "tuning_search_spaces"
    for path in sorted(folder.glob("*.json")):
        found = sorted((folder / "measured").glob(f"*/{path.name}"))
        records = {file.parent.name: json.loads(file.read_text()) for file in found}
        assert json.loads(path.read_text())[0] == first_points.choose(records), path.name
