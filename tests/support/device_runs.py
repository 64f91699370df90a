"""Trains with the optimizers in this process and writes down what came out.

`device_runs.py FRAMEWORK FILE [DTYPES]`, alone, with several JAX devices, or as a rank of a
torchrun, which adds its number to the file's name. The file holds {(dtype, optimizer): outcome},
an outcome being a dict of the losses after each step, the final parameters and how many matrices
each refresh of a stack was asked for here (in JAX: when it was traced).
"""

import functools
import os
import pickle
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DTYPES = ("float64", "float32")
STEPS = 20
# Several refreshes within the steps, the first one from enough gradients for full rank.
POINT = {"refresh_every": 4, "start_step": 4}
POINT |= {"dropout_rate": 0.0, "warmup_factor": 0.0, "horizon": "step_hint"}


# A batch in two parts, evaluated with averaged weights, beside the plain runs of these.
PARTS, IN_PARTS = " in parts", ("adamw", "asgo")
# As the harness resumes a run of PyTorch: with the module that DDP was around.
BARE = " without DDP"
# In single precision, which shows less, one that never refreshes and one each that does so before,
# after and at the end of a step.
SINGLE = ("adamw", "adadiag", "shampoo", "soap")


def names(framework: str, dtype: str) -> list[str]:
    """What is trained: the frameworks' own, and an optimizer for every way that a step may go.

    The tests of `matprec`'s sharding have every optimizer; how a submission calls them is one code.
    """
    from submissions.registry import OPTIMIZERS

    if dtype == "float32":
        return list(SINGLE)
    ways: dict[Any, str] = {}
    for name, row in OPTIMIZERS.items():
        ours = row.algorithm
        ways.setdefault((ours.elementwise, ours.refresh_at) if ours else name, name)
    bare = [f"asgo{BARE}"] if framework == "pytorch" else []
    return [*ways.values(), *(f"{name}{PARTS}" for name in IN_PARTS), *bare]


def optimizer(run: str) -> str:
    """Of a run."""
    return run.removesuffix(PARTS).removesuffix(BARE)


def point(run: str) -> dict[str, Any]:
    """Those of POINT that its optimizer has, and a rate at which the loss soon falls."""
    from submissions.registry import OPTIMIZERS

    known = OPTIMIZERS[optimizer(run)].hyperparameters
    changed = {key: value for key, value in POINT.items() if key in known}
    changed["learning_rate"] = max(0.01, known["learning_rate"])
    if run.endswith(PARTS):
        changed |= {"gradient_accumulation_steps": 2, "ema_decay": 0.6}
    return changed


def train(framework: str, dtype: str, ranks: Any) -> dict[tuple[str, str], dict[str, Any]]:
    from device_rows import BATCH

    from benchmark import backend, submission
    from benchmark.trial import Rules, Trial
    from matprec import balance
    from matprec import step as stepping

    if framework == "jax":
        from device_rows_jax import DeviceRowsJax as Rows
    else:
        from device_rows_torch import DeviceRowsTorch as Rows

    refresh, refreshed, costs = stepping.Refresh.__call__, [], []

    def counted(self, chosen, carry):
        refreshed.append(len(chosen))
        costs.extend([balance.cost(self.algorithm, carry)] * len(chosen))
        return refresh(self, chosen, carry)

    stepping.Refresh.__call__ = counted
    outcomes = {}
    workload = Rows(dtype)  # one for all, as its evaluation is compiled
    try:
        for name in names(framework, dtype):
            refreshed.clear()
            costs.clear()
            path = submission.path_of(optimizer(name), framework)
            module = submission.load(path, framework, ROOT)
            functions = vars(module) | {"get_batch_size": lambda _: BATCH}
            if name.endswith(BARE):
                functions["update_params"] = functools.partial(without_ddp, module.update_params)
            running = Trial(
                workload,
                "rows",
                submission.Submission(**functions),
                point(name),
                rules=Rules(max_global_steps=STEPS, eval_every_steps=1, target_setting=True),
                backend=backend.load(framework),
                logger=None,
                data_dir="",
                now=ranks.now,
                agree=lambda row: ranks.from_first(lambda: row),
            )
            running.run(backend.load(framework).random.key(3))
            outcomes[dtype, name] = {
                "losses": [row["train/loss"] for _, row in running.eval_results],
                "parameters": arrays(running._state[1]),
                "refreshed": list(refreshed),
                "costs": list(costs),
            }
    finally:
        stepping.Refresh.__call__ = refresh
    return outcomes


def without_ddp(update_params: Any, *, current_param_container: Any, **arguments: Any) -> Any:
    model = getattr(current_param_container, "module", current_param_container)
    return update_params(current_param_container=model, **arguments)


def arrays(params: Any) -> list[Any]:
    """The parameters as NumPy arrays, in the framework's order."""
    if hasattr(params, "parameters"):
        return [tensor.detach().numpy() for tensor in params.parameters()]
    import jax

    return jax.device_get(jax.tree.leaves(params))


def main(framework: str, file: str, dtypes: str = ",".join(DTYPES)) -> None:
    from benchmark.ranks import join

    outcomes = {}
    with join(framework) as ranks:
        for dtype in dtypes.split(","):
            if framework == "jax":
                import jax

                jax.config.update("jax_enable_x64", dtype == "float64")
            outcomes |= train(framework, dtype, ranks)
    Path(file + os.environ.get("RANK", "")).write_bytes(pickle.dumps(outcomes))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
