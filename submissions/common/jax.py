"""One training step in JAX that all submissions share, with AlgoPerf's functions around it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import matprec.jax
from algoperf_api import jax_sharding_utils, spec
from submissions.common.data import data_selection, get_batch_size
from submissions.common.evaluation import make_prepare_for_eval
from submissions.common.hyperparameters import Run, check_point, make_run
from submissions.common.roles import role_of
from submissions.registry import OPTIMIZERS, TRAINING

__all__ = ["data_selection", "get_batch_size", "initializer", "prepare_for_eval", "update_params"]

LOG_EVERY = 100  # steps; logging waits for the device


def initializer(name: str) -> tuple[Callable[..., Any], Callable[[Any], None]]:
    """(init_optimizer_state, check_hyperparameters) of the optimizer `name` of the registry."""

    def init_optimizer_state(
        workload: spec.Workload,
        model_params: Any,
        model_state: Any,
        hyperparameters: Any,
        rng: Any,
    ) -> tuple[Any, Any]:
        del model_state, rng
        run = make_run(name, hyperparameters, workload.step_hint)
        optimizer = make_optimizer(run, _roles(workload))
        state = jax.jit(optimizer.init)(model_params)
        return jax_sharding_utils.replicate(state), (run, optimizer.update)

    return init_optimizer_state, functools.partial(check_point, name)


def make_optimizer(run: Run, roles: Any = None) -> optax.GradientTransformation:
    """The optimizer of a run at learning rate 1; the step scales its updates."""
    values = dict(run.values)
    algorithm = OPTIMIZERS[run.name].algorithm
    own = {key: value for key, value in values.items() if key not in TRAINING}
    if algorithm is None:
        return _FRAMEWORKS_OWN[run.name](values["weight_decay"], **own)
    alias = matprec.jax.BY_ALGORITHM[algorithm]
    return alias(1.0, values["weight_decay"], roles=roles, **own)


def _adamw(weight_decay: float, beta1: float, beta2: float, eps: float) -> Any:
    return optax.adamw(1.0, beta1, beta2, eps, weight_decay=weight_decay)


def _adafactor(weight_decay: float, decay_rate: float, clipping_threshold: float) -> Any:
    return optax.adafactor(
        1.0,
        decay_rate=decay_rate,
        clipping_threshold=clipping_threshold,
        weight_decay_rate=weight_decay,
    )


_FRAMEWORKS_OWN: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adamw": _adamw,
    "adafactor_original": _adafactor,
}


def _roles(workload: spec.Workload) -> Callable[[str, Any], str]:
    """Roles by lower-cased path: the tree of AlgoPerf's types has lower-cased keys."""
    types = {
        "/".join(entry.key for entry in path): kind
        for path, kind in jax.tree_util.tree_leaves_with_path(workload.model_params_types)
    }

    def role(path: str, leaf: Any) -> str:
        del leaf
        # AlgoPerf names output layers by their top-level module; nested ones share such names.
        return role_of(types[path.lower()], workload.is_output_params(path.split("/")[0]))

    return role


def update_params(
    workload: spec.Workload,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: dict[str, Any],
    loss_type: spec.LossType,
    optimizer_state: tuple[Any, Any],
    eval_results: list[tuple[int, Any]],
    global_step: int,
    rng: Any,
    train_state: Any = None,
) -> tuple[Any, Any, Any]:
    """One step. Returns (optimizer_state, params, model_state)."""
    del current_params_types, hyperparameters, loss_type, eval_results, train_state
    state, static = optimizer_state
    run, update_fn = static
    state, params, model_state, measurements = _compiled_step()(
        workload,
        update_fn,
        run,
        state,
        current_param_container,
        model_state,
        batch,
        rng,
        run.learning_rate_at(global_step),
    )
    if global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
        metrics = jax.device_get(measurements | matprec.jax.counters(state))
        workload.metrics_logger.append_scalar_metrics(
            {key: float(value) for key, value in metrics.items()}, global_step
        )
    return (state, static), params, model_state


@functools.cache
def _compiled_step() -> Callable[..., Any]:
    """The jitted step: everything replicated but the batch, which is split over the devices."""
    replicated = jax_sharding_utils.get_replicate_sharding()
    split = jax_sharding_utils.get_batch_dim_sharding()
    return jax.jit(
        _train_step,
        static_argnums=(0, 1, 2),
        donate_argnums=(3, 4),
        in_shardings=(replicated, replicated, replicated, split, replicated, replicated),
        out_shardings=replicated,
    )


def _train_step(
    workload: Any,
    update_fn: Callable[..., Any],
    run: Run,
    state: Any,
    params: Any,
    model_state: Any,
    batch: dict[str, Any],
    rng: Any,
    learning_rate: Any,
) -> tuple[Any, Any, Any, dict[str, Any]]:
    dropout = {} if run["dropout_rate"] is None else {"dropout_rate": run["dropout_rate"]}

    def mean_loss(params: Any) -> tuple[Any, Any]:
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            **dropout,
        )
        losses = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=run["label_smoothing"],
        )
        return losses["summed"] / losses["n_valid_examples"], new_model_state

    (loss, model_state), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
    grad_norm = finite_norm(grads)
    if run["grad_clip"] is not None:
        scale = jnp.minimum(1.0, run["grad_clip"] / (grad_norm + 1e-6))
        grads = jax.tree.map(lambda g: g * scale, grads)
    updates, state = update_fn(grads, state, params)
    params = jax.tree.map(lambda p, u: p + (learning_rate * u).astype(p.dtype), params, updates)
    return state, params, model_state, {"loss": loss, "grad_norm": grad_norm}


def finite_norm(grads: Any) -> Any:
    """The norm of all tensors that are finite: one that is not must not spoil the others."""
    squares = jnp.stack([jnp.sum(g * g) for g in jax.tree.leaves(grads)])
    return jnp.sqrt(jnp.sum(jnp.where(jnp.isfinite(squares), squares, 0.0)))


prepare_for_eval = make_prepare_for_eval(
    lambda optimizer_state: matprec.jax.counters(optimizer_state[0])
)
