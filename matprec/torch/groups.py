"""A parameter group: how its tensors are laid out, and the state of those that this rank keeps."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import array_api_compat.torch as xp
import torch

from matprec import balance, layout, settings
from matprec import step as stepping
from matprec.algorithms.base import Algorithm, State
from matprec.torch.part import Part, state_dtype

Exported = dict[str, list[torch.Tensor | None]]  # a tensor's state, see `layout.export_state`


def roles_of(group: dict[str, Any]) -> list[str | None]:
    """One per parameter.

    Raises:
      ValueError: the group has another number of them.
    """
    params, roles = group["params"], group["roles"]
    roles = [roles] * len(params) if roles is None or isinstance(roles, str) else list(roles)
    if len(roles) != len(params):
        raise ValueError(f"{len(roles)} roles for {len(params)} parameters in a group")
    return roles


def some_of(group: dict[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """The group as if it had only the parameters with these numbers."""
    if len(numbers) == len(group["params"]):
        return group
    params, roles = group["params"], roles_of(group)
    return group | {
        "params": [params[number] for number in numbers],
        "roles": [roles[number] for number in numbers],
    }


def make_plan(group: dict[str, Any], algorithm: Algorithm) -> layout.Plan:
    """Lay a group's parameters out for an algorithm."""
    params = group["params"]
    on_cpu = all(param.device.type == "cpu" for param in params)
    stack_bytes = group["stack_bytes"]
    if stack_bytes == "auto":
        stack_bytes = layout.CPU_STACK_BYTES if on_cpu else None
    dtypes = [state_dtype(group, param) for param in params]
    return layout.make_plan(
        [tuple(param.shape) for param in params],
        roles_of(group),
        [
            (dtype.itemsize, (dtype, param.device))
            for dtype, param in zip(dtypes, params, strict=True)
        ],
        settings.layout_options(algorithm, group["weight_layout"], stack_bytes),
    )


def imagined(plan: layout.Plan, algorithms: Sequence[Algorithm]) -> list[State]:
    """The state of one matrix of every stack, shapes without memory."""
    return [
        algorithms[stack.elementwise].init(xp, torch.empty((1, *stack.shape), device="meta"))
        for stack in plan.stacks
    ]


def costs(plan: layout.Plan, algorithms: Sequence[Algorithm]) -> list[float]:
    """Of a step, per tensor of a plan, see `balance.step_cost`."""
    found = [0.0] * len(plan.views)
    for stack, state in zip(plan.stacks, imagined(plan, algorithms), strict=True):
        one = balance.step_cost(algorithms[stack.elementwise], state, stack.shape)
        for tensor in stack.owners:
            found[tensor] += one
    return found


@dataclasses.dataclass
class GroupState:
    """The parts of a group with their states, and how many steps it has taken.

    Attributes:
      owned: numbers of the parameters whose state this rank keeps.
      plan: of these alone.
      whole: of all parameters.
      parts: of `plan`.
    """

    owned: Sequence[int]
    plan: layout.Plan
    whole: layout.Plan
    parts: list[Part]
    count: int = 0
    _phases: dict[int, list[list[int]]] = dataclasses.field(default_factory=dict)

    @property
    def stacks(self) -> list[State]:
        """The states of all stacks, in the plan's order."""
        found = {
            number: state
            for part in self.parts
            for number, state in zip(part.place.stacks, part.states, strict=True)
        }
        return [found[number] for number in range(len(found))]

    def phases(self, algorithms: Sequence[Algorithm]) -> list[list[int]]:
        """Of the rows of all stacks, see `balance.phases`: the same however many ranks there are.

        Of the whole group, of which a rank may keep a part.
        """
        period: int = algorithms[0].refresh_every  # type: ignore[attr-defined]
        if period not in self._phases:
            stacks = self.whole.stacks
            costs = [
                balance.cost(algorithms[stack.elementwise], state)
                for stack, state in zip(stacks, imagined(self.whole, algorithms), strict=True)
            ]
            found = balance.phases(costs, [len(stack.pieces) for stack in stacks], period)
            phase_of = {
                piece: phase
                for stack, phases in zip(stacks, found, strict=True)
                for piece, phase in zip(stack.pieces, phases, strict=True)
            }
            self._phases[period] = [
                [
                    phase_of[dataclasses.replace(piece, tensor=self.owned[piece.tensor])]
                    for piece in stack.pieces
                ]
                for stack in self.plan.stacks
            ]
        return self._phases[period]

    def export(self) -> Iterator[tuple[int, Exported]]:
        """Copies of the state, part by part, with the number of the parameter in the group."""
        waiting = dict.fromkeys(range(len(self.owned)))
        for part in self.parts:
            exported = layout.export_state(xp, part.place.plan, part.states)
            for tensor, state in zip(part.place.tensors, exported, strict=True):
                del waiting[tensor]
                yield self.owned[tensor], state
        for tensor in waiting:  # without elements
            yield self.owned[tensor], {}


def begin(
    group: dict[str, Any], algorithms: Sequence[Algorithm], owned: Sequence[int]
) -> GroupState:
    """The state before the first step."""
    some = some_of(group, owned)
    plan = make_plan(some, algorithms[0])
    zeros = [torch.zeros_like(p, dtype=state_dtype(group, p)) for p in some["params"]]
    stacks = [
        _own_memory(stepping.init(xp, algorithms[stack.elementwise], array))
        for stack, array in zip(plan.stacks, layout.gather(xp, plan, zeros), strict=True)
    ]
    return GroupState(owned, plan, make_plan(group, algorithms[0]), _parts(plan, stacks))


def resume(
    group: dict[str, Any],
    algorithm: Algorithm,
    owned: Sequence[int],
    exported: Sequence[Exported],
    count: int,
) -> GroupState:
    """The state after `count` steps, from what all the group's parameters have exported.

    Raises:
      ValueError: a parameter's state has another number of matrices.
    """
    some = some_of(group, owned)
    plan = make_plan(some, algorithm)
    mine = [
        {
            key: [array if array is None else array.to(param.device) for array in arrays]
            for key, arrays in exported[number].items()
        }
        for number, param in zip(owned, some["params"], strict=True)
    ]
    parts = _parts(plan, layout.import_state(xp, plan, mine))
    return GroupState(owned, plan, make_plan(group, algorithm), parts, count)


def _own_memory(state: State) -> State:
    """A new state whose arrays can be written to: identities are views of one for all matrices."""
    return {key: value.contiguous() for key, value in state.items()}


def _parts(plan: layout.Plan, stacks: Sequence[State]) -> list[Part]:
    return [
        Part(place, [stacks[number] for number in place.stacks]) for place in layout.split(plan)
    ]
