"""A prepared folder of C4."""

import pytest
from c4_corpus import Shown, a_request, fresh, most_rows, write_files

from workloads_overrides.c4.corpus.run import prepare_corpus


@pytest.fixture
def prepared(tmp_path):
    """The request by which `<tmp_path>/out/c4` was prepared."""
    files = write_files(tmp_path / "in", fresh())
    request = a_request(tmp_path / "in", tmp_path / "out", most_rows(files["train"]))
    prepare_corpus(request, Shown())
    return request
