"""Which validation files become which split."""

import pytest

from workloads_overrides import DataError
from workloads_overrides.c4.sources.held_out import held_out


@pytest.mark.parametrize("count", [2, 3, 7, 8])
def test_halves(count):
    files = [f"file {i}" for i in range(count)]
    validation = held_out(files, "validation", "x")
    test = held_out(files, "test", "x")
    assert validation + test == files
    assert len(validation) - len(test) == count % 2


@pytest.mark.parametrize("files", [[], ["one"]])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_too_few(files, split):
    with pytest.raises(DataError, match=f"^the folder has {len(files)} files of the validation"):
        held_out(files, split, "the folder")
