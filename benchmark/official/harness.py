"""Which of the two runners runs a command: AlgoPerf's own or the embedded one."""

import importlib.util
import os
from collections.abc import Sequence

import workloads_overrides
from benchmark.errors import UserError
from workloads_overrides import budgets

HARNESSES = ("auto", "official", "embedded")
MODULES = ("algoperf", "submission_runner")

_HOW = "see https://github.com/mlcommons/algorithmic-efficiency and README.md"


def installed() -> bool:
    """Whether AlgoPerf's package and its runner can be imported; imports neither."""
    return all(importlib.util.find_spec(name) is not None for name in MODULES)


def is_official(
    harness: str,
    workload: str,
    *,
    embedded_only: Sequence[str] = (),
    official_only: Sequence[str] = (),
    dry_run: bool = False,
) -> bool:
    """Whether AlgoPerf's harness runs the command rather than the embedded runner.

    "auto" is official where the harness is installed, unless a flag is given that only the embedded
    runner has, as `scripts/compare.py` and `scripts/tune.py` do, or torchrun started this process:
    the official harness is started once, and starts torchrun itself.

    Args:
        harness: one of `HARNESSES`.
        embedded_only, official_only: the flags given that only one of the two knows.
        dry_run: nothing will be run, so the harness need not be installed.

    Raises:
        UserError: the flags or the workload ask for what the chosen runner does not have.
    """
    if harness == "official" and embedded_only:
        raise UserError(f"--{embedded_only[0]} is for --harness=embedded")
    under_torchrun = "LOCAL_RANK" in os.environ
    if harness == "official" and under_torchrun:
        raise UserError("--harness=official starts torchrun itself; see --num_gpus")
    official = harness == "official" or (
        harness == "auto" and installed() and not embedded_only and not under_torchrun
    )
    if official:
        if not (dry_run or installed()):
            raise UserError(f"--harness=official: {' or '.join(MODULES)} is not installed; {_HOW}")
        return True
    why = "is for --harness=official"
    if harness == "auto" and not installed():
        why += f", and the AlgoPerf harness is not installed; {_HOW}"
    if official_only:
        raise UserError(f"--{official_only[0]} {why}")
    if workload not in workloads_overrides.WORKLOADS and _is_known(workload):
        raise UserError(f"--workload={workload} {why}")
    return False


def _is_known(workload: str) -> bool:
    return any(workload in budgets.load(name).workloads for name in budgets.RULE_SETS)
