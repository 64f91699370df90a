"""Exported entries alone under AlgoPerf's reference test: one step of ogbg on a fake batch."""

import importlib.util
from pathlib import Path

import pytest
from entry_folders import export_entry, run_alone

from algoperf_api import HAS_ALGOPERF
from benchmark.entries.check import Entry, asking, check

TEST = "tests/reference_algorithm_tests.py"


def harness():
    """The clone that AlgoPerf is installed from, None where there is none."""
    spec = importlib.util.find_spec("algoperf") if HAS_ALGOPERF else None
    root = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
    return root if root and (root / TEST).is_file() else None


pytestmark = [
    pytest.mark.official,
    pytest.mark.skipif(not HAS_ALGOPERF, reason="the official harness is not installed"),
    pytest.mark.skipif(
        HAS_ALGOPERF and harness() is None, reason=f"algoperf is installed without {TEST}"
    ),
]

RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("name", "framework", "ruleset"),
    [("asgo", "jax", "self_tuning"), ("caspr", "pytorch", "external_tuning")],
)
def test_one_step_of_ogbg(tmp_path, name, framework, ruleset):
    root = harness()
    assert root is not None
    folder = export_entry(tmp_path, name, framework, ruleset)
    entry = Entry(folder)
    (answer,) = asking.ask([entry])
    assert check(entry, answer) == []
    space = folder / "tuning_search_space.json"
    done = run_alone(
        RUN,
        root / TEST,
        "--workload=ogbg",
        f"--framework={framework}",
        "--global_batch_size=2",
        f"--submission_path={ruleset}/{folder.name}/submission.py",
        f"--tuning_search_space={space if space.is_file() else None}",
        f"--log_file={tmp_path}/log.pkl",
        path=(root, tmp_path),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "OK" in done.stderr
