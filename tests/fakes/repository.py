"""A repository of fake submissions in a temporary folder, with search spaces."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmark.plan import Options
from benchmark.runs import Place

# Gradient descent on the quadratic workload. `delay`: seconds that a step sleeps; `fail_at`: the
# step at which it raises.
SUBMISSION = """
import time

import numpy as np

KNOWN = ("learning_rate", "delay", "fail_at", "one_minus_beta1", "weight_decay")


def check_hyperparameters(point):
    for name, value in point.items():
        if name not in KNOWN:
            raise ValueError(f"no hyperparameter {name!r}; allowed: {', '.join(KNOWN)}")
        if value < 0:
            raise ValueError(f"{name}={value!r} must not be negative")


def get_batch_size(workload_name):
    if workload_name != "quadratic":
        raise ValueError(f"unknown workload {workload_name!r}")
    return 8


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}, None


def data_selection(
    workload, input_queue, optimizer_state, current_param_container, model_state,
    hyperparameters, global_step, rng,
):
    return next(input_queue)


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch,
    loss_type, optimizer_state, eval_results, global_step, rng, train_state=None,
):
    time.sleep(getattr(hyperparameters, "delay", 0.0))
    if global_step + 1 == getattr(hyperparameters, "fail_at", None):
        raise FloatingPointError("the loss is not finite")
    x = current_param_container["x"]
    workload.metrics_logger.append_scalar_metrics({"loss": np.sum(x**2)}, global_step)
    gradient = x + 0.01 * batch["noise"]
    rate = getattr(hyperparameters, "learning_rate", 0.1)
    return optimizer_state, {"x": x - rate * gradient}, model_state
"""

FAKE_SCRIPT = Path(__file__).with_name("fake_script.py")


def make(root: Path, submissions: dict[str, list[dict[str, Any]]], framework: str = "jax") -> Path:
    """Writes `root` with a submission and a search space for each name. Returns `root`."""
    (root / "tuning_search_spaces").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "submissions").mkdir()
    (root / "submissions" / "__init__.py").touch()  # a regular package, as the real one
    for name, points in submissions.items():
        folder = root / "submissions" / name / framework
        folder.mkdir(parents=True)
        (folder / "submission.py").write_text(SUBMISSION)
        space = root / "tuning_search_spaces" / f"{name}.json"
        space.write_text(json.dumps(points))
    return root


def script(root: Path, name: str, **workload: Any) -> tuple[str, ...]:
    """The command of scripts/<name>.py where `root` is the repository and the only workload is the
    fake one, made with the arguments `workload`."""
    return (sys.executable, str(FAKE_SCRIPT), str(root), json.dumps(workload), name)


def place(root: Path, **workload: Any) -> Place:
    """The place of such a repository."""
    return Place(root, script(root, "run", **workload))


def options(root: Path, folder: Path, **changes: Any) -> Options:
    """A run of the submission `fast` in such a repository, with its logs below `folder`."""
    framework = changes.get("framework", "jax")
    values = {
        "workload": "quadratic",
        "framework": framework,
        "submission_path": f"submissions/fast/{framework}/submission.py",
        "experiment_dir": str(folder / "experiments"),
        "experiment_name": "e",
        "data_dir": str(root / "data"),
        "tuning_search_space": str(root / "tuning_search_spaces" / "fast.json"),
        "rng_seed": 5,
    }
    return Options(**(values | changes))
