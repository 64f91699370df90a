"""Batches of every workload: one shape, one stream per seed, the same in both frameworks."""

from itertools import islice, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import workload_cases as cases
from workload_cases import BATCH, DATA_RNG, each_case, each_workload

from algoperf_api import spec
from workloads_overrides import FRAMEWORKS
from workloads_overrides.base.rows import RowsWorkload


def leaves(batch):
    return jax.tree.leaves(cases.to_numpy(batch))


def equal(batch, other):
    pairs = zip(leaves(batch), leaves(other), strict=True)
    return all(a.shape == b.shape and (a == b).all() for a, b in pairs)


@each_case
def test_keys_shapes_and_kinds(name, framework):
    w = cases.workload(name, framework)
    batch = cases.train_batches(name, framework)[0]
    assert set(batch) == {"inputs", "targets", "weights"}
    for leaf in jax.tree.leaves(batch):
        assert isinstance(leaf, jax.Array if framework == "jax" else torch.Tensor)
    arrays = cases.to_numpy(batch)
    targets, weights = arrays["targets"], arrays["weights"]
    assert weights.dtype == np.float32
    assert weights.shape == targets.shape
    assert set(np.unique(weights)) <= {0, 1}
    assert weights.sum() > 0
    assert all(np.isfinite(x).all() for x in leaves(batch))
    if isinstance(w, RowsWorkload):
        assert {len(x) for x in leaves(batch)} == {BATCH}
        assert w.loss_type == spec.LossType.SOFTMAX_CROSS_ENTROPY
        assert targets.dtype.kind in "iu"


@each_case
def test_every_batch_of_a_queue_has_the_same_shapes(name, framework):
    def kinds(batch):
        return [(x.shape, x.dtype) for x in leaves(batch)]

    batches = cases.train_batches(name, framework)
    assert len({str(kinds(batch)) for batch in batches}) == 1
    # Evaluations differ in their number of rows only, and are of the same kind.
    count = cases.workload(name, framework).num_test_examples
    size = max(8, count // 3 // 8 * 8)
    evaluation = list(islice(cases.queue(name, framework, "test", size), 6))
    assert len({str(kinds(batch)) for batch in evaluation}) == 1
    assert [x.dtype for x in leaves(evaluation[0])] == [x.dtype for x in leaves(batches[0])]
    assert [x.ndim for x in leaves(evaluation[0])] == [x.ndim for x in leaves(batches[0])]


@each_case
def test_the_stream_follows_its_seed(name, framework):
    batches = cases.train_batches(name, framework)
    again = islice(cases.queue(name, framework), 4)
    other = list(islice(cases.queue(name, framework, rng=np.array([3, 15], np.uint32)), 4))
    for first, second, third in zip(batches, again, other, strict=False):
        assert equal(first, second)
        assert not equal(first, third)
    # Two queues may be read in turn.
    left, right = cases.queue(name, framework), cases.queue(name, framework)
    for batch in batches[:3]:
        assert equal(batch, next(left))
        assert equal(batch, next(right))
    for first, second in pairwise(batches):
        assert not equal(first, second)


@each_workload
def test_both_frameworks_have_the_same_streams(name):
    rng = {"jax": jnp.asarray(DATA_RNG), "pytorch": [int(word) for word in DATA_RNG]}
    for split in ("train", "eval_train", "validation", "test"):
        queues = [cases.queue(name, fw, split, BATCH, rng[fw]) for fw in FRAMEWORKS]
        for ours, theirs in islice(zip(*queues, strict=True), 4):
            assert equal(ours, theirs), split
            kinds = [[x.dtype.kind for x in leaves(batch)] for batch in (ours, theirs)]
            assert kinds[0] == kinds[1]


@each_case
def test_evaluation_queues_repeat_their_split(name, framework):
    w = cases.workload(name, framework)
    for split in ("validation", "test"):
        count = getattr(w, f"num_{split}_examples")
        size = max(8, count // 3 // 8 * 8)
        num_batches = -(-count // size)
        batches = list(islice(cases.queue(name, framework, split, size), 2 * num_batches))
        rows = [cases.to_numpy(b["weights"]).reshape(len(b["weights"]), -1) for b in batches]
        if isinstance(w, RowsWorkload):
            # Rows of which nothing counts are padding, or rare.
            assert 0.95 * count < sum((r != 0).any(1).sum() for r in rows[:num_batches]) <= count
        for first, second in zip(batches, batches[num_batches:], strict=False):
            assert equal(first, second)
        assert not equal(batches[0], batches[1])


@each_case
def test_bad_splits_and_batch_sizes_fail_at_once(name, framework):
    with pytest.raises(ValueError, match="dev"):
        cases.queue(name, framework, "dev")
    for split in ("train", "validation"):
        with pytest.raises(ValueError, match="batch size 0"):
            cases.queue(name, framework, split, 0)


@each_workload
def test_splits_have_as_many_rows_as_the_workload_says(name):
    w = cases.workload(name, "pytorch")
    if not isinstance(w, RowsWorkload):
        pytest.skip("no rows")
    assert len(w._rows("train", cases.data_dir(name))) == w.num_train_examples
    assert len(w._rows("eval_train", cases.data_dir(name))) >= w.num_eval_train_examples
    for split in ("validation", "test"):
        count = getattr(w, f"num_{split}_examples")
        assert len(w._rows(split, cases.data_dir(name))) == count
