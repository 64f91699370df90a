"""AdamW and NAdamW by PyTorch's fused kernel, which reads and writes memory once.

NAdamW is AdamW with another first moment, M mixed with the gradient once more, and mixing is what
the kernel does with the first moment that it is given: it gets a copy of M after this gradient, and
leaves the mixture there.
"""

import torch
from torch.optim.adamw import adamw

from matprec.algorithms.base import Algorithm, State
from matprec.algorithms.nadamw import NAdamW

BLOCK = 1 << 17  # elements: what NAdamW reads a second time is still in a core's cache


def fits(algorithm: Algorithm, lr: float | torch.Tensor) -> bool:
    """Whether `step` can take the algorithm's step: with both moments, neither a running sum."""
    return (
        isinstance(algorithm, NAdamW)
        and algorithm.has_mean
        and algorithm.beta2 != 1
        and not isinstance(lr, torch.Tensor)
    )


def step(
    algorithm: Algorithm,
    state: State,
    grads: torch.Tensor,
    values: torch.Tensor,
    lr: float,
    weight_decay: float,
) -> None:
    """Take the step of parameters `values` (k,) with finite gradients (1, 1, k), in place.

    `state` has views of the moments, and counts this step already.
    """
    assert isinstance(algorithm, NAdamW)
    mean = state["mean"]
    if algorithm.nesterov:
        mean = mean.lerp_(grads, 1 - algorithm.beta1).clone()
    adamw(
        [values],
        [grads.view(-1)],
        [mean.view(-1)],
        [state["second_moment"].view(-1)],
        [],
        [state["t"][0].to(torch.float32) - 1],  # PyTorch counts it itself
        fused=True,
        amsgrad=False,
        beta1=algorithm.beta1,
        beta2=algorithm.beta2,
        lr=lr,
        weight_decay=weight_decay,
        eps=algorithm.eps,
        maximize=False,
    )
