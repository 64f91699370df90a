"""One step of a part of a parameter group, from its gradients to its parameters.

Parts are as small as can be, and what one needs is freed before the next begins. On a CPU they stay
in its caches, for which tensors without matrices are also cut into blocks.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import array_api_compat.torch as xp
import torch

from matprec import layout
from matprec import step as stepping
from matprec.algorithms.base import Algorithm, State
from matprec.torch import namespace, sharding
from matprec.torch.namespace import IN_PLACE, PLAIN, Namespace
from matprec.torch.sharding import Pending


class Settings(NamedTuple):
    """What a group's parts have in common in one step.

    Attributes:
      algorithms: for matrices, and the fallback.
      count: number of the step, from 1.
      group: the parameter group.
      phases: of every row of every stack of the group, see `balance.phases`; None where all are
        refreshed at once.
    """

    algorithms: tuple[Algorithm, Algorithm]
    count: int
    group: dict[str, Any]
    phases: list[list[int]] | None = None

    def algorithm_of(self, stack: layout.Stack) -> Algorithm:
        return self.algorithms[stack.elementwise]

    def scale_of(self, stack: layout.Stack) -> float:
        """The factor on a stack's learning rate."""
        fallback = stack.elementwise and not self.algorithms[0].elementwise
        return self.group["fallback_lr_scale"] if fallback else 1.0

    def params(self, part: "Part") -> list[torch.Tensor]:
        return [self.group["params"][number] for number in part.place.tensors]

    def dtype_of(self, param: torch.Tensor) -> torch.dtype:
        return state_dtype(self.group, param)


@dataclasses.dataclass
class Part:
    """A part's place in its group and the states of its stacks.

    `present` tells which parameters had a gradient in the last step, `taking_part` (B,) the same
    per stack, and `waiting` per stack whether any of those may still wait for its first refresh:
    only then need the device be asked.
    """

    place: layout.Part
    states: list[State]
    present: list[bool] = dataclasses.field(default_factory=list)
    taking_part: list[torch.Tensor] = dataclasses.field(default_factory=list)
    waiting: list[bool] = dataclasses.field(default_factory=list)

    def meet(self, params: Sequence[torch.Tensor], algorithms: Sequence[Algorithm]) -> None:
        """Notice which of the part's parameters have a gradient in this step."""
        present = [param.grad is not None for param in params]
        if present != self.present:
            self.present = present
            self.waiting = [algorithm.refresh_at != "never" for algorithm in algorithms]
            self.taking_part = [
                torch.tensor([present[owner] for owner in stack.owners], device=params[0].device)
                for stack in self.place.plan.stacks
            ]


class Step:
    """A step of a part. It has begun when it is made, and may be finished once its `pending`
    refreshes, by the number of the stack, have been answered."""

    def __init__(self, part: Part, settings: Settings) -> None:
        self._part, self._settings = part, settings
        self._params = settings.params(part)
        stacks = part.place.plan.stacks
        self._algorithms = [settings.algorithm_of(stack) for stack in stacks]
        part.meet(self._params, self._algorithms)

        grads = [_gradient(param, settings.dtype_of(param)) for param in self._params]
        arrays = layout.gather(xp, part.place.plan, grads)
        finite = layout.finite(PLAIN, part.place.plan, arrays)
        self._live = [flags & mine for flags, mine in zip(finite, part.taking_part, strict=True)]
        decays = self._decays_inside()
        self._done: list[Any] = [None] * len(stacks)
        self.pending: dict[int, Pending] = {}
        self._stacks = [
            stepping.advance(_space(live), *arguments, live, *more)
            for live, arguments, more in zip(
                self._live,
                zip(self._algorithms, part.states, arrays, strict=True),
                zip(finite, decays, strict=True),
                strict=True,
            )
        ]
        for number in range(len(stacks)):
            self.answer(number, None)

    def answer(self, number: int, carry: State | None) -> None:
        """Go on with a stack, with what its pending refresh has come to (None: the beginning)."""
        self.pending.pop(number, None)
        try:
            while True:
                due = self._stacks[number].send(carry)  # type: ignore[arg-type]
                pending = self._pending(number, due)
                if pending is not None:
                    self.pending[number] = pending
                    return
                carry = due.carry
        except StopIteration as stop:
            self._done[number] = stop.value

    def refresh_alone(self) -> None:
        """Answer all that is pending, without other ranks."""
        while self.pending:
            for number, pending in list(self.pending.items()):
                self.answer(number, sharding.refresh_alone(pending))

    def finish(self) -> None:
        """Descend."""
        part, settings, group = self._part, self._settings, self._settings.group
        part.states = [state for _, state in self._done]
        updates = stepping.finish(
            PLAIN,
            [update for update, _ in self._done],
            owners=[stack.owners for stack in part.place.plan.stacks],
            live=self._live,
        )
        for number, stack in enumerate(part.place.plan.stacks):
            if (scale := settings.scale_of(stack)) != 1:
                updates[number] = updates[number] * scale
            started = settings.count >= getattr(self._algorithms[number], "start_step", 1)
            if part.waiting[number] and started:
                mine = part.taking_part[number]
                part.waiting[number] = stepping.any_waits(part.states[number], mine)
        decays = self._decays_outside()
        tensors = layout.scatter(xp, part.place.plan, updates)
        for number, (param, update) in enumerate(zip(self._params, tensors, strict=True)):
            if update is None or param.grad is None:
                continue
            descend(param, update, group["lr"], decays.get(number))

    def _decays_inside(self) -> list[torch.Tensor | None]:
        """weight_decay * parameters for the stacks whose algorithms see them."""
        stacks, weight = self._part.place.plan.stacks, self._settings.group["weight_decay"]
        inside = [
            stack.decayed and algorithm.decay_inside
            for stack, algorithm in zip(stacks, self._algorithms, strict=True)
        ]
        if weight == 0 or not any(inside):
            return [None] * len(stacks)
        tensors = [param.to(self._settings.dtype_of(param)) for param in self._params]
        arrays = layout.gather(xp, self._part.place.plan, tensors)
        return [
            weight * array if mine else None for array, mine in zip(arrays, inside, strict=True)
        ]

    def _decays_outside(self) -> dict[int, torch.Tensor]:
        """By number the factors on the other parameters that decay."""
        stacks, settings = self._part.place.plan.stacks, self._settings
        return stepping.decay_factors(
            xp,
            stacks,
            self._algorithms,
            self._live,
            [settings.group["weight_decay"] * settings.scale_of(stack) for stack in stacks],
            [state["t"].dtype for state in self._part.states],
        )

    def _pending(self, number: int, due: stepping.Due) -> Pending | None:
        """The refresh that is due, if any is."""
        algorithm: Any = due.algorithm
        count, place = self._settings.count, self._part.place.stacks[number]
        rows = self._live[number]
        phases = [0] * len(rows) if self._settings.phases is None else self._settings.phases[place]
        scheduled = [
            row for row, phase in enumerate(phases) if stepping.is_due(algorithm, count, phase)
        ]
        started = count >= algorithm.start_step
        waiting = started and self._part.waiting[number]
        if not (waiting or scheduled):
            return None
        mine = torch.zeros_like(rows)
        mine[scheduled] = True
        chosen = due.choose(mine, started)
        if waiting:
            if not scheduled and not chosen.any():
                return None
            return Pending(due, chosen, list(range(len(rows))))
        later = dataclasses.replace(due.refresh, first=False)
        return Pending(dataclasses.replace(due, refresh=later), chosen, scheduled)


def state_dtype(group: dict[str, Any], param: torch.Tensor) -> torch.dtype:
    """Of a parameter of a group."""
    return group["state_dtype"] or torch.promote_types(param.dtype, torch.float32)


def check_gradient(param: torch.Tensor) -> None:
    """Raise RuntimeError if a parameter's gradient cannot be used."""
    if param.grad is not None and param.grad.layout is not torch.strided:
        raise RuntimeError(f"sparse gradients are not supported (parameter {tuple(param.shape)})")


def _space(live: torch.Tensor) -> Namespace:
    """For a stack whose matrices are `live` (B,): on other devices nobody waits for these flags."""
    return IN_PLACE if namespace.is_host(live) and live.all() else PLAIN


def _gradient(param: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A parameter's gradient in the state's dtype; zeros where there is none."""
    if param.grad is None:
        return torch.zeros_like(param, dtype=dtype)
    return param.grad if param.grad.dtype == dtype else param.grad.to(dtype)


def descend(
    param: torch.Tensor,
    update: torch.Tensor,
    lr: float | torch.Tensor,
    decay: torch.Tensor | None = None,
) -> None:
    """param <- param - lr * (update + decay * param), in the parameter's dtype."""
    if decay is not None:
        update = torch.addcmul(update, param.to(update.dtype), decay)
    if isinstance(lr, torch.Tensor):
        param.sub_(update * lr)
    else:
        param.add_(update, alpha=-lr)
