"""Hands a run over to AlgoPerf's harness: data, hardware note, and the harness in our place."""

import os
import sys
from typing import Any, NoReturn

import workloads_overrides
from benchmark import hardware
from benchmark.errors import UserError
from benchmark.log import write_json
from benchmark.official.command import Command, Request, build
from benchmark.progress import reporter
from workloads_overrides import budgets


def hardware_note(request: Request) -> dict[str, Any]:
    """What the run's times were measured on, and under which rules.

    `matches` compares the GPUs used with the rule set's, None without one; `budgets` are those that
    the rule set gives the workload, None where the workload keeps its own.
    """
    used = list(request.gpus[: request.used_gpus])
    rules = None if request.rules is None else budgets.load(request.rules)
    budget = None if rules is None else rules.workloads.get(request.workload)
    return {
        "workload": request.workload,
        "framework": request.framework,
        "rules": request.rules,
        "found": [{"name": gpu.name, "memory_gib": round(gpu.memory_gib, 2)} for gpu in used],
        "wanted": None if rules is None else vars(rules.hardware),
        "matches": None if rules is None else hardware.matches(used, rules.hardware),
        "budgets": None if budget is None else vars(budget),
    }


def hardware_line(request: Request) -> str:
    """The note in one line."""
    found = hardware.describe(request.gpus[: request.used_gpus])
    note = hardware_note(request)
    if request.rules is None:
        return f"hardware: {found}; without --rules every workload keeps its own budget"
    wanted = budgets.load(request.rules).hardware
    line = f"hardware: {found}; --rules={request.rules} is for {wanted}: "
    line += "matches" if note["matches"] else "does not match, times do not compare with its"
    if note["budgets"] is None:
        line += f"; {request.workload} keeps its own budget"
    return line


def write_note(request: Request) -> None:
    """Writes the note beside the workload's folder: in it, the harness would find the folder there
    before its run and ask whether to resume."""
    folder = request.experiment_folder
    folder.mkdir(parents=True, exist_ok=True)
    name = f"hardware_note_{request.workload}_{request.framework}.json"
    write_json(folder / name, hardware_note(request))


def run(request: Request, progress: str) -> int:
    """Builds the command and becomes the harness; in a dry run, prints the command and returns 0.

    A small workload's data is prepared and the note is written before. The harness takes this
    process's place, so that signals and the exit status are its own, with nothing on standard
    input, where it would wait for answers. `progress` is as in `benchmark.progress.reporter`.

    Raises:
        UserError: the harness would refuse the command, or the data cannot be had.
    """
    command = build(request)
    for line in (*command.notes, hardware_line(request)):
        print(line, file=sys.stderr)
    if request.dry_run:
        print(command)
        return 0
    if request.workload in workloads_overrides.WORKLOADS:
        _prepare_data(request, progress)
    write_note(request)
    print(f"running {command}", file=sys.stderr)
    return replace_process(command)


def _prepare_data(request: Request, progress: str) -> None:
    from benchmark.run import prepare_data  # here: it imports a framework

    try:
        with reporter(progress) as shown:
            prepare_data(request.workload, request.data_dir, shown)
    except UserError as error:
        # The harness's environment need not hold what only the preparation needs.
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        print(error, file=sys.stderr)


def replace_process(command: Command) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execve(command.argv[0], command.argv, {**os.environ, **command.environment})
