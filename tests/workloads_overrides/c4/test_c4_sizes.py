"""The amounts of data of the three workloads."""

import math

import pytest

from workloads_overrides import WORKLOADS
from workloads_overrides.c4.sizes import SIZES, TRAIN_BATCH_SIZE


@pytest.mark.parametrize(
    ("name", "parameters", "steps"),
    [("c4_60m", 58_073_600, 10_000), ("c4", 134_105_856, 20_000), ("c4_350m", 367_969_280, 60_000)],
)
def test_sizes_of_the_published_runs(name, parameters, steps):
    size = SIZES[name]
    shapes = [tensor.shape for tensor in size.model.tensors().values()]
    assert sum(math.prod(shape) for shape in shapes) == parameters
    assert (size.steps, size.context_length, size.model.vocab) == (steps, 256, 32_000)
    assert size.train_rows == steps * 512
    # No row is seen twice within the step hint.
    assert size.rows == {"train": steps * 512, "validation": 40_960, "test": 40_960}


@pytest.mark.parametrize("name", SIZES)
def test_evaluation_batches_are_full_and_divide_among_8_devices(name):
    size = SIZES[name]
    for rows in (size.eval_train_rows, size.validation_rows, size.test_rows):
        assert rows % size.eval_batch_size == 0
    assert size.eval_batch_size % 8 == TRAIN_BATCH_SIZE % 8 == 0
    assert size.eval_train_rows <= size.train_rows


def test_they_are_the_workloads_that_are_registered():
    registered = {name for name in WORKLOADS if WORKLOADS[name]["workload_path"] == "c4/c4"}
    assert registered == {*SIZES, "c4_130m"}
    assert WORKLOADS["c4_130m"] == WORKLOADS["c4"]
