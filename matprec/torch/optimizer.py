"""The torch.optim adapter: any algorithm as an optimizer with parameter groups.

What belongs to every optimizer lives here once: the layout, the fallback for tensors that are not
matrices, learning rate and weight decay, the refresh schedule, promotion of half precision,
gradients that are not finite, and state dicts in per-parameter form.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import array_api_compat.torch as xp
import torch

from matprec import balance, layout, settings
from matprec import step as stepping
from matprec.algorithms.base import Algorithm
from matprec.torch import blocks, sharding
from matprec.torch.part import Part, Settings, Step, check_gradient, state_dtype


@dataclasses.dataclass
class _GroupState:
    """A parameter group's layout, its parts with their states, and how many steps it has taken."""

    plan: layout.Plan
    parts: list[Part]
    count: int = 0
    _phases: dict[int, list[list[int]]] = dataclasses.field(default_factory=dict)

    @property
    def stacks(self) -> list[dict[str, torch.Tensor]]:
        """The states of all stacks, in the plan's order."""
        found = {
            number: state
            for part in self.parts
            for number, state in zip(part.place.stacks, part.states, strict=True)
        }
        return [found[number] for number in range(len(found))]

    def phases(self, algorithms: Sequence[Algorithm]) -> list[list[int]]:
        """See `balance.phases`."""
        period: int = algorithms[0].refresh_every  # type: ignore[attr-defined]
        if period not in self._phases:
            costs = [
                balance.cost(algorithms[stack.elementwise], state)
                for stack, state in zip(self.plan.stacks, self.stacks, strict=True)
            ]
            sizes = [len(stack.pieces) for stack in self.plan.stacks]
            self._phases[period] = balance.phases(costs, sizes, period)
        return self._phases[period]


def _own_memory(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A new state whose arrays can be written to: identities are views of one for all matrices."""
    return {key: value.contiguous() for key, value in state.items()}


def _parts(plan: layout.Plan, stacks: Sequence[dict[str, torch.Tensor]]) -> list[Part]:
    return [
        Part(place, [stacks[number] for number in place.stacks]) for place in layout.split(plan)
    ]


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
        for param in group["params"]:
            check_gradient(param)
        mine.count += 1
        algorithms = settings.build(self.algorithm_class, group)
        phases = mine.phases(algorithms) if group.get("stagger") else None
        common = Settings(algorithms, mine.count, group, phases)
        ranks = sharding.world_size() if self._shard else 1
        held = []
        for part in mine.parts:
            if not any(group["params"][number].grad is not None for number in part.place.tensors):
                continue
            if blocks.fits(part, common) and blocks.step_in_blocks(part, common):
                continue
            step = Step(part, common)
            if ranks == 1:
                while step.pending:
                    for number, pending in list(step.pending.items()):
                        step.answer(number, sharding.refresh_alone(pending))
            if step.pending:
                held.append(step)
            else:
                step.finish()
        while any(step.pending for step in held):
            waiting = [(step, number) for step in held for number in step.pending]
            pending = [step.pending[number] for step, number in waiting]
            carries = sharding.refresh_shared(pending, ranks)
            for (step, number), carry in zip(waiting, carries, strict=True):
                step.answer(number, carry)
        for step in held:
            step.finish()

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
        dtypes = [state_dtype(group, param) for param in params]
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
            zeros = [torch.zeros_like(p, dtype=state_dtype(group, p)) for p in group["params"]]
            stacks = [
                _own_memory(stepping.init(xp, algorithms[stack.elementwise], array))
                for stack, array in zip(plan.stacks, layout.gather(xp, plan, zeros), strict=True)
            ]
            mine = self._groups[number] = _GroupState(plan, _parts(plan, stacks))
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
            self._groups[number] = _GroupState(plan, _parts(plan, stacks), count)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_groups": self._groups, "_shard": self._shard}


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
