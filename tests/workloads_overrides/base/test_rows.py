"""Batches in order and evaluation of whole splits, over rows that are plain numbers."""

from itertools import islice

import numpy as np
import pytest
from workload_fakes import NumberRows, NumberWorkload

from workloads_overrides.base.row_order import RowOrder
from workloads_overrides.base.rows import eval_batches, train_batches

SEED = 2**63 + 11


def first(batches, count):
    return list(islice(batches, count))


def equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], other[name])


def test_training_uses_every_row_once_per_pass():
    rows = NumberRows(30)
    first(train_batches(rows, 12, SEED), 5)
    seen = np.concatenate(rows.asked)
    np.testing.assert_array_equal(seen, RowOrder(30, SEED).rows(0, 60))
    for half in (seen[:30], seen[30:]):
        np.testing.assert_array_equal(np.sort(half), np.arange(30))


@pytest.mark.parametrize("start", [1, 2, 7, 100])
def test_batch_k_depends_on_the_seed_and_k_alone(start):
    rows = NumberRows(30)
    whole = first(train_batches(rows, 12, SEED), start + 3)
    equal(whole[start:], first(train_batches(rows, 12, SEED, start), 3))


def test_batches_may_be_larger_than_the_split():
    rows = NumberRows(5)
    batch = next(train_batches(rows, 12, 1))
    assert len(batch["inputs"]) == 12
    np.testing.assert_array_equal(np.sort(rows.asked[0][:10]), np.repeat(np.arange(5), 2))


def test_seeds_give_other_rows_and_other_augmentation():
    noise, ids = [], []
    for seed in (1, 2, SEED, SEED + 1):
        rows = NumberRows(1000)
        batches = first(train_batches(rows, 64, seed), 2)
        noise += [np.round(batch["inputs"][:, 0] % 10, 3) for batch in batches]
        ids += rows.asked
    for drawn in (noise, ids):
        assert len(np.unique(np.stack(drawn), axis=0)) == 8


@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (1, 4), (10, 10), (3, 7)])
def test_evaluation_batches_are_in_order_and_filled_up(count, size):
    rows = NumberRows(12)
    batches = list(eval_batches(rows, count, size))
    assert len(batches) == -(-count // size)
    assert all(len(array) == size for batch in batches for array in batch.values())
    inputs = np.concatenate([batch["inputs"] for batch in batches])
    weights = np.concatenate([batch["weights"] for batch in batches])
    np.testing.assert_array_equal(inputs[:count, 0], 10 * np.arange(count))  # no augmentation
    np.testing.assert_array_equal(weights, np.arange(len(weights)) < count)
    np.testing.assert_array_equal(inputs[count:, 0], 10 * (count - 1))  # a row that exists


def test_weights_of_zero_stay_in_evaluation_batches():
    (batch,) = eval_batches(NumberRows(6, missing=(1, 4)), 5, 8)
    np.testing.assert_array_equal(batch["weights"], [1, 0, 1, 1, 0, 0, 0, 0])


@pytest.fixture
def workload():
    return NumberWorkload(
        train=NumberRows(50), validation=NumberRows(10, missing=(2, 9)), test=NumberRows(7)
    )


def queue(workload, split, size=4, rng=(3, 14)):
    return workload._build_input_queue(np.array(rng, np.uint32), split, "", size)


def test_the_training_queue_is_endless_and_follows_its_random_state(workload):
    batches = first(queue(workload, "train"), 40)
    equal(batches, first(queue(workload, "train"), 40))
    other = first(queue(workload, "train", rng=(3, 15)), 40)
    assert any((a["inputs"] != b["inputs"]).any() for a, b in zip(batches, other, strict=True))
    equal(batches[:3], first(queue(workload, "train", rng=np.array([3, 14], np.int64)), 3))


def test_evaluation_queues_repeat_their_batches(workload):
    batches = first(queue(workload, "validation"), 9)
    assert [batch["weights"].sum() for batch in batches[:3]] == [3, 4, 1]
    equal(batches[:3], batches[3:6])
    equal(batches[:3], batches[6:])


@pytest.mark.parametrize("split", ["train", "test"])
def test_bad_batch_sizes_fail_before_the_first_batch(workload, split):
    workload.shards = 4
    for size in (0, 2, 6, -4):
        with pytest.raises(ValueError, match=f"batch size {size} is not a multiple of 4 devices"):
            queue(workload, split, size)
        with pytest.raises(ValueError, match=f"batch size {size} is not a multiple of 4 devices"):
            workload._eval_model_on_split(split, 5, size, 1.0, None, None, "")
    assert next(queue(workload, split, 8))["targets"].shape == (8,)


def test_unknown_splits_fail_before_the_first_batch(workload):
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        queue(workload, "dev")
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        workload._eval_model_on_split("dev", 5, 4, 1.0, None, None, "")


@pytest.mark.parametrize("count", [0, -1, 11])
def test_more_examples_than_there_are(workload, count):
    with pytest.raises(ValueError, match=f"num_examples={count}; split 'validation' has 10"):
        workload._eval_model_on_split("validation", count, 4, 1.0, None, None, "")


@pytest.mark.parametrize("count", [3, 9, 10])
@pytest.mark.parametrize("size", [1, 3, 4, 10, 64])
def test_metrics_do_not_depend_on_the_batch_size(workload, count, size):
    metrics = workload._eval_model_on_split("validation", count, size, 0.5, None, None, "")
    ids = [i for i in range(count) if i not in (2, 9)]
    expected = {"loss": 5 * np.mean(ids), "accuracy": np.mean([i % 3 == 1 for i in ids])}
    assert metrics == pytest.approx(expected, rel=1e-12)
    assert all(type(value) is float for value in metrics.values())


def test_sums_are_taken_in_double_precision():
    """In float32 the ones after 2**24 would be lost."""
    rows = {"loss": np.array([2.0**24, 1, 1, 1], np.float32), "accuracy": np.ones(4, np.float32)}
    arrays = rows | {"denominator": np.ones(4, np.float32)}
    assert NumberWorkload()._split_metrics(arrays, "")["loss"] == (2**24 + 3) / 4


def test_a_loss_that_is_not_finite_is_reported(workload):
    metrics = workload._eval_model_on_split("validation", 10, 4, np.nan, None, None, "")
    assert np.isnan(metrics["loss"])
    assert metrics["accuracy"] == pytest.approx(3 / 8)
