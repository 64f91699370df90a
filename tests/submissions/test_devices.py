"""Submissions on several devices take the steps that they take on one.

Two ranks of the embedded runner under torchrun, 2 and 8 virtual JAX devices; `device_runs` says
what is trained. Differences are those of sums in another order.
"""

import pickle

import device_runs
import numpy as np
import pytest
import torchrun
from device_runs import DTYPES, STEPS
from workload_processes import run_with_jax_devices

from benchmark.ranks import Alone
from submissions.registry import OPTIMIZERS

PARAMETERS_REL = 1e-9  # in double precision, of a tensor's largest entry
LOSSES_REL = {"float64": 1e-9, "float32": 1e-3}
JAX_CODE = """
import sys
sys.path.insert(0, "tests/support")
import device_runs
device_runs.main(*sys.argv[1:])
"""


def jax_outcomes(tmp_path, devices, *dtypes):
    file = tmp_path / str(devices)
    run_with_jax_devices(JAX_CODE, "jax", file, ",".join(dtypes), devices=devices)
    return pickle.loads(file.read_bytes())


def assert_same(several, one, dtype):
    assert len(one["losses"]) == STEPS
    assert one["losses"][-1] < 0.95 * one["losses"][0]
    np.testing.assert_allclose(several["losses"], one["losses"], rtol=LOSSES_REL[dtype])
    assert len(several["parameters"]) == len(one["parameters"])
    if dtype == "float64":
        for tensor, expected in zip(several["parameters"], one["parameters"], strict=True):
            assert tensor.dtype == np.float64
            atol = PARAMETERS_REL * np.max(np.abs(expected))
            np.testing.assert_allclose(tensor, expected, rtol=0, atol=atol)


def shares(matrices, devices):
    """Of every stack of so many matrices, how many a JAX device refreshes."""
    return [-(-count // devices) for count in matrices]


def refreshes(name):
    return "refresh_every" in OPTIMIZERS[device_runs.optimizer(name)].hyperparameters


@pytest.mark.slow
def test_jax_devices(tmp_path, subtests):
    one = jax_outcomes(tmp_path, 1, *DTYPES)
    for devices, dtype in ((2, "float32"), (8, "float64")):
        several = jax_outcomes(tmp_path, devices, dtype)
        assert several.keys() == {(dtype, name) for name in device_runs.names("jax", dtype)}
        for (dtype, name), outcome in several.items():
            with subtests.test(name, devices=devices, dtype=dtype):
                expected = one[dtype, name]
                assert_same(outcome, expected, dtype)
                assert bool(expected["refreshed"]) == refreshes(name)
                assert outcome["refreshed"] == shares(expected["refreshed"], devices)


@pytest.mark.slow
def test_pytorch_ranks(tmp_path, subtests):
    argv = [device_runs.__file__, "pytorch", tmp_path / "rank"]
    status, _, stderr = torchrun.run(argv)
    assert status == 0, stderr
    ranks = [pickle.loads((tmp_path / f"rank{rank}").read_bytes()) for rank in range(2)]
    for dtype in DTYPES:
        for key, one in device_runs.train("pytorch", dtype, Alone()).items():
            with subtests.test(key[1], dtype=dtype):
                several = [outcomes[key] for outcomes in ranks]
                for outcome in several:
                    assert_same(outcome, one, dtype)
                counts = [sum(outcome["refreshed"]) for outcome in several]
                assert sum(counts) == sum(one["refreshed"])  # none twice
                if refreshes(key[1]):
                    times = len(one["refreshed"]) // 3  # for each of three stacks
                    assert times >= 3
                    loads = [sum(outcome["costs"]) for outcome in several]
                    assert min(counts) > 0
                    assert max(loads) - min(loads) <= times * max(one["costs"])
