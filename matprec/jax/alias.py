"""One optimizer per algorithm: the adapter with the learning rate chained behind it."""

import inspect
from collections.abc import Callable
from typing import Any

import optax

from matprec import settings
from matprec.algorithms import base
from matprec.jax.transform import precondition

# Arguments of `precondition` that an alias fills in itself.
_OWN = ("weight_decay", "fallback", "fallback_lr_scale")


def make_alias(name: str, algorithm_class: type[base.Algorithm]) -> Callable[..., Any]:
    """`name(learning_rate, weight_decay=0.0, *, <hyperparameters>, <adapter options>)`."""
    fields = settings.hyperparameters(algorithm_class)
    options = {
        parameter.name: parameter.default
        for parameter in inspect.signature(precondition).parameters.values()
        if parameter.default is not parameter.empty and parameter.name not in _OWN
    }

    def alias(learning_rate: Any, weight_decay: Any = 0.0, **values: Any) -> Any:
        unknown = values.keys() - fields.keys() - options.keys()
        if unknown:
            raise TypeError(
                f"{name}() got an unexpected keyword argument {min(unknown)!r}; "
                f"it has {', '.join(fields | options)}"
            )
        settings.check_scale("learning_rate", learning_rate, positive=True)
        settings.check_scale("weight_decay", weight_decay)
        algorithm, fallback = settings.build(algorithm_class, values)
        transformation = precondition(
            algorithm,
            weight_decay=weight_decay,
            fallback=fallback,
            fallback_lr_scale=values.get("fallback_lr_scale", 1.0),
            **{key: value for key, value in values.items() if key in options},
        )
        return optax.chain(transformation, optax.scale_by_learning_rate(learning_rate))

    # What `optax.inject_hyperparams` must not trace: integers, and options that it would take for
    # schedules (a dtype is callable). Floats may be injected, strings and booleans it leaves alone.
    alias.static_args = (  # type: ignore[attr-defined]
        *(key for key, kind in base.kinds(algorithm_class).items() if base.is_whole(kind)),
        *(key for key in options if key != "weight_layout"),
    )
    kind = inspect.Parameter
    alias.algorithm_class = algorithm_class  # type: ignore[attr-defined]
    alias.__name__ = alias.__qualname__ = name
    alias.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            kind("learning_rate", kind.POSITIONAL_OR_KEYWORD),
            kind("weight_decay", kind.POSITIONAL_OR_KEYWORD, default=0.0),
            *(
                kind(key, kind.KEYWORD_ONLY, default=default)
                for key, default in (fields | options).items()
            ),
        ]
    )
    alias.__doc__ = f"""{algorithm_class.__name__} as an optax optimizer.

    Args:
      learning_rate: a number or an optax schedule.
      weight_decay: decoupled; matrix algorithms spare vectors. `update` then needs `params`.
      **values: hyperparameters of `matprec.algorithms.{algorithm_class.__name__}`, options of
        `matprec.jax.precondition`, and for matrix algorithms `fallback` ("nadamw" or "adamw")
        with `fallback_lr_scale`, `fallback_beta1`, `fallback_beta2`, `fallback_eps`.

    Returns:
      An `optax.GradientTransformation`. Inject hyperparameters with
      `optax.inject_hyperparams({name}, static_args={name}.static_args)`; for bf16 parameters
      with `hyperparam_dtype=jnp.float32`, because in bf16 a decay of 0.999 would be 1.

    Raises:
      ValueError: a hyperparameter is outside its range.

    {inspect.getdoc(inspect.getmodule(algorithm_class))}

    {settings.documentation(algorithm_class)}
    """
    return alias
