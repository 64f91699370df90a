"""Workers time what they say: real steps, the right ones called refreshes, the real state."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speed import jax as jax_speed
from speed import pytorch as pytorch_speed
from speed.contenders import contenders
from speed.race import run
from speed.tensors import tensors
from speed.worker import Setup

MODEL = "llama_small"
STEPPERS = {"jax": jax_speed.Stepper, "pytorch": pytorch_speed.Stepper}


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_a_worker_times_every_step_once(framework: str):
    found = run(Setup(framework, "soap", MODEL, refresh_every=3, periods=2))
    assert (len(found.plain_s), len(found.refresh_s)) == (4, 2)
    assert all(0 < seconds < 60 for seconds in [*found.plain_s, *found.refresh_s])
    assert (found.compile_s > 0) == (framework == "jax")


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_what_does_not_refresh_has_plain_steps_only(framework: str):
    found = run(Setup(framework, "muon", MODEL, refresh_every=3, periods=1))
    assert (len(found.plain_s), found.refresh_s) == (3, [])


def _copy(x) -> np.ndarray:
    return x.detach().clone().numpy() if torch.is_tensor(x) else np.array(x)


def parameters(stepper) -> list[np.ndarray]:
    return [_copy(x) for x in stepper._parameters]


@pytest.mark.parametrize("name", contenders("pytorch"))
def test_every_contender_of_pytorch_moves_every_parameter(name: str):
    stepper = pytorch_speed.Stepper(name, tensors(MODEL, "pytorch"), 2)
    before = parameters(stepper)
    for number in (1, 2):  # SOAP's first step has no update
        stepper.prepare(number)
        stepper.step()
    for old, new in zip(before, parameters(stepper), strict=True):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)


@pytest.mark.parametrize("name", ["optax_adamw", "muon", "soap", "asgo"])
def test_contenders_of_jax_move_every_parameter(name: str):
    stepper = jax_speed.Stepper(name, tensors(MODEL, "jax"), 2)
    before = parameters(stepper)
    stepper.compile()
    for number in (1, 2):
        stepper.prepare(number)
        stepper.step()
    for old, new in zip(before, parameters(stepper), strict=True):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_the_gradients_change_from_step_to_step(framework: str):
    name = {"jax": "optax_adamw", "pytorch": "torch_adamw_fused"}[framework]
    stepper = STEPPERS[framework](name, tensors(MODEL, framework), 2)
    chosen = []
    for number in (1, 2, 3):
        stepper.prepare(number)
        first = stepper._chosen[0] if framework == "jax" else stepper._parameters[0].grad
        chosen.append(_copy(first))
    assert not np.array_equal(chosen[0], chosen[1])
    np.testing.assert_array_equal(chosen[0], chosen[2])


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_the_bytes_of_the_state(framework: str):
    """AdamW keeps two numbers per parameter, and a few counters."""
    name = {"jax": "optax_adamw", "pytorch": "torch_adamw_fused"}[framework]
    shapes = tensors(MODEL, framework)
    stepper = STEPPERS[framework](name, shapes, 2)
    stepper.compile()
    stepper.prepare(1)
    stepper.step()
    numbers = sum(int(np.prod(shape)) for shape, _ in shapes)
    assert 0 <= stepper.state_bytes() - 8 * numbers <= 8 * len(shapes) + 8


def test_threads_are_those_asked_for():
    code = (
        "from speed.worker import set_threads; set_threads('pytorch', 2); import torch; "
        "assert torch.get_num_threads() == 2"
    )
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, timeout=120)
