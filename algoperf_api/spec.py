"""`algoperf.spec` where AlgoPerf is installed, else this project's definition of the same types."""

from typing import TYPE_CHECKING

from algoperf_api import HAS_ALGOPERF

if HAS_ALGOPERF and not TYPE_CHECKING:
    from algoperf.spec import (
        ForwardPassMode,
        LossType,
        ParameterType,
        ShapeTuple,
        TrainingCompleteError,
        Workload,
    )
else:
    from algoperf_api.own_spec import (
        ForwardPassMode,
        LossType,
        ParameterType,
        ShapeTuple,
        TrainingCompleteError,
        Workload,
    )

__all__ = [
    "ForwardPassMode",
    "LossType",
    "ParameterType",
    "ShapeTuple",
    "TrainingCompleteError",
    "Workload",
]
