"""The part of AlgoPerf's `spec` module (v0.6) that submissions and workloads are written against.

Names, members and values are AlgoPerf's, so that code written against this module runs
unchanged under the official harness. It imports neither JAX nor PyTorch.
"""

import abc
import enum
from collections.abc import Iterator
from typing import Any


class LossType(enum.Enum):
    SOFTMAX_CROSS_ENTROPY = 0
    SIGMOID_CROSS_ENTROPY = 1
    MEAN_SQUARED_ERROR = 2
    CTC_LOSS = 3
    MEAN_ABSOLUTE_ERROR = 4


class ForwardPassMode(enum.Enum):
    TRAIN = 0
    EVAL = 1


class ParameterType(enum.Enum):
    WEIGHT = 0
    BIAS = 1
    CONV_WEIGHT = 2
    BATCH_NORM_SCALE = 3
    BATCH_NORM_BIAS = 4
    LAYER_NORM_SCALE = 5
    LAYER_NORM_BIAS = 6
    EMBEDDING = 7
    ATTENTION_Q = 8
    ATTENTION_K = 9
    ATTENTION_V = 10
    ATTENTION_OUT = 11
    ATTENTION_QKV = 12
    ATTENTION_KV = 13
    ATTENTION_BIAS = 14


class ShapeTuple:
    """A shape that pytree utilities see as one leaf."""

    def __init__(self, shape_tuple: Any):
        self.shape_tuple = shape_tuple

    def __repr__(self) -> str:
        return f"ShapeTuple({self.shape_tuple})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeTuple) and self.shape_tuple == other.shape_tuple

    def __hash__(self) -> int:
        return hash(tuple(self.shape_tuple))


class TrainingCompleteError(Exception):
    """Raised by a submission that wants one last evaluation and then to stop."""


class Workload(abc.ABC):
    """A model, a data set, a metric, two targets and a budget; members as AlgoPerf's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self._param_shapes: Any = None
        self._param_types: Any = None
        self._eval_iters: dict[str, Iterator] = {}
        self.metrics_logger: Any = None

    @property
    @abc.abstractmethod
    def target_metric_name(self) -> str: ...

    @property
    @abc.abstractmethod
    def validation_target_value(self) -> float: ...

    @property
    @abc.abstractmethod
    def test_target_value(self) -> float: ...

    @property
    @abc.abstractmethod
    def loss_type(self) -> LossType: ...

    @property
    @abc.abstractmethod
    def num_train_examples(self) -> int: ...

    @property
    @abc.abstractmethod
    def eval_batch_size(self) -> int: ...

    @property
    @abc.abstractmethod
    def num_eval_train_examples(self) -> int: ...

    @property
    @abc.abstractmethod
    def num_validation_examples(self) -> int: ...

    @property
    @abc.abstractmethod
    def num_test_examples(self) -> int: ...

    @property
    @abc.abstractmethod
    def train_mean(self) -> Any: ...

    @property
    @abc.abstractmethod
    def train_stddev(self) -> Any: ...

    @property
    @abc.abstractmethod
    def max_allowed_runtime_sec(self) -> int: ...

    @property
    @abc.abstractmethod
    def eval_period_time_sec(self) -> int: ...

    @property
    @abc.abstractmethod
    def step_hint(self) -> int: ...

    @abc.abstractmethod
    def has_reached_validation_target(self, eval_result: dict[str, float]) -> bool: ...

    @abc.abstractmethod
    def has_reached_test_target(self, eval_result: dict[str, float]) -> bool: ...

    @abc.abstractmethod
    def _build_input_queue(
        self,
        data_rng: Any,
        split: str,
        data_dir: str,
        global_batch_size: int,
        cache: bool | None = None,
        repeat_final_dataset: bool | None = None,
        num_batches: int | None = None,
    ) -> Iterator[dict[str, Any]]: ...

    @abc.abstractmethod
    def is_output_params(self, param_key: str) -> bool: ...

    @abc.abstractmethod
    def init_model_fn(self, rng: Any) -> tuple[Any, Any]: ...

    @abc.abstractmethod
    def model_fn(
        self,
        params: Any,
        augmented_and_preprocessed_input_batch: dict[str, Any],
        model_state: Any,
        mode: ForwardPassMode,
        rng: Any,
        update_batch_norm: bool,
        dropout_rate: float,
    ) -> tuple[Any, Any]: ...

    @abc.abstractmethod
    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, Any]: ...

    @abc.abstractmethod
    def _eval_model_on_split(
        self,
        split: str,
        num_examples: int,
        global_batch_size: int,
        params: Any,
        model_state: Any,
        rng: Any,
        data_dir: str,
        global_step: int = 0,
    ) -> dict[str, float]: ...

    @property
    def param_shapes(self) -> Any:
        if self._param_shapes is None:
            raise ValueError("call init_model_fn() before reading param_shapes")
        return self._param_shapes

    @property
    def model_params_types(self) -> Any:
        if self._param_types is None:
            raise ValueError("call init_model_fn() before reading model_params_types")
        return self._param_types

    def attach_metrics_logger(self, metrics_logger: Any) -> None:
        self.metrics_logger = metrics_logger

    def eval_model(
        self,
        global_batch_size: int,
        params: Any,
        model_state: Any,
        rng: Any,
        data_dir: str,
        imagenet_v2_data_dir: str | None,
        global_step: int,
    ) -> dict[str, float]:
        """Metrics of the three splits, prefixed `train/`, `validation/` and `test/`."""
        splits = (
            ("train", "eval_train", self.num_eval_train_examples, data_dir),
            ("validation", "validation", self.num_validation_examples, data_dir),
            ("test", "test", self.num_test_examples, imagenet_v2_data_dir or data_dir),
        )
        results: dict[str, float] = {}
        for prefix, split, num_examples, split_dir in splits:
            metrics = self._eval_model_on_split(
                split,
                num_examples,
                global_batch_size,
                params,
                model_state,
                rng,
                split_dir,
                global_step,
            )
            results.update({f"{prefix}/{name}": value for name, value in metrics.items()})
            if prefix != "train":
                results[f"{prefix}/num_examples"] = num_examples
        return results
