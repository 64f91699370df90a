"""What this project's optimizers cost on a machine, and the time to target that follows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from speed.predict import optimizers
from speed.predict.calibrate import Calibration
from speed.predict.forecast import Case, Machine, between, middle, model_seconds
from speed.predict.roofline import gather_seconds, seconds
from speed.tensors import tensors

BASELINE, RIVAL = "nadamw", "shampoo"


def table(
    calibration: Calibration,
    workload: str,
    framework: str,
    machine: Machine,
    names: Sequence[str],
    *,
    precision: str = "fp32",
    step_ratio: float = 1.0,
    hyperparameters: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One row per optimizer of `names`.

    `step_ms`: of a step without refresh; `refresh_ms`: what a refresh takes on top, its all-gather
    `gather_ms` included, NaN without refreshes; `amortised_ms`: per step over a period. `share`: of
    the whole step. `step_s`: of the whole step, `least_s` and `most_s` its interval. `time_ratio`:
    time to target over the baseline's, with `step_ratio` of its steps; `even_baseline`,
    `even_rival`: the step ratios to BASELINE and RIVAL at which times to target are equal.

    Raises:
      forecast.NoReference: nothing is known of this model's steps.
      ValueError: a hyperparameter is outside its range.
    """
    shapes = tensors(workload, framework)
    wanted = dict.fromkeys([BASELINE, RIVAL, *names])
    costs = {
        name: optimizers.cost(name, shapes, framework, machine.devices, hyperparameters)
        for name in wanted
    }

    def parts(name: str, case: Case) -> tuple[float, float]:
        step, refresh = (
            seconds(load, machine.gpu, machine.devices, case.constants, precision)
            for load in (costs[name].step, costs[name].refresh)
        )
        return step, refresh

    def amortised(name: str, case: Case) -> float:
        step, refresh = parts(name, case)
        return step + refresh / (costs[name].period or 1)

    def total(name: str, case: Case) -> float:
        model = model_seconds(calibration, workload, framework, machine, case)
        return model + amortised(name, case)

    case = middle(calibration)
    totals = {name: total(name, case) for name in wanted}
    rows = []
    for name in names:
        step, refresh = parts(name, case)
        own = amortised(name, case)
        interval = between(calibration, lambda case, name=name: total(name, case))
        refreshes = costs[name].period is not None
        gathered = gather_seconds(costs[name].refresh, machine.gpu, machine.devices)
        ratio = 1.0 if name == BASELINE else step_ratio
        rows.append(
            {
                "workload": workload,
                "optimizer": name,
                "step_ms": 1e3 * step,
                "refresh_ms": 1e3 * refresh if refreshes else float("nan"),
                "gather_ms": 1e3 * gathered if refreshes else float("nan"),
                "amortised_ms": 1e3 * own,
                "share": own / totals[name],
                "step_s": totals[name],
                "least_s": interval.least,
                "most_s": interval.most,
                "time_ratio": ratio * totals[name] / totals[BASELINE],
                "even_baseline": totals[BASELINE] / totals[name],
                "even_rival": totals[RIVAL] / totals[name],
            }
        )
    return pd.DataFrame(rows)
