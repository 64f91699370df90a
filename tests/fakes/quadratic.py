"""A workload small enough for tests of the runner: minimise |x|^2 over four numbers, in NumPy.

Its metric is `accuracy` = 1 / (1 + |x|^2), so higher is better and the optimum is 1. Parameters are
NumPy arrays in both frameworks, so nothing is compiled.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from algoperf_api import random_utils, spec

SIZE = 4


class FakeClock:
    """A clock that stands still unless it is told otherwise. Starts late, as `time.time` does."""

    def __init__(self) -> None:
        self.time = 1e6

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


class QuadraticWorkload(spec.Workload):
    """`clock` and `eval_seconds`: how long an evaluation takes on a fake clock."""

    target_metric_name = "accuracy"
    has_measured_targets = True
    loss_type = spec.LossType.MEAN_SQUARED_ERROR
    num_train_examples = 100
    num_eval_train_examples = 10
    num_validation_examples = 10
    num_test_examples = 10
    eval_batch_size = 10

    def __init__(
        self,
        validation_target_value: float = 0.9,
        test_target_value: float = 0.8,
        max_allowed_runtime_sec: float = 100.0,
        eval_period_time_sec: float = 3.0,
        step_hint: int = 20,
        clock: FakeClock | None = None,
        eval_seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self._numbers = {
            "validation_target_value": validation_target_value,
            "test_target_value": test_target_value,
            "max_allowed_runtime_sec": max_allowed_runtime_sec,
            "eval_period_time_sec": eval_period_time_sec,
            "step_hint": step_hint,
        }
        self._clock = clock
        self._eval_seconds = eval_seconds
        self.evaluated_at: list[int] = []
        self.accepts_any_data = False

    validation_target_value = property(lambda self: self._numbers["validation_target_value"])
    test_target_value = property(lambda self: self._numbers["test_target_value"])
    max_allowed_runtime_sec = property(lambda self: self._numbers["max_allowed_runtime_sec"])
    eval_period_time_sec = property(lambda self: self._numbers["eval_period_time_sec"])
    step_hint = property(lambda self: self._numbers["step_hint"])

    @property
    def train_mean(self) -> Any:
        raise NotImplementedError

    @property
    def train_stddev(self) -> Any:
        raise NotImplementedError

    def has_reached_validation_target(self, eval_result: dict[str, float]) -> bool:
        return eval_result["validation/accuracy"] >= self.validation_target_value

    def has_reached_test_target(self, eval_result: dict[str, float]) -> bool:
        return eval_result["test/accuracy"] >= self.test_target_value

    def _build_input_queue(
        self, data_rng: Any, split: str, data_dir: str, global_batch_size: int, **_: Any
    ) -> Iterator[dict[str, Any]]:
        noise = np.random.default_rng(random_utils.seed_from_rng(data_rng))
        while True:
            yield {"noise": noise.standard_normal((global_batch_size, SIZE)).mean(0)}

    def data_facts(self, data_dir: Any) -> dict[str, Any]:
        return {"found": str(data_dir)}

    def accept_any_data(self) -> None:
        self.accepts_any_data = True

    def is_output_params(self, param_key: str) -> bool:
        return False

    def init_model_fn(self, rng: Any) -> tuple[Any, Any]:
        self._param_shapes = {"x": spec.ShapeTuple((SIZE,))}
        self._param_types = {"x": spec.ParameterType.WEIGHT}
        start = np.random.default_rng(random_utils.seed_from_rng(rng))
        return {"x": 1.0 + start.random(SIZE)}, None

    def model_fn(self, params: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        return params["x"], None

    def loss_fn(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _eval_model_on_split(
        self, split: str, num_examples: int, global_batch_size: int, params: Any, *args: Any
    ) -> dict[str, float]:
        if split == "eval_train":
            self.evaluated_at.append(args[-1])
            if self._clock is not None:
                self._clock.advance(self._eval_seconds)
        # The test split is a little harder, so that the two targets are met at different steps.
        scale = 1.5 if split == "test" else 1.0
        loss = float(np.sum(np.square(params["x"])))
        return {"accuracy": 1.0 / (1.0 + scale * loss), "loss": loss}
