"""The one list of data sources: complete, pinned, and each named by who uses it."""

import re

import pytest

from workloads_overrides import WORKLOADS
from workloads_overrides.small.sources import DATA_SOURCES

# Under which data may be used and results published, without asking anybody.
PERMISSIVE = {"MIT", "Apache-2.0", "BSD-3-Clause"}


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name.endswith("_small")])
def test_every_small_workload_has_a_source(name):
    assert [source for source in DATA_SOURCES if name in source.workloads]


def test_no_wheel_is_named_twice():
    assert len({source.wheel.filename for source in DATA_SOURCES}) == len(DATA_SOURCES)


@pytest.mark.parametrize("source", DATA_SOURCES, ids=lambda source: source.wheel.requirement)
def test_a_source_is_pinned_and_says_what_it_is(source):
    name, version = re.fullmatch(r"([a-z0-9_-]+)==([0-9.]+)", source.wheel.requirement).groups()
    distribution = f"{name.replace('-', '_')}-{version}"
    assert source.wheel.filename == f"{distribution}-py3-none-any.whl"
    assert re.fullmatch(r"[0-9a-f]{64}", source.wheel.sha256)
    assert source.licence in PERMISSIVE
    assert source.licence_files
    for path in source.licence_files:
        assert re.fullmatch(rf"{re.escape(distribution)}\.dist-info/(licenses/)?LICENSE.*", path)
    assert source.homepage.startswith("https://")
    assert source.contents
    assert source.workloads
