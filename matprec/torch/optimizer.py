"""The torch.optim adapter: any algorithm as an optimizer with parameter groups.

What belongs to every optimizer lives here once: the layout, the fallback for tensors that are not
matrices, learning rate and weight decay, the refresh schedule, promotion of half precision,
gradients that are not finite, and state dicts in per-parameter form.
"""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import array_api_compat.torch as xp
import torch

from matprec import layout, settings
from matprec import step as stepping
from matprec.algorithms.base import Algorithm
from matprec.torch import sharding


@dataclasses.dataclass
class _GroupState:
    """A parameter group's layout, its stacks' states, and the number of steps it has taken.

    `present` tells which parameters had a gradient in the last step, `taking_part` (B,) the same
    per stack, and `waiting` per stack whether any of those may still wait for its first refresh:
    only then need the device be asked.
    """

    plan: layout.Plan
    stacks: list[dict[str, torch.Tensor]]
    count: int = 0
    present: list[bool] = dataclasses.field(default_factory=list)
    taking_part: list[torch.Tensor] = dataclasses.field(default_factory=list)
    waiting: list[bool] = dataclasses.field(default_factory=list)


class MatrixOptimizer(torch.optim.Optimizer):
    """Base of the optimizers in `matprec.torch`; a subclass names its algorithm.

    Args:
      params: parameters or parameter groups. A group may set any argument below for itself.
      lr: learning rate, a positive number or a tensor.
      weight_decay: decoupled, W <- W - lr (U + weight_decay W); not applied to vectors by matrix
        algorithms.
      roles: a role (`matprec.layout.ROLES`) for all parameters of the group, or a sequence of
        one per parameter; None goes by shapes alone.
      weight_layout: `out_in` for torch's weights, `in_out` for weights laid out as flax kernels.
      stack_bytes: largest stack; "auto" is 1.5 MB on a CPU and no limit elsewhere.
      state_dtype: of all state; None is float32 for half precision, else the parameter's.
      **hyperparameters: of the algorithm, and for matrix algorithms `fallback` ("nadamw" or
        "adamw") with `fallback_lr_scale`, `fallback_beta1`, `fallback_beta2`, `fallback_eps`.
      shard: `refresh`: where `torch.distributed` runs several ranks, they share the refreshes of
        every stack, see `matprec.torch.sharding`; None: every rank refreshes everything. For all
        groups, and not part of a state dict.

    Raises:
      ValueError: a hyperparameter is outside its range.
      TypeError: a hyperparameter is unknown, or a parameter is complex.
      RuntimeError: in `step`, a gradient is sparse.

    A parameter whose gradient is not finite (or whose norm overflows) is left as it is and keeps
    its state; `counters` reports how often that happened. A parameter whose gradient is None is
    skipped.
    """

    algorithm_class: ClassVar[type[Algorithm]]

    def __init__(
        self,
        params: Any,
        lr: float | torch.Tensor = 1e-3,
        weight_decay: float = 0.0,
        *,
        roles: str | Sequence[str | None] | None = None,
        weight_layout: layout.WeightLayout = "out_in",
        stack_bytes: int | str | None = "auto",
        state_dtype: torch.dtype | None = None,
        shard: Literal["refresh"] | None = "refresh",
        **hyperparameters: Any,
    ) -> None:
        known = settings.hyperparameters(self.algorithm_class)
        unknown = hyperparameters.keys() - known.keys()
        if unknown:
            raise TypeError(
                f"{type(self).__name__}: unknown hyperparameter {min(unknown)!r}; "
                f"it has {', '.join(known)}"
            )
        if shard not in ("refresh", None):
            raise ValueError(f"{type(self).__name__}: shard={shard!r} is not 'refresh' or None")
        self._shard = shard
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "roles": roles,
            "weight_layout": weight_layout,
            "stack_bytes": stack_bytes,
            "state_dtype": state_dtype,
        }
        self._groups: list[_GroupState | None] = []
        super().__init__(params, defaults | known | hyperparameters)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            settings.check_scale("lr", group["lr"], positive=True)
            settings.check_scale("weight_decay", group["weight_decay"])
            settings.build(self.algorithm_class, group)
            dtype = group["state_dtype"]
            settings.check_state_dtype(dtype and str(dtype).removeprefix("torch."))
            for param in group["params"]:
                if param.is_complex():
                    raise TypeError(f"{type(self).__name__}: complex parameters are not supported")
            self._plan(group)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise
        self._groups.append(None)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; `closure` re-evaluates the model and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # TF32 products would spoil Gram matrices and roots on accelerators.
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            for number, group in enumerate(self.param_groups):
                if any(param.grad is not None for param in group["params"]):
                    self._step_group(group, self._group_state(number))
        finally:
            torch.set_float32_matmul_precision(precision)
        return loss

    def _step_group(self, group: dict[str, Any], mine: _GroupState) -> None:
        params = group["params"]
        grads = [_gradient(param, _state_dtype(group, param)) for param in params]
        present = [param.grad is not None for param in params]
        mine.count += 1
        algorithms = settings.build(self.algorithm_class, group)
        arrays = layout.gather(xp, mine.plan, grads)
        finite = layout.finite(xp, mine.plan, arrays)
        chosen = [algorithms[stack.elementwise] for stack in mine.plan.stacks]
        if present != mine.present:
            mine.present = present
            mine.waiting = [algorithm.refresh_at != "never" for algorithm in chosen]
            mine.taking_part = [
                torch.tensor([present[owner] for owner in stack.owners], device=flags.device)
                for stack, flags in zip(mine.plan.stacks, finite, strict=True)
            ]
        live = [flags & part for flags, part in zip(finite, mine.taking_part, strict=True)]
        outputs, mine.stacks = stepping.step(
            xp,
            chosen,
            mine.stacks,
            arrays,
            owners=[stack.owners for stack in mine.plan.stacks],
            live=live,
            finite=finite,
            decays=self._decays(group, mine.plan),
            cond=functools.partial(_conditional, mine, self._shard),
        )
        for number, stack in enumerate(mine.plan.stacks):
            if stack.elementwise and not algorithms[0].elementwise:
                outputs[number] = outputs[number] * group["fallback_lr_scale"]
            started = mine.count >= getattr(chosen[number], "start_step", 1)
            if mine.waiting[number] and started:
                part = mine.taking_part[number]
                mine.waiting[number] = stepping.any_waits(mine.stacks[number], part)
        for param, update in zip(params, layout.scatter(xp, mine.plan, outputs), strict=True):
            if update is not None and param.grad is not None:
                _descend(param, update, group["lr"])

    def _decays(self, group: dict[str, Any], plan: layout.Plan) -> list[torch.Tensor | None]:
        """weight_decay * parameters per stack; None where there is no decay."""
        if group["weight_decay"] == 0:
            return [None] * len(plan.stacks)
        tensors = [param.to(_state_dtype(group, param)) for param in group["params"]]
        return [
            group["weight_decay"] * array if stack.decayed else None
            for stack, array in zip(plan.stacks, layout.gather(xp, plan, tensors), strict=True)
        ]

    def _plan(self, group: dict[str, Any]) -> layout.Plan:
        params, roles = group["params"], group["roles"]
        roles = [roles] * len(params) if roles is None or isinstance(roles, str) else list(roles)
        if len(roles) != len(params):
            raise ValueError(f"{len(roles)} roles for {len(params)} parameters in a group")
        on_cpu = all(param.device.type == "cpu" for param in params)
        stack_bytes = group["stack_bytes"]
        if stack_bytes == "auto":
            stack_bytes = layout.CPU_STACK_BYTES if on_cpu else None
        algorithm, _ = settings.build(self.algorithm_class, group)
        dtypes = [_state_dtype(group, param) for param in params]
        return layout.make_plan(
            [tuple(param.shape) for param in params],
            roles,
            [
                (dtype.itemsize, (dtype, param.device))
                for dtype, param in zip(dtypes, params, strict=True)
            ],
            settings.layout_options(algorithm, group["weight_layout"], stack_bytes),
        )

    def _group_state(self, number: int) -> _GroupState:
        """The state of a group, built at its first step."""
        mine = self._groups[number]
        if mine is None:
            group = self.param_groups[number]
            plan = self._plan(group)
            algorithms = settings.build(self.algorithm_class, group)
            zeros = [torch.zeros_like(p, dtype=_state_dtype(group, p)) for p in group["params"]]
            stacks = [
                stepping.init(xp, algorithms[stack.elementwise], array)
                for stack, array in zip(plan.stacks, layout.gather(xp, plan, zeros), strict=True)
            ]
            mine = self._groups[number] = _GroupState(plan, stacks)
        return mine

    def counters(self) -> dict[str, float]:
        """Totals of `failed_roots` and `skipped_updates`; waits for the device."""
        stacks = [state for mine in self._groups if mine is not None for state in mine.stacks]
        return {name: float(total) for name, total in stepping.totals(stacks).items()}

    def state_dict(self) -> dict[str, Any]:
        """As torch's, with every parameter's state: per key a list of one array per matrix.

        The arrays keep their dtype; the number of steps of a group is its `count`. Another
        `stack_bytes` can load it, another `block_size` cannot: its blocks are other problems.
        """
        packed = super().state_dict()
        index, state = 0, {}
        for number, (group, mine) in enumerate(zip(self.param_groups, self._groups, strict=True)):
            packed["param_groups"][number]["count"] = 0 if mine is None else mine.count
            packed["param_groups"][number]["algorithm"] = self.algorithm_class.__name__
            if mine is not None:
                exported = layout.export_state(xp, mine.plan, mine.stacks)
                state.update({index + place: tensor for place, tensor in enumerate(exported)})
            index += len(group["params"])
        return packed | {"state": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, for any stack size; dtypes stay as saved.

        Raises:
          ValueError: groups, parameters or their matrices differ in number, or the dict is of
            another optimizer or block size.
        """
        mine = self.algorithm_class.__name__
        if len(state_dict["param_groups"]) == len(self.param_groups):
            for old, new in zip(self.param_groups, state_dict["param_groups"], strict=True):
                if (name := new.get("algorithm")) != mine:
                    raise ValueError(
                        f"a state dict of {name or 'another optimizer'}, not of {mine}"
                    )
                if old.get("block_size") != (size := new.get("block_size")):
                    raise ValueError(
                        f"a state dict with block_size={size}, not {old.get('block_size')}: "
                        "its blocks are other problems"
                    )
        super().load_state_dict(state_dict | {"state": {}})
        index = 0
        for number, group in enumerate(self.param_groups):
            count = group.pop("count")
            group.pop("algorithm")
            places = range(index, index + len(group["params"]))
            index += len(group["params"])
            self._groups[number] = None
            if count == 0:
                continue
            exported = [
                {
                    key: [array if array is None else array.to(param.device) for array in arrays]
                    for key, arrays in state_dict["state"][place].items()
                }
                for place, param in zip(places, group["params"], strict=True)
            ]
            plan = self._plan(group)
            stacks = layout.import_state(xp, plan, exported)
            self._groups[number] = _GroupState(plan, stacks, count)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_groups": self._groups, "_shard": self._shard}


def _gradient(param: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A parameter's gradient in the state's dtype; zeros where there is none."""
    if param.grad is None:
        return torch.zeros_like(param, dtype=dtype)
    if param.grad.layout is not torch.strided:
        raise RuntimeError(f"sparse gradients are not supported (parameter {tuple(param.shape)})")
    return param.grad.to(dtype)


def _state_dtype(group: dict[str, Any], param: torch.Tensor) -> torch.dtype:
    return group["state_dtype"] or torch.promote_types(param.dtype, torch.float32)


def _descend(param: torch.Tensor, update: torch.Tensor, lr: float | torch.Tensor) -> None:
    if isinstance(lr, torch.Tensor):
        param.sub_(update * lr)
    else:
        param.add_(update, alpha=-lr)


def _conditional(
    mine: _GroupState,
    shard: str | None,
    algorithm: Any,
    number: int,
    choose: Callable[[Any, Any], torch.Tensor],
    refresh: stepping.Refresh,
    carry: Any,
    firsts_only: bool = False,
) -> Any:
    scheduled = stepping.is_due(algorithm, mine.count)
    started = mine.count >= algorithm.start_step
    waiting = started and mine.waiting[number]
    if not (waiting or (scheduled and not firsts_only)):
        return carry
    chosen = choose(scheduled, started)
    if (firsts_only or not scheduled) and not chosen.any():
        return carry
    if shard and (ranks := sharding.world_size()) > 1:
        return sharding.refresh_shared(refresh, chosen, carry, number, ranks)
    return sharding.refresh_alone(refresh, chosen, carry)


def make_class(
    algorithm_class: type[Algorithm], module: str = "matprec.torch"
) -> type[MatrixOptimizer]:
    """The torch optimizer of an algorithm.

    Args:
      algorithm_class: the class takes its name.
      module: where it will be found under that name, for pickle.
    """
    documentation = (
        inspect.getdoc(sys.modules[algorithm_class.__module__]),
        settings.documentation(algorithm_class),
        inspect.getdoc(MatrixOptimizer),
    )
    contents = {
        "algorithm_class": algorithm_class,
        "__doc__": "\n\n".join(text for text in documentation if text),
        "__module__": module,
    }
    return type(algorithm_class.__name__, (MatrixOptimizer,), contents)
