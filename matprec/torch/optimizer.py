"""The torch.optim adapter: any algorithm as an optimizer with parameter groups.

What belongs to every optimizer lives here once: the layout, the fallback for tensors that are not
matrices, learning rate and weight decay, the refresh schedule, promotion of half precision,
gradients that are not finite, and state dicts in per-parameter form.
"""

import inspect
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch

from matprec import layout, settings
from matprec import step as stepping
from matprec.algorithms.base import Algorithm
from matprec.torch import blocks, groups, sharding
from matprec.torch.groups import Exported, GroupState
from matprec.torch.ownership import Ownership
from matprec.torch.part import Settings, Step, check_gradient

Shard = Literal["refresh", "all"]


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
      shard: what ranks share where `torch.distributed` runs several. `refresh`: the refreshes of
        every stack, see `matprec.torch.sharding`; the state is the same on all ranks. `all`: the
        parameters, each of which has one rank that keeps its state and steps it, see
        `matprec.torch.ownership`; a state dict then needs `gather_state`, and `counters` are of
        this rank's parameters. None: nothing. For all groups, and not part of a state dict.

    Raises:
      ValueError: a hyperparameter is outside its range.
      TypeError: a hyperparameter is unknown, or a parameter is complex.
      RuntimeError: in `step`, a gradient is sparse; or with `shard="all"`, the number of ranks is
        not that of the first step.

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
        shard: Shard | None = "refresh",
        **hyperparameters: Any,
    ) -> None:
        known = settings.hyperparameters(self.algorithm_class)
        unknown = hyperparameters.keys() - known.keys()
        if unknown:
            raise TypeError(
                f"{type(self).__name__}: unknown hyperparameter {min(unknown)!r}; "
                f"it has {', '.join(known)}"
            )
        if shard not in (*get_args(Shard), None):
            raise ValueError(
                f"{type(self).__name__}: shard={shard!r} is not 'refresh', 'all' or None"
            )
        self._shard = shard
        self._ownership: Ownership | None = None
        self._gathered: dict[int, Exported] | None = None
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "roles": roles,
            "weight_layout": weight_layout,
            "stack_bytes": stack_bytes,
            "state_dtype": state_dtype,
        }
        self._groups: list[GroupState | None] = []
        super().__init__(params, defaults | known | hyperparameters)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            settings.check_scale("lr", group["lr"], positive=True)
            settings.check_scale("weight_decay", group["weight_decay"])
            dtype = group["state_dtype"]
            settings.check_state_dtype(dtype and str(dtype).removeprefix("torch."))
            for param in group["params"]:
                if param.is_complex():
                    raise TypeError(f"{type(self).__name__}: complex parameters are not supported")
            algorithm, _ = settings.build(self.algorithm_class, group)
            groups.make_plan(group, algorithm)
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
        for group in self.param_groups:
            for param in group["params"]:
                check_gradient(param)
        if self._ownership is not None:
            self._ownership.check()
        self._gathered = None
        # TF32 products would spoil Gram matrices and roots on accelerators.
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            for number, group in enumerate(self.param_groups):
                if any(param.grad is not None for param in group["params"]):
                    self._step_group(group, self._group_state(number))
        finally:
            torch.set_float32_matmul_precision(precision)
        if self._ownership is not None and self._ownership.ranks > 1:
            self._ownership.share_values(self.param_groups)
        return loss

    def _step_group(self, group: dict[str, Any], mine: GroupState) -> None:
        mine.count += 1
        algorithms = settings.build_often(self.algorithm_class, group)
        phases = mine.phases(algorithms) if group.get("stagger") else None
        group = groups.some_of(group, mine.owned)
        common = Settings(algorithms, mine.count, group, phases)
        ranks = sharding.world_size() if self._shard == "refresh" else 1
        held = []
        for part in mine.parts:
            if not any(group["params"][number].grad is not None for number in part.place.tensors):
                continue
            if blocks.fits(part, common) and blocks.step_in_blocks(part, common):
                continue
            step = Step(part, common)
            if ranks == 1:
                step.refresh_alone()
            if step.pending:
                held.append(step)
            else:
                step.finish()
            del step  # with its gradients and updates, before the next one is made
        while any(step.pending for step in held):
            waiting = [(step, number) for step in held for number in step.pending]
            pending = [step.pending[number] for step, number in waiting]
            carries = sharding.refresh_shared(pending, ranks)
            for (step, number), carry in zip(waiting, carries, strict=True):
                step.answer(number, carry)
        for step in held:
            step.finish()

    def _owned(self, number: int) -> Sequence[int]:
        """The numbers of the parameters of a group whose state this rank keeps."""
        if self._shard != "all":
            return range(len(self.param_groups[number]["params"]))
        if self._ownership is None:
            self._ownership = Ownership()
        # All groups at once: of many groups of one parameter each rank gets some.
        if new := self.param_groups[len(self._ownership.owners) :]:
            built = [settings.build(self.algorithm_class, group) for group in new]
            plans = [groups.make_plan(g, a) for g, (a, _) in zip(new, built, strict=True)]
            self._ownership.extend([groups.costs(*pair) for pair in zip(plans, built, strict=True)])
        return self._ownership.of_mine(number)

    def _group_state(self, number: int) -> GroupState:
        """The state of a group, built at its first step."""
        mine = self._groups[number]
        if mine is None:
            group = self.param_groups[number]
            algorithms = settings.build(self.algorithm_class, group)
            mine = groups.begin(group, algorithms, self._owned(number))
            self._groups[number] = mine
        return mine

    def counters(self) -> dict[str, float]:
        """Totals of `failed_roots` and `skipped_updates`; waits for the device."""
        stacks = [state for mine in self._groups if mine is not None for state in mine.stacks]
        return {name: float(total) for name, total in stepping.totals(stacks).items()}

    def gather_state(self) -> None:
        """Make `state_dict` on rank 0 whole, until the next step; all ranks must call it.

        Of use with `shard="all"`, and without effect otherwise. The state of all ranks goes to the
        CPU's memory on rank 0; on the others `state_dict` goes on giving their own part.

        Raises:
          RuntimeError: the number of ranks is not that of the first step.
        """
        if self._ownership is not None and self._ownership.ranks > 1:
            self._ownership.check()
            self._gathered = self._ownership.gather(self._exported())

    def _exported(self) -> Iterator[tuple[int, Exported]]:
        """Copies of the state that this rank keeps, with the number of the parameter."""
        index = 0
        for group, mine in zip(self.param_groups, self._groups, strict=True):
            for place, state in () if mine is None else mine.export():
                yield index + place, state
            index += len(group["params"])

    def state_dict(self) -> dict[str, Any]:
        """As torch's, with every parameter's state: per key a list of one array per matrix.

        The arrays keep their dtype; the number of steps of a group is its `count`. Another
        `stack_bytes` can load it, another `block_size` cannot: its blocks are other problems.
        Where several ranks run with `shard="all"`, only this one's parameters have a state here,
        see `gather_state`; never do ranks wait for each other.
        """
        packed = super().state_dict()
        for group, mine in zip(packed["param_groups"], self._groups, strict=True):
            group["count"] = 0 if mine is None else mine.count
            group["algorithm"] = self.algorithm_class.__name__
        exported = self._exported() if self._gathered is None else self._gathered.items()
        return packed | {"state": dict(sorted(exported, key=operator.itemgetter(0)))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave, for any stack size; dtypes stay as saved.

        It must be whole, from any number of ranks that shared anything; with `shard="all"` every
        rank keeps its part.

        Raises:
          ValueError: groups, parameters or their matrices differ in number, or the dict is of
            another optimizer or block size, or lacks parameters of other ranks.
        """
        self._check(state_dict)
        super().load_state_dict(state_dict | {"state": {}})
        self._groups = [None] * len(self.param_groups)
        self._ownership = self._gathered = None
        counts = [group.pop("count") for group in self.param_groups]
        index = 0
        for number, (group, count) in enumerate(zip(self.param_groups, counts, strict=True)):
            group.pop("algorithm")
            places = range(index, index + len(group["params"]))
            index += len(group["params"])
            if count:
                algorithm, _ = settings.build(self.algorithm_class, group)
                exported = [state_dict["state"][place] for place in places]
                self._groups[number] = groups.resume(
                    group, algorithm, self._owned(number), exported, count
                )

    def _check(self, state_dict: dict[str, Any]) -> None:
        """Raise ValueError as `load_state_dict` says; torch itself counts parameters."""
        mine, given = self.algorithm_class.__name__, state_dict["param_groups"]
        if len(given) != len(self.param_groups):
            return
        for old, new in zip(self.param_groups, given, strict=True):
            if (name := new.get("algorithm")) != mine:
                raise ValueError(f"a state dict of {name or 'another optimizer'}, not of {mine}")
            if old.get("block_size") != (size := new.get("block_size")):
                raise ValueError(
                    f"a state dict with block_size={size}, not {old.get('block_size')}: "
                    "its blocks are other problems"
                )
        wanted = [place for group in given if group["count"] for place in group["params"]]
        missing = [place for place in wanted if place not in state_dict["state"]]
        if missing:
            raise ValueError(
                f"the state dict lacks {len(missing)} of {len(wanted)} parameters: with "
                "shard='all' call gather_state() on all ranks before state_dict() on rank 0"
            )

    def __getstate__(self) -> dict[str, Any]:
        own = ("_groups", "_shard", "_ownership", "_gathered")
        return super().__getstate__() | {name: getattr(self, name) for name in own}


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
