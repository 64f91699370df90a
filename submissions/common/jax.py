"""One training step in JAX that all submissions share, with AlgoPerf's functions around it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from algoperf_api import jax_sharding_utils, spec
from matprec.jax.alias import make_alias
from matprec.jax.transform import counters
from submissions.common import jax_average
from submissions.common.data import cut, data_selection, get_batch_size, part_of
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
        del rng
        run = make_run(name, hyperparameters)
        mesh = jax_sharding_utils.get_replicate_sharding().mesh
        optimizer = make_optimizer(run, _roles(workload), mesh)
        state = {"optimizer": jax.jit(optimizer.init)(model_params)}
        if run["ema_decay"] is not None:
            state["average"] = jax_average.init(model_params, model_state)
        static = (run, optimizer.update, run.schedule(workload))
        return jax_sharding_utils.replicate(state), static

    return init_optimizer_state, functools.partial(check_point, name)


def make_optimizer(run: Run, roles: Any = None, mesh: Any = None) -> optax.GradientTransformation:
    """The optimizer of a run at learning rate 1; the step scales its updates.

    The devices of `mesh` share its refreshes, see `matprec.jax.precondition`.
    """
    values = dict(run.values)
    algorithm = OPTIMIZERS[run.name].algorithm
    own = {key: value for key, value in values.items() if key not in TRAINING}
    if algorithm is None:
        return _FRAMEWORKS_OWN[run.name](values["weight_decay"], **own)
    return make_alias(run.name, algorithm)(
        1.0, values["weight_decay"], roles=roles, mesh=mesh, **own
    )


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
    del current_params_types, hyperparameters, loss_type, eval_results
    state, static = optimizer_state
    run, update_fn, schedule = static
    state, params, model_state, measurements = _compiled_step()(
        workload,
        update_fn,
        run,
        state,
        current_param_container,
        model_state,
        batch,
        rng,
        schedule.learning_rate_at(global_step, train_state),
    )
    if global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
        metrics = jax.device_get(measurements | counters(state))
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
    handed = (params, model_state)
    averaging = run["ema_decay"] is not None
    if averaging:
        params, model_state = jax_average.training(state["average"], *handed)
    loss, model_state, grads = _gradients(workload, run, params, model_state, batch, rng)
    measurements = {"loss": loss}
    if run["grad_clip"] is not None:
        grad_norm = measurements["grad_norm"] = finite_norm(grads)
        scale = jnp.minimum(1.0, run["grad_clip"] / (grad_norm + 1e-6))
        grads = jax.tree.map(lambda g: g * scale, grads)
    updates, optimizer = update_fn(grads, state["optimizer"], params)
    params = jax.tree.map(lambda p, u: p + (learning_rate * u).astype(p.dtype), params, updates)
    state = state | {"optimizer": optimizer}
    if averaging:
        after = (params, model_state)
        state["average"] = jax_average.update(state["average"], handed, after, run["ema_decay"])
    return state, params, model_state, measurements


def _gradients(
    workload: Any, run: Run, params: Any, model_state: Any, batch: dict[str, Any], rng: Any
) -> tuple[Any, Any, Any]:
    """(mean loss, model state, its gradient) over the batch, one part after another if asked."""
    dropout = {} if run["dropout_rate"] is None else {"dropout_rate": run["dropout_rate"]}

    def summed_loss(params: Any, model_state: Any, batch: Any, rng: Any) -> tuple[Any, Any]:
        logits, model_state = workload.model_fn(
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
        return losses["summed"], (losses["n_valid_examples"], model_state)

    value_and_grad = jax.value_and_grad(summed_loss, has_aux=True)
    number = run["gradient_accumulation_steps"]
    if number == 1:
        (total, (count, model_state)), grads = value_and_grad(params, model_state, batch, rng)
    else:
        sharding = jax_sharding_utils.get_batch_dim_sharding()

        def add(carry: Any, part: Any) -> tuple[Any, None]:
            total, count, grads, model_state, index = carry
            part = jax.lax.with_sharding_constraint(part, sharding)
            (loss, (examples, model_state)), more = value_and_grad(
                params, model_state, part, jax.random.fold_in(rng, index)
            )
            grads = jax.tree.map(jnp.add, grads, more)
            return (total + loss, count + examples, grads, model_state, index + 1), None

        parts = cut(batch, number, jax.device_count())
        first = part_of(parts, 0)
        (loss, (examples, _)), _ = jax.eval_shape(value_and_grad, params, model_state, first, rng)
        sums = (jnp.zeros((), loss.dtype), jnp.zeros((), examples.dtype))
        start = (*sums, jax.tree.map(jnp.zeros_like, params), model_state, 0)
        (total, count, grads, model_state, _), _ = jax.lax.scan(add, start, parts)
    grads = jax.tree.map(lambda g: (g / count).astype(g.dtype), grads)
    return total / count, model_state, grads


def finite_norm(grads: Any) -> Any:
    """The norm of all tensors that are finite: one that is not must not spoil the others."""
    squares = jnp.stack([jnp.sum(g * g) for g in jax.tree.leaves(grads)])
    return jnp.sqrt(jnp.sum(jnp.where(jnp.isfinite(squares), squares, 0.0)))


def _show_average(optimizer_state: Any, params: Any, model_state: Any) -> tuple[Any, Any, Any]:
    state, static = optimizer_state
    if "average" not in state:
        return optimizer_state, params, model_state
    average, params, model_state = jax_average.swap(state["average"], params, model_state)
    return (state | {"average": average}, static), params, model_state


prepare_for_eval = make_prepare_for_eval(
    lambda optimizer_state: counters(optimizer_state[0]), _show_average
)
