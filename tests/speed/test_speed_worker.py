"""Workers time what they say: real steps, the right ones called refreshes, the real state."""

import json
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
from speed.tensors import Tensor, tensors
from speed.worker import Setup, sort

MODEL = "llama_small"
# One of every kind, small enough to compile at once.
FEW = (
    Tensor((8, 6), "matrix"),
    Tensor((4, 6), "head"),
    Tensor((9, 4), "embedding"),
    Tensor((5,), "vector"),
)
STEPPERS = {"jax": jax_speed.Stepper, "pytorch": pytorch_speed.Stepper}


@pytest.fixture
def few(tmp_path: Path) -> str:
    """The path of a file of FEW."""
    path = tmp_path / "few.json"
    path.write_text(json.dumps(dict.fromkeys(("jax", "pytorch"), FEW)))
    return str(path)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_a_worker_times_every_step_once(framework: str, few: str):
    found = run(Setup(framework, "soap", few, refresh_every=3, periods=2))
    assert (len(found.plain_s), len(found.refresh_s)) == (4, 2)
    assert all(0 < seconds < 60 for seconds in [*found.plain_s, *found.refresh_s])
    assert (found.compile_s > 0) == (framework == "jax")


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_what_does_not_refresh_has_plain_steps_only(framework: str, few: str):
    found = run(Setup(framework, "muon", few, refresh_every=3, periods=1))
    assert (len(found.plain_s), found.refresh_s) == (3, [])


@pytest.mark.parametrize(
    ("contender", "expected"),
    [
        # Ours: the last step of every period, whatever it took.
        ("soap", ([9.0, 1.0, 2.0, 9.0], [1.0, 1.0])),
        # A peer's are the slowest of each.
        ("soap_reference", ([1.0, 1.0, 2.0, 1.0], [9.0, 9.0])),
        ("muon", ([9.0, 1.0, 1.0, 2.0, 9.0, 1.0], [])),
        ("torch_muon", ([9.0, 1.0, 1.0, 2.0, 9.0, 1.0], [])),
    ],
)
def test_which_steps_are_refreshes(contender: str, expected):
    setup = Setup("pytorch", contender, MODEL, refresh_every=3)
    assert sort([9.0, 1.0, 1.0, 2.0, 9.0, 1.0], setup) == expected


def test_staggered_steps_are_all_of_one_kind():
    setup = Setup("pytorch", "soap", MODEL, refresh_every=3, settings=(("stagger", True),))
    assert sort([1.0, 2.0, 3.0], setup) == ([1.0, 2.0, 3.0], [])
    off = Setup("pytorch", "soap", MODEL, refresh_every=3, settings=(("stagger", False),))
    assert sort([1.0, 2.0, 3.0], off) == ([1.0, 2.0], [3.0])


def test_ours_refresh_in_the_last_step_of_a_period():
    """As the state of the method itself tells."""
    stepper = pytorch_speed.Stepper("soap", tensors(MODEL, "pytorch"), 3)
    counts = []
    for number in range(1, 8):
        stepper.prepare(number)
        stepper.step()
        entries = stepper._optimizer.state_dict()["state"].values()
        counts.append(max(float(value) for each in entries for value in each["last_refresh"]))
    assert counts == [1, 1, 1, 4, 4, 4, 7]  # the first is not timed, periods are 2 to 4 and 5 to 7


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_settings_reach_those_that_have_them(framework: str):
    """A smaller rank, less state of GaLore; Muon has none."""
    sizes = {}
    for name in ("galore", "muon"):
        for rank in (1, 100):
            stepper = STEPPERS[framework](name, FEW, 2, {"rank": rank})
            if framework == "pytorch":  # whose state the first step makes
                stepper.prepare(1)
                stepper.step()
            sizes[name, rank] = stepper.state_bytes()
    assert sizes["galore", 1] < sizes["galore", 100]
    assert sizes["muon", 1] == sizes["muon", 100]


def test_memory_beside_what_was_held_is_of_the_timed_steps_alone():
    """The peak of an allocation that was let go before is forgotten."""
    code = (
        "import numpy, speed.worker as w; large = numpy.ones(40 << 20); del large; "
        "w._forget_peak(); held = w._resident('VmRSS'); "
        "assert w._resident('VmHWM') - held < 1 << 26; small = numpy.ones(20 << 20); "
        "assert 1.5e8 < w._resident('VmHWM') - held < 2.5e8"
    )
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, timeout=120)


def _copy(x) -> np.ndarray:
    return x.detach().clone().numpy() if torch.is_tensor(x) else np.array(x)


def parameters(stepper) -> list[np.ndarray]:
    return [_copy(x) for x in stepper._parameters]


def test_threads_that_take_memory_in_turn_take_the_same():
    """And not as much as all of them together."""
    code = """if True:
        import threading

        import numpy as np

        from speed import worker

        worker._share_one_heap()
        names = range(4)
        begin, taken, end = ([threading.Event() for _ in names] for _ in range(3))

        def take(number):
            begin[number].wait()
            np.ones(3_000_000)
            taken[number].set()
            end[number].wait()

        np.ones(3_000_000)  # what is given back as a whole is kept from now on
        threads = [threading.Thread(target=take, args=(number,)) for number in names]
        for thread in threads:
            thread.start()
        held = worker._resident("VmRSS")
        for number in names:
            begin[number].set()
            taken[number].wait()
        grown = worker._resident("VmRSS") - held
        for event in end:
            event.set()
        assert 20e6 < grown < 30e6, grown
    """
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, timeout=120)


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
    stepper = jax_speed.Stepper(name, FEW, 2)
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
