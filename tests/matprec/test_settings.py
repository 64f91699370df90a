"""Keyword arguments: every bad value gives one line that names it and what is allowed."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import matprec.jax
import matprec.torch
from matprec import layout, settings
from matprec.algorithms import ASGO, MatrixAlgorithm, NAdamW, Shampoo

UNIT = "must be in [0, 1)"
SUM = "must be in [0, 1), or exactly 1 for a running sum"
COUNT = "must be an integer of at least 1"
SIZE = "must be non-negative and finite"
NAN, INF = float("nan"), float("inf")

# Algorithms, argument, bad values, what the message says is allowed.
BAD = [
    ("asgo shampoo nadamw", "beta1", [-0.1, 1, 1.5, NAN, "0.9", None, True], UNIT),
    ("asgo shampoo nadamw", "beta2", [-0.1, 1.0001, NAN, "0.9", None], SUM),
    ("asgo shampoo nadamw", "eps", [-1e-8, NAN, INF, "0", None], SIZE),
    ("asgo shampoo nadamw", "weight_decay", [-0.1, NAN, INF, "0", None], SIZE),
    ("asgo shampoo", "refresh_every", [0, -1, 2.0, "10", None, True], COUNT),
    ("asgo shampoo", "start_step", [0, -3, 1.5, None], COUNT),
    ("asgo shampoo", "block_size", [0, -3, 1.5, "8", False], COUNT),
    ("asgo shampoo", "precondition_head", ["no", None], "is not one of False, True"),
    ("asgo", "side", ["both", None, 1], "is not one of small, left, right"),
    ("asgo", "rms", [0, -0.2, NAN, INF], "must be positive and finite"),
    ("shampoo", "exponent", [0, -0.25, NAN, INF], "must be positive and finite"),
    ("shampoo", "eps_mode", ["max", None], "not one of relative_max, relative_mean, absolute"),
    ("shampoo", "graft", ["rmsprop", None], "is not one of adam, sgd, none"),
    ("shampoo", "graft_eps", [-1e-8, NAN], SIZE),
    ("shampoo nadamw", "nesterov", ["yes", None], "is not one of False, True"),
    ("shampoo", "momentum", [-0.1, 1.0, NAN], UNIT),
    ("asgo shampoo", "fallback", ["adam", None], "is not one of nadamw, adamw"),
    ("asgo shampoo", "fallback_lr_scale", [-1.0, NAN, INF, "1"], SIZE),
    ("asgo shampoo", "fallback_beta1", [-0.1, 1.0], UNIT),
    ("asgo shampoo", "fallback_beta2", [-0.1, 1.1], SUM),
    ("asgo shampoo", "fallback_eps", [-0.1], SIZE),
    ("asgo shampoo nadamw", "weight_layout", ["hwio", None], "is not one of in_out, out_in"),
    ("asgo shampoo", "max_dim", [0, NAN, "8", None], COUNT),
    ("shampoo", "merge", ["all", None], "is not one of matrix, meta"),
    ("asgo shampoo nadamw", "stack_bytes", [0, -1, "big"], "'auto', None or at least 1"),
]
CASES = [
    pytest.param(algorithm, name, value, allowed, id=f"{algorithm}-{name}={value!r}")
    for algorithms, name, values, allowed in BAD
    for algorithm in algorithms.split()
    for value in values
]
CLASSES = {"asgo": "ASGO", "shampoo": "Shampoo", "nadamw": "NAdamW"}
PARAM = torch.nn.Parameter(torch.ones(2, 3))


@pytest.mark.parametrize(("algorithm", "name", "value", "allowed"), CASES)
def test_bad_values(algorithm, name, value, allowed):
    for build in (
        lambda: getattr(matprec.jax, algorithm)(0.1, **{name: value}),
        lambda: getattr(matprec.torch, CLASSES[algorithm])([PARAM], 0.1, **{name: value}),
    ):
        with pytest.raises(ValueError, match=name.removeprefix("fallback_")) as raised:
            build()
        message = str(raised.value)
        assert f"={value!r} " in message
        assert allowed in message
        assert "\n" not in message


@pytest.mark.parametrize("lr", [0.0, -1e-3, NAN, INF, "0.1", None])
@pytest.mark.parametrize("algorithm", CLASSES)
def test_bad_learning_rates(algorithm, lr):
    with pytest.raises(ValueError, match="must be positive and finite") as raised:
        getattr(matprec.jax, algorithm)(lr)
    assert str(raised.value).startswith(f"learning_rate={lr!r} ")
    with pytest.raises(ValueError, match="must be positive and finite") as raised:
        getattr(matprec.torch, CLASSES[algorithm])([PARAM], lr)
    assert str(raised.value).startswith(f"lr={lr!r} ")


@pytest.mark.parametrize("algorithm", CLASSES)
def test_unknown_arguments(algorithm):
    with pytest.raises(TypeError, match=rf"{algorithm}\(\) .* 'beta3'; it has .*beta1, beta2"):
        getattr(matprec.jax, algorithm)(0.1, beta3=0.5)
    with pytest.raises(TypeError, match=r"unknown hyperparameter 'beta3'; it has .*beta1, beta2"):
        getattr(matprec.torch, CLASSES[algorithm])([PARAM], beta3=0.5)


def test_good_values_at_the_edges():
    ASGO(beta1=0.0, beta2=0.0, eps=0.0, refresh_every=1, block_size=None)
    Shampoo(beta2=1.0, block_size=1, nesterov=False, momentum=0.0, exponent=2)
    NAdamW(beta2=1, eps=np.float64(0))
    # What cannot be looked at is let through: traced values, tensors, schedules.
    settings.build(ASGO, {"beta1": jnp.asarray(0.5), "eps": np.float32(1e-6)})
    matprec.jax.asgo(optax.constant_schedule(0.1), weight_decay=jnp.asarray(0.1))
    matprec.torch.ASGO([PARAM], torch.tensor(0.1))


def test_hyperparameters_and_defaults():
    for cls in (ASGO, Shampoo, NAdamW):
        known = settings.hyperparameters(cls)
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        matrix = issubclass(cls, MatrixAlgorithm)
        assert known == fields | (settings.FALLBACK if matrix else {})
        algorithm, fallback = settings.build(cls, {})
        assert algorithm == cls()
        assert fallback == (NAdamW() if matrix else algorithm)


def test_build_takes_what_it_knows():
    values = {
        "beta1": 0.5,
        "lr": 3,
        "fallback": "adamw",
        "fallback_beta1": 0.1,
        "fallback_beta2": 0.2,
        "fallback_eps": 0.3,
    }
    algorithm, fallback = settings.build(ASGO, values)
    assert algorithm == ASGO(beta1=0.5)
    assert fallback == NAdamW(beta1=0.1, beta2=0.2, eps=0.3, nesterov=False)


def test_layout_options():
    options = settings.layout_options(Shampoo(block_size=7, max_dim=100), "out_in", None)
    assert options == layout.Options("out_in", 100, None, False, True, 7)
    options = settings.layout_options(ASGO(max_dim=5), "in_out", 64)
    assert options == layout.Options("in_out", 5, 64, False, False, None)
    options = settings.layout_options(Shampoo(merge="meta"), "out_in", None)
    assert options == layout.Options("out_in", 8192, None, False, True, 1024, True)
    assert settings.layout_options(NAdamW(), "in_out", 64).elementwise


@pytest.mark.parametrize("name", [None, "float32", "float64"])
def test_state_dtypes(name):
    settings.check_state_dtype(name)


@pytest.mark.parametrize("name", ["bfloat16", "float16", "int32"])
def test_state_dtypes_that_cannot_count_are_refused(name):
    with pytest.raises(ValueError, match=f"state_dtype={name} is not one of float32, float64"):
        settings.check_state_dtype(name)


def test_adapters_check_the_state_dtype():
    with pytest.raises(ValueError, match="state_dtype=bfloat16"):
        matprec.jax.asgo(0.1, state_dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match="state_dtype=int32"):
        matprec.torch.ASGO([torch.zeros(2, 2)], state_dtype=torch.int32)


def test_what_is_built_for_every_step_is_checked_and_follows_its_values():
    first = settings.build_often(ASGO, {"beta1": 0.5, "lr": 0.1, "fallback_eps": 0.2})
    again = settings.build_often(ASGO, {"beta1": 0.5, "lr": 0.2, "fallback_eps": 0.2})
    assert first == again == settings.build(ASGO, {"beta1": 0.5, "fallback_eps": 0.2})
    assert first[0] is again[0]
    changed, fallback = settings.build_often(ASGO, {"beta1": 0.6, "fallback_eps": 0.3})
    assert (changed.beta1, fallback.eps) == (0.6, 0.3)
    settings.build_often(ASGO, {"refresh_every": 1})
    for values in ({"refresh_every": True}, {"beta1": 1.5}):
        for _ in range(2):
            with pytest.raises(ValueError, match=min(values)):
                settings.build_often(ASGO, values)
