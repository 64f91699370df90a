"""NAdam in AlgoPerf's form (arXiv 1910.05446, table 1), and Adam (1412.6980), elementwise.

    M_t = beta1 M_{t-1} + (1 - beta1) G_t,  V_t = beta2 V_{t-1} + (1 - beta2) G_t^2
    Mhat = (beta1 M_t + (1 - beta1) G_t) / (1 - beta1^t)      (NAdam; M_t / (1 - beta1^t) for Adam)
    U_t = Mhat / (sqrt(V_t / (1 - beta2^t)) + eps)

There is no momentum schedule, and the divisor is 1 - beta1^t: torch.optim.NAdam and optax.nadam
are not the same. With decoupled weight decay, which the adapters add, these are NAdamW and AdamW.
With beta1 = 0 no mean is stored.
"""

import dataclasses
from typing import Any, ClassVar

from matprec import linalg, moments
from matprec.algorithms.base import Algorithm, Array, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class NAdamW(Algorithm):
    """Hyperparameters of NAdamW.

    Attributes:
      beta1, beta2: decays of the first and second moment.
      eps: added to the root of the second moment.
      nesterov: NAdam's mixing; False is Adam.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    nesterov: bool = True

    source: ClassVar = "arXiv 1910.05446 (NAdam in AlgoPerf's form), 1711.05101 (AdamW)"
    state_size: ClassVar = "2*m*n"
    step_flops: ClassVar = "10*m*n"
    elementwise: ClassVar = True

    @property
    def has_mean(self) -> bool:
        return not linalg.is_zero(self.beta1)

    def init(self, xp: Any, grads: Array) -> State:
        state = {"second_moment": xp.zeros_like(grads)}
        return state | {"mean": xp.zeros_like(grads)} if self.has_mean else state

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        moment = linalg.ema_squares(xp, state["second_moment"], grads, self.beta2)
        new = state | {"second_moment": moment}
        if self.has_mean:
            new["mean"] = linalg.ema(xp, state["mean"], grads, self.beta1)
        return new

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        t = state["t"]
        mean = grads
        if self.has_mean:
            mean = moments.corrected_mean(
                xp, state["mean"], grads, self.beta1, t, nesterov=self.nesterov
            )
        return moments.adam(xp, mean, state["second_moment"], self.beta2, self.eps, t), state
