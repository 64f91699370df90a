"""Answers of the entries themselves, imported in a process of their own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.entries import requirements
from benchmark.entries.check import search_space, stub
from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry
from benchmark.entries.check.workload_names import OFFICIAL
from benchmark.entries.layout import REQUIREMENTS, SEARCH_SPACE, SUBMISSION
from benchmark.errors import UserError, one_line
from benchmark.submission import REPOSITORY

_HERE = Path(__file__).resolve().parent
_UNKNOWN = "no workload of AlgoPerf's"
Answer = dict[str, Any]


def ask(
    entries: Sequence[Entry], python: str = sys.executable, timeout: float = 600
) -> list[Answer]:
    """Imports every entry with AlgoPerf, or with the types of this project where it is missing.

    Args:
      entries: with names that Python can import.
      python: the interpreter; that of AlgoPerf's environment tells most.
      timeout: seconds, for all of them.

    Returns:
      For each entry {"batch_sizes": ..., "points": ..., "none": ...}, see `probe`; or {"error":
      line}, where a package is missing with its name in "missing".

    Raises:
      UserError: the interpreter cannot be run.
    """
    request = {
        "workloads": [*OFFICIAL, _UNKNOWN],
        "entries": [
            {"folder": str(entry.folder), "points": search_space.points(entry)} for entry in entries
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        asked, answers = Path(folder, "request.json"), Path(folder, "answers.jsonl")
        stub.write(Path(folder))
        asked.write_text(json.dumps(request | {"stub": folder}))
        answers.touch()
        # -P, and this repository not in PYTHONPATH: an entry must not find it by accident.
        command = [python, "-P", "-B", str(_HERE / "probe.py"), str(asked), str(answers)]
        places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        others = [place for place in places if place and Path(place).resolve() != REPOSITORY]
        environment = {"JAX_PLATFORMS": "cpu"} | os.environ
        environment["PYTHONPATH"] = os.pathsep.join(others)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, env=environment
            )
        except OSError as error:
            raise UserError(f"--python={python}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            told = f"importing it and asking for batch sizes took more than {timeout:g} s"
        else:
            told = one_line(done.stderr)[-300:] or f"the process ended, status {done.returncode}"
        found = [json.loads(line) for line in answers.read_text().splitlines()]
    # The process ends in an entry that ends it; those behind it were not asked.
    missing = len(entries) - len(found)
    return found + [{"error": told}] * min(missing, 1) + [{"unasked": True}] * (missing - 1)


def check(entry: Entry, answer: Answer) -> Iterator[Defect]:
    """What an entry's answers say against it."""
    if "error" in answer:
        yield _not_imported(entry, answer)
        return
    if "unasked" in answer:
        yield Defect(SUBMISSION, 0, "not imported: another entry ended the process", fatal=False)
        return
    sizes = answer["batch_sizes"]
    for name in OFFICIAL:
        if not isinstance(sizes[name], int) or sizes[name] < 1:
            told = f"get_batch_size({name!r}): {sizes[name]}"
            yield Defect(SUBMISSION, 0, told, "a positive integer")
    if sizes[_UNKNOWN] != "ValueError":
        told = f"get_batch_size of an unknown workload: {sizes[_UNKNOWN]}"
        yield Defect(SUBMISSION, 0, told, "ValueError")
    for number, refused in enumerate(answer.get("points", []), start=1):
        if refused and entry.ruleset == "external_tuning":
            yield Defect(SEARCH_SPACE, 0, f"point {number}: {refused}")
    for nothing, refused in zip(("None", "{}"), answer.get("none", []), strict=False):
        if refused and entry.ruleset == "self_tuning":
            yield Defect(SUBMISSION, 0, f"hyperparameters {nothing}: {refused}")


def _not_imported(entry: Entry, answer: Answer) -> Defect:
    """A defect, or a warning where a package is missing here that AlgoPerf or the entry brings."""
    missing = answer.get("missing", "")
    text = ""
    if REQUIREMENTS in entry.files:
        text = (entry.folder / REQUIREMENTS).read_text(encoding="utf-8", errors="replace")
    added = {item.name for item in requirements.parse(text)}
    here = missing in {*requirements.PINNED, "algoperf"} or requirements.normal(missing) in added
    told = f"cannot be imported: {answer['error']}"
    if missing and here:
        return Defect(SUBMISSION, 0, f"{told}; not asked, try --python", fatal=False)
    return Defect(SUBMISSION, 0, told)
