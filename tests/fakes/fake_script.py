"""Runs a script in a fake repository: `fake_script.py ROOT WORKLOAD_ARGUMENTS NAME [flags]`."""

import functools
import json
import runpy
import sys
from pathlib import Path

ROOT, ARGUMENTS, NAME = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
del sys.argv[1:4]
TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(TESTS.parent), str(TESTS)]

from fakes import in_process, known_workload, repository  # noqa: E402

import benchmark.run  # noqa: E402
import benchmark.runs  # noqa: E402
import benchmark.target_setting  # noqa: E402
import submissions  # noqa: E402, F401  the fake ones, before the script finds the real ones

known_workload.register(setattr, **ARGUMENTS)
benchmark.run.run = functools.partial(benchmark.run.run, root=ROOT)
benchmark.runs.Place = lambda: repository.place(ROOT, **ARGUMENTS)
benchmark.target_setting.execute = in_process.execute  # dozens of processes would take long
runpy.run_path(str(TESTS.parent / "scripts" / f"{NAME}.py"), run_name="__main__")
