"""Stand-ins for AlgoPerf: its registry of workloads in this process, or a harness on a path."""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from algoperf_api import HAS_ALGOPERF

BUDGET = {"max_allowed_runtime_sec": 1000, "eval_period_time_sec": 10, "step_hint": 500}


def make_class(name: str, base: type = object, **members: int) -> type:
    """A workload class with constant properties, which needs an argument to be made."""
    properties = {key: property(lambda _, value=value: value) for key, value in members.items()}

    def init(self: Any, tokenizer: str = "none") -> None:
        self.tokenizer = tokenizer

    return type(name, (base,), {"__init__": init, **properties})


def registry() -> Any:
    """What `algoperf.workloads.workloads` has: two workloads, one variant, the lists, the import.

    `classes` holds the official classes by name, `imported` the paths that were asked for.
    """
    ogbg = make_class("OgbgWorkload", **BUDGET)
    classes = {
        "OgbgWorkload": ogbg,
        "OgbgGeluWorkload": make_class("OgbgGeluWorkload", ogbg),
        "WmtWorkload": make_class("WmtWorkload", **BUDGET),
    }
    names = {"ogbg": "OgbgWorkload", "ogbg_gelu": "OgbgGeluWorkload", "wmt": "WmtWorkload"}
    imported = []

    def import_workload(
        workload_path: str,
        workload_class_name: str,
        return_class: bool = False,
        workload_init_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        imported.append(workload_path)
        kind = classes.get(workload_class_name)
        if kind is None:
            dotted = workload_path.removesuffix(".py").replace("/", ".")
            kind = dict(_members(importlib.import_module(dotted)))[workload_class_name]
        return kind if return_class else kind(**(workload_init_kwargs or {}))

    return SimpleNamespace(
        WORKLOADS={
            name: {"workload_path": f"{name}/{name}", "workload_class_name": kind}
            for name, kind in names.items()
        },
        BASE_WORKLOADS=["ogbg", "wmt"],
        import_workload=import_workload,
        classes=classes,
        imported=imported,
    )


def _members(module: ModuleType) -> list[tuple[str, Any]]:
    """All members, listed first, as AlgoPerf finds a class."""
    return [(name, getattr(module, name)) for name in dir(module)]


def asked_path(entry: dict[str, str], framework: str) -> str:
    """The file that the harness asks for."""
    return f"algoperf/workloads/{entry['workload_path']}_{framework}/workload.py"


def install(monkeypatch: Any, fake: Any) -> None:
    """Makes `fake` the registry of the installed algoperf, or of a fake one, for one test."""
    if not HAS_ALGOPERF:
        for name in ("algoperf", "algoperf.workloads"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = ModuleType("algoperf.workloads.workloads")
    vars(module).update(vars(fake))
    monkeypatch.setitem(sys.modules, module.__name__, module)


# Reports, where FAKE_HARNESS_REPORT says, what a real one would have run with.
_RUNNER = """
import json
import os
import sys
from pathlib import Path

from absl import flags

from algoperf.workloads import workloads

WORKLOADS = workloads.WORKLOADS
for name in (
    "submission_path workload framework tuning_ruleset tuning_search_space data_dir "
    "experiment_dir experiment_name imagenet_v2_data_dir"
).split():
    flags.DEFINE_string(name, None, "")
for name in (
    "num_tuning_trials rng_seed max_global_steps hparam_start_index hparam_end_index"
).split():
    flags.DEFINE_integer(name, None, "")
for name in "overwrite resume_last_run append_timestamp torch_compile save_checkpoints".split():
    flags.DEFINE_boolean(name, None, "")


def main(argv):
    entry = WORKLOADS[flags.FLAGS.workload]
    budget = None
    if flags.FLAGS.workload == "ogbg":
        budget = workloads.import_workload("x.py", entry["workload_class_name"]).step_hint
    rank = os.environ.get("LOCAL_RANK")
    report = Path(os.environ["FAKE_HARNESS_REPORT"] + (rank or ""))
    report.write_text(json.dumps({
        "flags": {name: flags.FLAGS[name].value for name in flags.FLAGS},
        "argv": argv, "path": sys.path[:2], "rank": rank, "stdin": sys.stdin.read(),
        "step_hint": budget, "workloads": sorted(WORKLOADS),
        "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }))
    sys.exit(int(os.environ.get("FAKE_HARNESS_STATUS", 0)))
"""


def write(folder: Path) -> Path:
    """Writes an `algoperf` and a `submission_runner` to be put on PYTHONPATH. Returns `folder`."""
    package = folder / "algoperf" / "workloads"
    package.mkdir(parents=True)
    (folder / "algoperf" / "__init__.py").touch()
    (package / "__init__.py").touch()
    support = str(Path(__file__).parent)
    (package / "workloads.py").write_text(
        f"import sys\nsys.path.append({support!r})\nimport fake_algoperf\n"
        "globals().update(vars(fake_algoperf.registry()))\n"
    )
    (folder / "submission_runner.py").write_text(_RUNNER)
    return folder


def write_nvidia_smi(folder: Path, lines: str, status: int = 0) -> Path:
    """Writes a program `nvidia-smi` that prints `lines`, in a folder to be put on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\nexit {status}\n")
    program.chmod(0o755)
    return folder


def smi_lines(*gpus: tuple[str, int]) -> str:
    """What nvidia-smi prints for GPUs given by name and MiB."""
    return "\n".join(f"{i}, GPU-{i}a{i}b, {name}, {mib}" for i, (name, mib) in enumerate(gpus))
