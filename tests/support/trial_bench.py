"""A trial on a fake clock, for tests of the loop."""

from typing import Any

import pandas as pd
from fakes.quadratic import FakeClock, QuadraticWorkload

from algoperf_api import random_utils
from benchmark.log import MetricsLogger
from benchmark.submission import Submission
from benchmark.trial import Progress, Result, Rules, Trial

STEP, PREPARE, EVAL = 1.0, 0.25, 10.0


class FakeBackend:
    """Counts what it is asked to wait for; `compiled` seconds are set by the test."""

    def __init__(self, clock: FakeClock) -> None:
        self.random = random_utils.for_framework("pytorch")
        self.clock = clock
        self.compiled = 0.0
        self.device_seconds = 0.0
        self.waited_for: list[Any] = []

    def wait(self, tree: Any) -> None:
        self.waited_for.append(tree)
        self.clock.advance(self.device_seconds)
        self.device_seconds = 0.0

    def compile_seconds(self) -> float:
        return self.compiled

    def peak_memory_bytes(self) -> int:
        return 7


class Bench:
    """One trial on a fake clock. A step takes 1 s and moves x towards 0 by a tenth."""

    def __init__(self, folder: Any, rules: Rules | None = None, **numbers: Any) -> None:
        self.clock = FakeClock()
        self.backend = FakeBackend(self.clock)
        self.workload = QuadraticWorkload(clock=self.clock, eval_seconds=EVAL, **numbers)
        self.rules = rules or Rules()
        self.folder = folder
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.shown: list[tuple[float, Progress]] = []
        self.arguments: dict[str, Any] = {}
        self.functions: dict[str, Any] = {
            "get_batch_size": lambda name: 8,
            "init_optimizer_state": self.init_optimizer_state,
            "update_params": self.update_params,
            "data_selection": self.data_selection,
            "prepare_for_eval": self.prepare_for_eval,
            "check_hyperparameters": None,
        }

    def run(self, rng: Any = (1, 2)) -> Result:
        self.logger = MetricsLogger(self.folder)
        self.trial = Trial(
            self.workload,
            "quadratic",
            Submission(path="fake.py", **self.functions),
            "the hyperparameters",
            **{
                "rules": self.rules,
                "backend": self.backend,
                "logger": self.logger,
                "data_dir": "the data",
                "report": lambda shown: self.shown.append((self.clock(), shown)),
                "now": self.clock,
                **self.arguments,
            },
        )
        return self.trial.run(rng)

    def rows(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "eval_measurements.csv")

    def init_optimizer_state(self, *arguments: Any) -> dict[str, int]:
        self.calls.append(("init", {"arguments": arguments}))
        self.clock.advance(100.0)  # set-up is not timed
        return {"steps": 0}

    def data_selection(self, *arguments: Any) -> Any:
        self.calls.append(("data", {"arguments": arguments}))
        self.clock.advance(STEP / 4)
        return next(arguments[1])

    def update_params(
        self,
        workload,
        current_param_container,
        current_params_types,
        model_state,
        hyperparameters,
        batch,
        loss_type,
        optimizer_state,
        eval_results,
        global_step,
        rng,
    ):
        self.calls.append(("update", locals()))
        self.clock.advance(STEP / 4)
        self.backend.device_seconds = STEP / 2  # asynchronous: done only when waited for
        x = current_param_container["x"]
        return {"steps": optimizer_state["steps"] + 1}, {"x": 0.9 * x}, model_state

    def prepare_for_eval(self, **arguments: Any):
        self.calls.append(("prepare", arguments))
        self.backend.device_seconds = PREPARE
        return (
            arguments["optimizer_state"],
            arguments["current_param_container"],
            arguments["model_state"],
        )

    def called(self, name: str) -> list[dict[str, Any]]:
        return [arguments for called, arguments in self.calls if called == name]


UNREACHABLE = {"validation_target_value": 2.0, "test_target_value": 2.0}
