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
    "schedule": "cosine",  # or linear, trapezoidal, constant; after the warm-up
    "horizon": "step_hint",  # or clock (elapsed time over budget), both (whichever is further)
    "decay_factor": 0.2,  # share of the horizon that a trapezoidal schedule decays in
    "dropout_rate": None,  # None: the workload's own
    "label_smoothing": 0.0,
    "grad_clip": None,  # largest global norm of the gradient; None: no clipping
    "gradient_accumulation_steps": 1,  # parts into which a batch that does not fit is cut
    "ema_decay": None,  # of averaged weights, which evaluations see; None: no averaging
}

# What the self-tuning ruleset changes: an entry there meets workloads of which it may be too slow
# to take `step_hint` steps.
SELF_TUNING: dict[str, Any] = {"horizon": "both"}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """One optimizer.

    Attributes:
      name: of its folder under `submissions/` and of its search space.
      algorithm: its mathematics; None where the framework's own optimizer of this name is used.
      own: hyperparameters of the framework's own optimizer, with their defaults.
      own_source, own_state_size: of that optimizer, as an algorithm's `source` and `state_size`.
      defaults: values of the self-tuning ruleset that differ from TRAINING's and the algorithm's.
    """

    name: str
    algorithm: type[algorithms.Algorithm] | None = None
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    own_source: str = ""
    own_state_size: str = ""
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where the equations are published."""
        return self.algorithm.source if self.algorithm else self.own_source

    @property
    def state_size(self) -> str:
        """Elements of state per m x n matrix, see `matprec.algorithms.base.Algorithm`."""
        return self.algorithm.state_size if self.algorithm else self.own_state_size

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All names and defaults."""
        mine = settings.hyperparameters(self.algorithm) if self.algorithm else dict(self.own)
        return TRAINING | mine | dict(self.defaults)


OPTIMIZERS: dict[str, Optimizer] = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer(
            "adamw",
            own={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
            own_source="arXiv 1711.05101",
            own_state_size="2*m*n",
        ),
        Optimizer("nadamw", algorithms.NAdamW),
        Optimizer(
            "adafactor_original",
            own={"decay_rate": 0.8, "clipping_threshold": 1.0},
            own_source="arXiv 1804.04235",
            own_state_size="m + n",
            defaults={"learning_rate": 1e-2, "weight_decay": 1e-3},
        ),
        Optimizer("shampoo", algorithms.Shampoo),
        Optimizer("asgo", algorithms.ASGO, defaults={"learning_rate": 1e-2}),
        Optimizer("asgo_theory", algorithms.ASGOTheory, defaults={"learning_rate": 5e-2}),
        Optimizer("dasgo", algorithms.DASGO, defaults={"learning_rate": 1e-2}),
        Optimizer("caspr", algorithms.CASPR),
        Optimizer("caspr_adaptive", algorithms.CASPRAdaptive),
        Optimizer("kl_shampoo", algorithms.KLShampoo),
        Optimizer("soap", algorithms.SOAP, defaults={"learning_rate": 3e-3}),
        Optimizer("adadiag", algorithms.AdaDiag, defaults={"learning_rate": 3e-3}),
        Optimizer(
            "adadiag_plus_plus", algorithms.AdaDiagPlusPlus, defaults={"learning_rate": 3e-3}
        ),
        Optimizer("adafactor", algorithms.Adafactor, defaults={"learning_rate": 3e-3}),
        Optimizer("adafacdiag", algorithms.AdafacDiag, defaults={"learning_rate": 3e-3}),
        Optimizer(
            "adafacdiag_plus_plus", algorithms.AdafacDiagPlusPlus, defaults={"learning_rate": 1e-3}
        ),
        Optimizer("hfac", algorithms.HFac, defaults={"learning_rate": 3e-3}),
        Optimizer("hfacdiag", algorithms.HFacDiag, defaults={"learning_rate": 3e-3}),
        Optimizer("galore", algorithms.GaLore, defaults={"learning_rate": 1e-2}),
        Optimizer("muon", algorithms.Muon, defaults={"learning_rate": 1e-2}),
    )
}
