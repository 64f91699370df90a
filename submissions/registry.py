"""The only list of optimizers: name, algorithm, default hyperparameters.

A name here exists as two AlgoPerf submissions (`submissions/<name>/{jax,pytorch}/submission.py`),
a search space (`tuning_search_spaces/<name>.json`) and a row of every contract test.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from matprec import algorithms, settings

# What every training run has, whatever its optimizer, with the defaults of self-tuning.
TRAINING: dict[str, Any] = {
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "warmup_factor": 0.05,  # share of the schedule's horizon
    "dropout_rate": None,  # None: the workload's own
    "label_smoothing": 0.0,
    "grad_clip": None,  # largest global norm of the gradient; None: no clipping
}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """One optimizer.

    Attributes:
      name: of its folder under `submissions/` and of its search space.
      algorithm: its mathematics; None where the framework's own optimizer of this name is used.
      own: hyperparameters of the framework's own optimizer, with their defaults.
      defaults: values of the self-tuning ruleset that differ from TRAINING's and the algorithm's.
    """

    name: str
    algorithm: type[algorithms.Algorithm] | None = None
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All names and defaults."""
        mine = settings.hyperparameters(self.algorithm) if self.algorithm else dict(self.own)
        return TRAINING | mine | dict(self.defaults)


OPTIMIZERS: dict[str, Optimizer] = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer("adamw", own={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
        Optimizer("nadamw", algorithms.NAdamW),
        Optimizer("shampoo", algorithms.Shampoo),
        Optimizer("asgo", algorithms.ASGO, defaults={"learning_rate": 1e-2}),
    )
}
