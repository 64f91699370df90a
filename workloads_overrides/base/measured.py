"""A workload whose targets and budget were measured by a script and stand in a file.

Every workload here is one. What needs a framework comes from `JaxWorkload` or `PytorchWorkload`.
"""

import abc
import functools
import json
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from algoperf_api import spec

Batch = dict[str, Any]


@functools.cache
def _read_targets(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


class MeasuredWorkload(spec.Workload):
    """Targets, budget and step hint from `targets_path`, which `scripts/set_targets.py` writes.

    Subclasses set the class attributes below. A target is reached at its value; a metric that is
    not a number reaches none, and a target that was not measured is never reached: it would end
    runs that say nothing.

    Attributes:
      targets_path: the JSON file; its "status" says whether the values have been measured.
      target_metric_name: without the split's prefix.
      higher_is_better: whether the metric is maximised.
      default_dropout_rate: of `model_fn` when it is given none.
      output_module: the module that makes the logits; its parameters are the output's.
    """

    targets_path: Path
    target_metric_name: str = ""
    higher_is_better: bool = True
    default_dropout_rate: float = 0.0
    output_module: str = ""

    @property
    @abc.abstractmethod
    def _num_shards(self) -> int:
        """Devices that a global batch is divided among."""

    @abc.abstractmethod
    def _place(self, batch: Batch) -> Batch:
        """This process's part of a global batch of NumPy arrays, on its device."""

    def _own_rows(self, array: np.ndarray) -> np.ndarray:
        """This process's rows of a global array. Here: all, as one process has all devices."""
        return array

    def _place_own(self, batch: Batch) -> Batch:
        """A batch of this process's rows alone, on its device."""
        return self._place(batch)

    @abc.abstractmethod
    def _eval_arrays(
        self, params: Any, batch: Batch, model_state: Any, rng: Any
    ) -> dict[str, np.ndarray]:
        """Per row of the global batch whatever the metrics of a split need."""

    @staticmethod
    def pytorch_name(flax_module_dotted: str) -> str:
        """The name in the PyTorch model of a flax module, both dotted: for `param_map`."""
        return flax_module_dotted

    def is_output_params(self, param_key: str) -> bool:
        """Whether the key's path, joined by '/' or '.', goes through `output_module`."""
        return self.output_module in re.split(r"[/.]", param_key)

    @property
    def _targets(self) -> dict[str, Any]:
        return _read_targets(self.targets_path)

    def data_facts(self, data_dir: str | Path) -> dict[str, Any]:
        """What of the prepared data targets depend on, to be written down with them. Here: none,
        where one preparation only is accepted."""
        del data_dir
        return {}

    def accept_any_data(self) -> None:
        """For runs that set targets: data need not be of those that the present ones hold for.
        Here: no choice."""

    @property
    def target_status(self) -> str:
        """'measured', or 'provisional': a placeholder, of which nothing may be concluded."""
        return self._targets["status"]

    @property
    def has_measured_targets(self) -> bool:
        """Whether the targets, and the budget with them, say anything."""
        return self.target_status == "measured"

    @property
    def validation_target_value(self) -> float:
        return self._targets["validation_target_value"]

    @property
    def test_target_value(self) -> float:
        return self._targets["test_target_value"]

    def has_reached_validation_target(self, eval_result: dict[str, float]) -> bool:
        value = eval_result[f"validation/{self.target_metric_name}"]
        return self._reaches(value, self.validation_target_value)

    def has_reached_test_target(self, eval_result: dict[str, float]) -> bool:
        value = eval_result[f"test/{self.target_metric_name}"]
        return self._reaches(value, self.test_target_value)

    def _reaches(self, value: float, target: float) -> bool:
        if not self.has_measured_targets:
            return False
        return value >= target if self.higher_is_better else value <= target

    @property
    def loss_type(self) -> spec.LossType:
        return spec.LossType.SOFTMAX_CROSS_ENTROPY

    @property
    def train_mean(self) -> NoReturn:
        raise NotImplementedError

    @property
    def train_stddev(self) -> NoReturn:
        raise NotImplementedError

    @property
    def max_allowed_runtime_sec(self) -> int:
        return self._targets["max_allowed_runtime_sec"]

    @property
    def eval_period_time_sec(self) -> int:
        return self._targets["eval_period_time_sec"]

    @property
    def step_hint(self) -> int:
        return self._targets["step_hint"]
