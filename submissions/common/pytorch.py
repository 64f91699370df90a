"""One training step in PyTorch that all submissions share, with AlgoPerf's functions around it."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from algoperf_api import pytorch_utils, spec
from matprec.torch.optimizer import MatrixOptimizer, make_class
from submissions.common.data import cut, data_selection, get_batch_size, part_of
from submissions.common.evaluation import make_prepare_for_eval
from submissions.common.hyperparameters import Run, check_point, make_run
from submissions.common.pytorch_average import WeightAverage
from submissions.common.roles import role_of
from submissions.registry import OPTIMIZERS, TRAINING

__all__ = ["data_selection", "get_batch_size", "initializer", "prepare_for_eval", "update_params"]

USE_DDP = pytorch_utils.pytorch_setup()[0]
LOG_EVERY = 100  # steps; logging waits for the device
_PREFIXES = ("module.", "_orig_mod.")  # added to names by DDP and by torch.compile


def initializer(name: str) -> tuple[Callable[..., Any], Callable[[Any], None]]:
    """(init_optimizer_state, check_hyperparameters) of the optimizer `name` of the registry."""

    def init_optimizer_state(
        workload: spec.Workload,
        model_params: Any,
        model_state: Any,
        hyperparameters: Any,
        rng: Any,
    ) -> dict[str, Any]:
        del model_state, rng
        run = make_run(name, hyperparameters)
        named = list(model_params.named_parameters())
        roles = [_role(workload, parameter_name) for parameter_name, _ in named]
        optimizer = make_optimizer(run, [parameter for _, parameter in named], roles)
        state = {"optimizer": optimizer, "run": run, "schedule": run.schedule(workload)}
        if run["ema_decay"] is not None:
            state["average"] = WeightAverage(model_params, run["ema_decay"])
        return state

    return init_optimizer_state, functools.partial(check_point, name)


def make_optimizer(
    run: Run, params: list[torch.nn.Parameter], roles: list[str] | None = None
) -> torch.optim.Optimizer:
    """The optimizer of a run; the step sets its learning rate."""
    values = dict(run.values)
    algorithm = OPTIMIZERS[run.name].algorithm
    lr, weight_decay = values["learning_rate"], values["weight_decay"]
    own = {key: value for key, value in values.items() if key not in TRAINING}
    if algorithm is None:
        return _FRAMEWORKS_OWN[run.name](params, lr, weight_decay, **own)
    return make_class(algorithm)(params, lr, weight_decay, roles=roles, **own)


def _adamw(
    params: Any, lr: float, weight_decay: float, beta1: float, beta2: float, eps: float
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr, (beta1, beta2), eps, weight_decay, fused=True)


def _adafactor(
    params: Any, lr: float, weight_decay: float, decay_rate: float, clipping_threshold: float
) -> torch.optim.Optimizer:
    return torch.optim.Adafactor(
        params, lr, -decay_rate, d=clipping_threshold, weight_decay=weight_decay
    )


_FRAMEWORKS_OWN: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adafactor_original": _adafactor,
}


def _role(workload: spec.Workload, parameter_name: str) -> str:
    while parameter_name.startswith(_PREFIXES):
        parameter_name = parameter_name.partition(".")[2]
    is_output = workload.is_output_params(parameter_name)
    return role_of(workload.model_params_types[parameter_name], is_output)


def update_params(
    workload: spec.Workload,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: dict[str, Any],
    loss_type: spec.LossType,
    optimizer_state: dict[str, Any],
    eval_results: list[tuple[int, Any]],
    global_step: int,
    rng: Any,
    train_state: Any = None,
) -> tuple[Any, Any, Any]:
    """One step. Returns (optimizer_state, params, model_state)."""
    del current_params_types, hyperparameters, loss_type, eval_results
    optimizer, run = optimizer_state["optimizer"], optimizer_state["run"]
    average, model = optimizer_state.get("average"), current_param_container
    if average is not None:
        average.train()
    model.train()
    optimizer.zero_grad(set_to_none=True)
    loss, model_state = _backward(workload, run, model, model_state, batch, rng)
    grad_norm = None
    if run["grad_clip"] is not None:
        grad_norm = clip_grad_norm([p.grad for p in model.parameters()], run["grad_clip"])
    rate = optimizer_state["schedule"].learning_rate_at(global_step, train_state)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    if average is not None:
        average.update()
    if global_step % LOG_EVERY == 0:
        _log(workload, global_step, loss, grad_norm, optimizer)
    return optimizer_state, model, model_state


def _backward(
    workload: spec.Workload, run: Run, model: Any, model_state: Any, batch: dict[str, Any], rng: Any
) -> tuple[Any, Any]:
    """(loss, model state); leaves the whole batch's gradient.

    The loss is this rank's sum over its equal share of the batch's examples. One part of the batch
    after another if asked, of which each updates batch norm's statistics; DDP averages the ranks'
    gradients in the last.
    """
    dropout = {} if run["dropout_rate"] is None else {"dropout_rate": run["dropout_rate"]}
    number = run["gradient_accumulation_steps"]
    parts = [batch]
    if number > 1:
        together = cut(batch, number)
        parts = [part_of(together, index) for index in range(number)]
    total = count = 0
    for index, part in enumerate(parts):
        waits = index + 1 < number and hasattr(model, "no_sync")
        with model.no_sync() if waits else contextlib.nullcontext():
            logits, model_state = workload.model_fn(
                model,
                part,
                model_state,
                spec.ForwardPassMode.TRAIN,
                rng,
                update_batch_norm=True,
                **dropout,
            )
            losses = workload.loss_fn(
                label_batch=part["targets"],
                logits_batch=logits,
                mask_batch=part.get("weights"),
                label_smoothing=run["label_smoothing"],
            )
            loss, examples = losses["summed"], losses["n_valid_examples"]
            if number == 1:
                loss = loss / _examples_per_rank(examples)
            loss.backward()
        total, count = total + loss.detach(), count + examples
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if USE_DDP and not hasattr(model, "no_sync"):
        # The harness resumes a run with the bare module, whose gradients nobody averages.
        for grad in grads:
            dist.all_reduce(grad)
            grad.div_(dist.get_world_size())
    if number == 1:
        return total, model_state
    per_rank = _examples_per_rank(count)
    for grad in grads:
        grad.div_(per_rank)
    return total / per_rank, model_state


def _examples_per_rank(n_valid_examples: Any) -> Any:
    """Examples of the whole batch over the number of ranks: DDP averages the ranks' gradients."""
    if not USE_DDP:
        return n_valid_examples
    total = torch.as_tensor(n_valid_examples, dtype=torch.float32).detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def _log(workload: Any, global_step: int, loss: Any, grad_norm: Any, optimizer: Any) -> None:
    """Log the loss (of this rank's share) and what the optimizer counted; on rank 0 only."""
    if workload.metrics_logger is None:
        return
    metrics = {"loss": loss.item()} | _counters(optimizer)
    if grad_norm is not None:
        metrics["grad_norm"] = float(grad_norm)
    workload.metrics_logger.append_scalar_metrics(metrics, global_step)


def _counters(optimizer: Any) -> dict[str, float]:
    return optimizer.counters() if isinstance(optimizer, MatrixOptimizer) else {}


@torch.no_grad()
def clip_grad_norm(grads: list[torch.Tensor | None], largest: float) -> torch.Tensor:
    """Scale gradients, in place, to a norm of at most `largest`; returns the norm before.

    The norm is that of all tensors that are finite: one that is not must not spoil the others.
    """
    present = [grad for grad in grads if grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(grad) for grad in present])
    norm = torch.linalg.vector_norm(torch.where(torch.isfinite(norms), norms, 0.0))
    scale = torch.clamp(largest / (norm + 1e-6), max=1.0)
    for grad in present:
        grad.mul_(scale)
    return norm


def _show_average(optimizer_state: dict[str, Any], model: Any, model_state: Any) -> Any:
    if "average" in optimizer_state:
        optimizer_state["average"].show()
    return optimizer_state, model, model_state


prepare_for_eval = make_prepare_for_eval(
    lambda optimizer_state: _counters(optimizer_state["optimizer"]), _show_average
)
