"""AdamW and NAdamW by PyTorch's fused kernel, which reads and writes memory once.

NAdamW is AdamW with another first moment, the mean mixed with the gradient once more:

    beta1 M_t + (1 - beta1) G_t = beta1^2 M_{t-1} + (1 - beta1^2) G_t

so the kernel gets beta1^2. What it leaves is the mixture, of which M_t is found again; and it
divides by 1 - beta1^(2 t) where NAdamW has 1 - beta1^t, which the learning rate makes good.
"""

import torch
from torch.optim.adamw import adamw

from matprec.algorithms.base import Algorithm, State
from matprec.algorithms.nadamw import NAdamW

BLOCK = 1 << 18  # elements: what NAdamW reads a second time is still in a core's cache


def fits(algorithm: Algorithm, lr: float | torch.Tensor) -> bool:
    """Whether `step` can take the algorithm's step: with both moments, neither a running sum.

    To find M_t again costs digits, one for beta1 = 0.1.
    """
    return (
        isinstance(algorithm, NAdamW)
        and algorithm.has_mean
        and (algorithm.beta1 >= 0.5 or not algorithm.nesterov)
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
    beta1, mean, t = algorithm.beta1, state["mean"].view(-1), state["t"][0].to(torch.float32)
    if algorithm.nesterov:
        divisors = 1 + beta1 ** float(t)  # (1 - beta1^(2 t)) / (1 - beta1^t)
        lr, weight_decay, beta1 = lr * divisors, weight_decay / divisors, beta1**2
    adamw(
        [values],
        [grads.view(-1)],
        [mean],
        [state["second_moment"].view(-1)],
        [],
        [t - 1],  # PyTorch counts it itself
        fused=True,
        amsgrad=False,
        beta1=beta1,
        beta2=algorithm.beta2,
        lr=lr,
        weight_decay=weight_decay,
        eps=algorithm.eps,
        maximize=False,
    )
    if algorithm.nesterov:
        torch.lerp(grads.view(-1), mean, 1 / algorithm.beta1, out=mean)
