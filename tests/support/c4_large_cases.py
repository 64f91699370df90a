"""The C4 workloads of full size: their classes, and one of them over a tiny model and corpus.

What such a workload does beside its constants is thus run as it is, in both frameworks.
"""

import json
from pathlib import Path
from typing import Any

from c4_cases import TinySizes

from workloads_overrides import import_workload
from workloads_overrides.c4.c4_jax import workload as jax_workload
from workloads_overrides.c4.c4_pytorch import workload as pytorch_workload

COUNTS = {"c4_60m": 58_073_600, "c4": 134_105_856, "c4_350m": 367_969_280}
NAMES = tuple(COUNTS)


class LargeJax(TinySizes, jax_workload.C4Llama60MWorkload):
    pass


class LargeTorch(TinySizes, pytorch_workload.C4Llama60MWorkload):
    pass


TINY_CLASSES = {"jax": LargeJax, "pytorch": LargeTorch}


def with_targets(folder: Path, framework: str, **changed: Any) -> Any:
    """The tiny workload with a file of targets of its own."""
    cls = TINY_CLASSES[framework]
    path = folder / f"targets_{len(list(folder.glob('targets_*')))}.json"
    path.write_text(json.dumps(json.loads(cls.targets_path.read_text()) | changed))
    return type(cls.__name__, (cls,), {"targets_path": path})()


def workload(name: str, framework: str) -> Any:
    return import_workload(name, framework)
