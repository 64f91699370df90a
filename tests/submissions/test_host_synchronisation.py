"""A step does not wait for the device, but for every hundredth, which is logged."""

import importlib

import jax
import pytest
from tiny_workloads import TinyJax, TinyTorch, batches
from torch.utils._python_dispatch import TorchDispatchMode

from matprec.torch import namespace
from submissions.registry import OPTIMIZERS

# Of a run: refreshes are in the first and in every tenth or twentieth of the steps that are taken.
STEPS = [*range(12), 99, 100, *range(101, 111)]
RULESETS = [None, {"learning_rate": 0.01, "grad_clip": 1.0, "ema_decay": 0.9}]


class Questions(TorchDispatchMode):
    """Counts what makes PyTorch wait: reading a number out of a tensor."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        self.count += name in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero")
        return func(*args, **(kwargs or {}))


# PyTorch's own Adafactor reads its step counters, which it keeps on the CPU.
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "adafactor_original"])
def test_torch_asks_the_device_in_logged_steps_only(name, monkeypatch):
    monkeypatch.setattr(namespace, "is_host", lambda x: False)  # as on an accelerator
    module = importlib.import_module(f"submissions.{name}.pytorch.submission")
    for hyperparameters in RULESETS:
        workload = TinyTorch()
        params = workload.init_model_fn()
        state = module.init_optimizer_state(workload, params, None, hyperparameters, [0, 0])
        counts = []
        for step, batch in zip(STEPS, batches(), strict=False):
            elapsed = {"accumulated_submission_time": 0.1 * step}
            with Questions() as questions:
                module.update_params(
                    workload, params, None, None, None, batch, None, state, [], step, None, elapsed
                )
            counts.append(questions.count)
        logged = counts.pop(STEPS.index(100)), counts.pop(0)
        assert min(logged) > 0
        # Whether a matrix still waits for its first refresh is asked after the first one only.
        assert sum(counts) == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_jax_asks_the_device_in_logged_steps_only(name):
    """Traced arrays have no values: whatever reads one raises."""
    module = importlib.import_module(f"submissions.{name}.jax.submission")
    for hyperparameters in RULESETS:
        workload, rng = TinyJax(), jax.random.PRNGKey(0)
        params = workload.init_model_fn()
        state, static = module.init_optimizer_state(workload, params, None, hyperparameters, rng)
        batch = next(batches())

        def step(state, params, batch, global_step):
            (state, _), params, _ = module.update_params(
                workload,  # noqa: B023
                params,
                None,
                None,
                None,
                batch,
                None,
                (state, static),  # noqa: B023
                [],
                global_step,
                rng,  # noqa: B023
                {"accumulated_submission_time": 3.0},
            )
            return state, params

        for number in (1, 7, 99, 101):
            jax.eval_shape(lambda *args: step(*args, number), state, params, batch)  # noqa: B023
        with pytest.raises(jax.errors.ConcretizationTypeError):
            jax.eval_shape(lambda *args: step(*args, 100), state, params, batch)
