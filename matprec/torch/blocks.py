"""Elementwise steps of one large tensor, block by block.

PyTorch reads and writes memory with every operation. In blocks that a core's cache holds, the
gradient, the parameter and the state come from memory once.
"""

import torch

from matprec import step as stepping
from matprec.algorithms.base import State
from matprec.torch import namespace
from matprec.torch.namespace import IN_PLACE
from matprec.torch.part import Part, Settings, descend

BLOCK = 1 << 16  # elements: half a dozen arrays of them fit into 2 MB


def fits(part: Part, settings: Settings) -> bool:
    """Whether a part is one large tensor, on a CPU, that is stepped element by element."""
    if len(part.place.tensors) > 1 or not part.place.plan.stacks[0].elementwise:
        return False
    (param,) = settings.params(part)
    grad = param.grad
    return (
        param.numel() > BLOCK
        and namespace.is_host(param)
        and grad is not None
        and param.is_contiguous()
        and grad.is_contiguous()
        and param.dtype == grad.dtype == settings.dtype_of(param)
    )


def step_in_blocks(part: Part, settings: Settings) -> bool:
    """Take the step of a part that `fits`; False, and nothing done, where the gradient is not
    finite."""
    (param,), (stack,), (state,) = settings.params(part), part.place.plan.stacks, part.states
    assert param.grad is not None
    values, grads = param.view(-1), param.grad.view(1, 1, -1)
    if not torch.isfinite(IN_PLACE.squares(grads)):
        return False
    algorithm, scale = settings.algorithm_of(stack), settings.scale_of(stack)
    decay = settings.group["weight_decay"] if stack.decayed else 0
    alive = torch.ones_like(state["t"], dtype=torch.bool)
    state = state | stepping.counted(IN_PLACE, state, alive, alive)
    for start in range(0, len(values), BLOCK):
        block = slice(start, start + BLOCK)
        old = {key: value[..., block] if value.ndim == 3 else value for key, value in state.items()}
        grad, value = grads[..., block], values[block]
        new = algorithm.accumulate(IN_PLACE, old, grad)
        update, new = algorithm.direction(IN_PLACE, new, grad, None)
        assert isinstance(update, torch.Tensor)  # an elementwise method grafts nothing
        if decay:
            update = update + decay * value
        if scale != 1:
            update = update * scale
        _keep(old, new)
        descend(value, update.view(-1), settings.group["lr"])
    part.states = [state]
    return True


def _keep(views: State, new: State) -> None:
    """Write what is new into the views of the state; most has been, in place."""
    for key, value in new.items():
        if value is not views[key]:
            views[key].copy_(value)
