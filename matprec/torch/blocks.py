"""Elementwise steps of one large tensor, block by block.

PyTorch reads and writes memory with every operation. In blocks that a core's cache holds, the
gradient, the parameter and the state come from memory once.
"""

import torch

from matprec import step as stepping
from matprec.algorithms.base import Algorithm, State
from matprec.torch import fused, namespace
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
    algorithm, lr = settings.algorithm_of(stack), settings.group["lr"]
    lr = lr if (scale := settings.scale_of(stack)) == 1 else lr * scale
    decay = settings.group["weight_decay"] if stack.decayed else 0
    alive = torch.ones_like(state["t"], dtype=torch.bool)
    state = state | stepping.counted(IN_PLACE, state, alive, alive)
    step, size = (fused.step, fused.BLOCK) if fused.fits(algorithm, lr) else (_step, BLOCK)
    for start in range(0, len(values), size):
        block = slice(start, start + size)
        views = {
            key: value[..., block] if value.ndim == 3 else value for key, value in state.items()
        }
        step(algorithm, views, grads[..., block], values[block], lr, decay)
    part.states = [state]
    return True


def _step(
    algorithm: Algorithm,
    state: State,
    grads: torch.Tensor,
    values: torch.Tensor,
    lr: float | torch.Tensor,
    weight_decay: float,
) -> None:
    """As `fused.step`, of any elementwise algorithm."""
    new = algorithm.accumulate(IN_PLACE, state, grads)
    update, new = algorithm.direction(IN_PLACE, new, grads, None)
    assert isinstance(update, torch.Tensor)  # an elementwise method grafts nothing
    # What is new goes to the views of the state; most has been written there already.
    for key, value in new.items():
        if value is not state[key]:
            state[key].copy_(value)
    decay = values.new_tensor(weight_decay) if weight_decay else None
    descend(values, update.view(-1), lr, decay)
