"""scripts/data_sources.py: every workload's wheels with their licences."""

import subprocess
import sys

import pytest

from workloads_overrides import SMALL_WORKLOADS
from workloads_overrides.small.sources import DATA_SOURCES


@pytest.fixture
def script(request):
    path = request.config.rootpath / "scripts" / "data_sources.py"

    def run(*flags):
        command = [sys.executable, str(path), *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_everything_about_every_source(script):
    done = script()
    assert done.returncode == 0, done.stderr
    for source in DATA_SOURCES:
        for text in (
            f"{source.wheel.requirement}\n  workloads ",
            source.contents,
            source.licence,
            source.homepage,
            source.wheel.filename,
            source.wheel.sha256,
        ):
            assert text in done.stdout
    for workload in SMALL_WORKLOADS:
        assert workload in done.stdout


def test_the_sources_of_one_workload(script):
    done = script("--workloads=wmt_small")
    assert done.returncode == 0, done.stderr
    titles = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert titles == ["homeassistant==2024.3.3", "indico==3.3.14"]


def test_unknown_workload(script):
    done = script("--workloads=wmt_small,wmt")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --workloads: unknown ['wmt']; allowed: ogbg_small, ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
