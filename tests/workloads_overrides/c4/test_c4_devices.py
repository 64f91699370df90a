"""A C4 workload of full size, with a tiny model, computes on two devices what it does on one."""

import functools
import pickle

import c4_device_steps
import numpy as np
import pytest
from c4_cases import TINY, random_params, write_corpus
from c4_device_steps import BATCH
from workload_cases import assert_gradients_close
from workload_processes import run_pytorch_ranks, run_with_jax_devices

CODE = """
import sys
sys.path.insert(0, "tests/support")
import c4_device_steps
c4_device_steps.main(*sys.argv[1:])
other = {"jax": "pytorch", "pytorch": "jax"}[sys.argv[1]]
others = [name for name in sys.modules if name.startswith("workloads_overrides") and other in name]
assert not others, "a run imports one framework only"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows that are padded unequally, so that the devices' shares have not the same weight."""
    folder = tmp_path_factory.mktemp("devices")
    write_corpus(folder, row_tokens=17)
    np.savez(folder / "params.npz", **random_params(TINY))
    return folder


def outcomes(framework, folder):
    """Of every rank."""
    paths = sorted(folder.glob(f"{framework}_*.pkl"))
    return [pickle.loads(path.read_bytes()) for path in paths]


one_device = functools.cache(c4_device_steps.results)


def assert_same(several, one):
    np.testing.assert_allclose(several["logits"], one["logits"], rtol=0, atol=1e-5)
    assert several["loss"] == pytest.approx(one["loss"], rel=1e-6)
    assert_gradients_close(several["grads"], one["grads"], rel=1e-5)
    assert several["metrics"] == pytest.approx(one["metrics"], rel=1e-5)
    assert one["share"] == BATCH
    assert several["share"] == BATCH // 2


def test_two_jax_devices(folder):
    run_with_jax_devices(CODE, "jax", folder, devices=2)
    (several,) = outcomes("jax", folder)
    assert_same(several, one_device("jax", folder))


def test_two_pytorch_processes(folder):
    run_pytorch_ranks(CODE, "pytorch", folder)
    one = one_device("pytorch", folder)
    ranks = outcomes("pytorch", folder)
    assert len(ranks) == 2
    assert one["read"] == BATCH
    for several in ranks:
        assert_same(several, one)
        assert several["read"] == BATCH // 2, "a rank reads its own rows only"
        logits, loss, grads = several["compiled"]
        np.testing.assert_allclose(logits, one["logits"], rtol=0, atol=1e-5)
        assert loss == pytest.approx(one["loss"], rel=1e-6)
        assert_gradients_close(grads, one["grads"], rel=1e-5)
        assert all(name.startswith("_orig_mod.module.") for name in several["names"])
        assert several["heads"] == ["_orig_mod.module.lm_head.weight"]


def test_both_frameworks_compute_the_same(folder):
    ours, theirs = (one_device(framework, folder) for framework in ("jax", "pytorch"))
    np.testing.assert_allclose(ours["logits"], theirs["logits"], rtol=0, atol=1e-5)
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-6)
    assert_gradients_close(ours["grads"], theirs["grads"], rel=1e-5)
    assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-5)
