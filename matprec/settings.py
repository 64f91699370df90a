"""What both adapters do with keyword arguments: check them, build algorithms from them."""

import dataclasses
import functools
import inspect
from typing import Any, get_args

from matprec import layout
from matprec.algorithms.base import Algorithm, MatrixAlgorithm
from matprec.algorithms.nadamw import NAdamW
from matprec.linalg import is_array, is_static

# Options of the fallback for tensors that are not matrices, and their defaults.
FALLBACK: dict[str, Any] = {
    "fallback": "nadamw",
    "fallback_lr_scale": 1.0,
    "fallback_beta1": 0.9,
    "fallback_beta2": 0.999,
    "fallback_eps": 1e-8,
}


def hyperparameters(algorithm_class: type[Algorithm]) -> dict[str, Any]:
    """Names and defaults of an algorithm's hyperparameters, the fallback's options included."""
    fields = {field.name: field.default for field in dataclasses.fields(algorithm_class)}
    return fields | FALLBACK if issubclass(algorithm_class, MatrixAlgorithm) else fields


def documentation(algorithm_class: type[Algorithm]) -> str:
    """What the docstrings of an algorithm and its bases say of its hyperparameters."""
    classes = [cls for cls in algorithm_class.__mro__ if dataclasses.is_dataclass(cls)]
    texts = [inspect.getdoc(cls) or "" for cls in classes if "__doc__" in vars(cls)]
    return "\n\n".join(text for text in texts if "Attributes:" in text)


def build(algorithm_class: type[Algorithm], values: dict[str, Any]) -> tuple[Algorithm, Algorithm]:
    """(algorithm, fallback) from the values that name their hyperparameters; others are ignored.

    Raises:
      ValueError: a value is outside its range, in one line that names it.
    """
    names = [field.name for field in dataclasses.fields(algorithm_class)]
    algorithm = algorithm_class(**{name: values[name] for name in names if name in values})
    if not isinstance(algorithm, MatrixAlgorithm):
        return algorithm, algorithm
    settings = {name: values.get(name, default) for name, default in FALLBACK.items()}
    if settings["fallback"] not in ("nadamw", "adamw"):
        raise ValueError(f"fallback={settings['fallback']!r} is not one of nadamw, adamw")
    check_scale("fallback_lr_scale", settings["fallback_lr_scale"])
    try:
        fallback = NAdamW(
            beta1=settings["fallback_beta1"] if algorithm.fallback_momentum else 0.0,
            beta2=settings["fallback_beta2"],
            eps=settings["fallback_eps"],
            nesterov=settings["fallback"] == "nadamw",
        )
    except ValueError as error:
        raise ValueError(f"fallback, {error}") from None
    return algorithm, fallback


def build_often(
    algorithm_class: type[Algorithm], values: dict[str, Any]
) -> tuple[Algorithm, Algorithm]:
    """As `build`, for every step: what has been built and checked before is not again."""
    # A type too, because 1 and True are equal.
    key = frozenset(
        (name, values[name], type(values[name]))
        for name in _names(algorithm_class)
        if name in values
    )
    return _built(algorithm_class, key)


@functools.cache
def _names(algorithm_class: type[Algorithm]) -> tuple[str, ...]:
    return tuple(hyperparameters(algorithm_class))


@functools.lru_cache(maxsize=256)
def _built(
    algorithm_class: type[Algorithm], key: frozenset[tuple[str, Any, type]]
) -> tuple[Algorithm, Algorithm]:
    return build(algorithm_class, {name: value for name, value, _ in key})


def check_scale(name: str, value: Any, *, positive: bool = False) -> None:
    """Raise ValueError unless a value is a finite, non-negative (or positive) number.

    Arrays and schedules cannot be checked.
    """
    if is_array(value) or callable(value):
        return
    number = value if is_static(value) else float("nan")
    if not (0 <= number < float("inf") and (number > 0 or not positive)):
        wanted = "positive" if positive else "non-negative"
        raise ValueError(f"{name}={value!r} must be {wanted} and finite")


def check_state_dtype(name: str | None) -> None:
    """Raise ValueError unless a state dtype's name is None, float32 or float64.

    Half precision cannot count: a bfloat16 `t` stops at 256, and there is no `eigh` for it.
    """
    if name not in (None, "float32", "float64"):
        raise ValueError(f"state_dtype={name} is not one of float32, float64")


def layout_options(
    algorithm: Algorithm,
    weight_layout: layout.WeightLayout,
    stack_bytes: int | None,
) -> layout.Options:
    """How tensors are laid out for an algorithm.

    Raises:
      ValueError: an option is outside its range, in one line that names it.
    """
    if weight_layout not in get_args(layout.WeightLayout):
        raise ValueError(f"weight_layout={weight_layout!r} is not one of in_out, out_in")
    if stack_bytes is not None and not (is_static(stack_bytes) and stack_bytes >= 1):
        raise ValueError(f"stack_bytes={stack_bytes!r} must be 'auto', None or at least 1")
    matrix = algorithm if isinstance(algorithm, MatrixAlgorithm) else None
    common = {"weight_layout": weight_layout, "stack_bytes": stack_bytes}
    if matrix is None:
        return layout.Options(**common, elementwise=True)
    return layout.Options(
        **common,
        max_dim=matrix.max_dim,
        precondition_head=matrix.precondition_head,
        block_size=matrix.block_size,
        merge_dims=matrix.merges_dims,
    )
