"""Results of single tests: JSON files, each named by the test and by what can change it."""

import dataclasses
import hashlib
import json
import os
import re
import signal
from pathlib import Path
from typing import Any, Literal

from benchmark.errors import one_line

Status = Literal["passed", "failed", "timeout"]
TAIL_LINES = 40
# "Ran 1 test": absltest ends with status 0 as well when it has found nothing to run.
_RAN = re.compile(r"^Ran 1 test in ", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one test.

    Attributes:
        key: digest of `made_of`, everything that can change the result.
        commit: of the repository; told, but no part of the key.
        seconds: wall time of the process, imports and compilation included.
        time_limit_sec: what it was given; a test that ran into it runs again with a longer one.
        cause: the last exception in one line; "" if it passed.
        output_tail: the last lines that it wrote.
    """

    submission: str
    workload: str
    framework: str
    status: Status
    seconds: float
    cause: str
    time_limit_sec: float
    command: list[str]
    environment: dict[str, str]
    key: str
    made_of: dict[str, Any]
    commit: str
    finished_at: str
    output_tail: list[str]
    harness_commit: str = ""

    def stands(self, time_limit_sec: float) -> bool:
        """Whether another run with this time limit would tell nothing new."""
        return self.status != "timeout" or self.time_limit_sec >= time_limit_sec


def digest(made_of: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def path_of(folder: Path, submission: str, workload: str, framework: str, key: str) -> Path:
    return folder / submission / f"{workload}.{framework}.{key}.json"


def save(result: Result, folder: Path) -> None:
    path = path_of(folder, result.submission, result.workload, result.framework, result.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(dataclasses.asdict(result), indent=2) + "\n")
    os.replace(part, path)


def load(folder: Path, submission: str, workload: str, framework: str, key: str) -> Result | None:
    """The stored result, or None; a file that cannot be read counts as none."""
    try:
        text = path_of(folder, submission, workload, framework, key).read_text()
        return Result(**json.loads(text))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def judge(exit_status: int | None, output: str, time_limit_sec: float) -> tuple[Status, str]:
    """(status, cause) of a process by its exit status (None: it ran into the limit; negative: minus
    the signal that ended it) and by what it wrote."""
    if exit_status is None:
        return "timeout", f"not finished after {time_limit_sec:g} s"
    if exit_status == 0:
        return ("passed", "") if _RAN.search(output) else ("failed", "no test was run")
    if exit_status < 0:
        ended = f"ended by {signal.Signals(-exit_status).name}"
        return "failed", ended + (" (out of memory?)" if exit_status == -signal.SIGKILL else "")
    return "failed", cause(output) or f"exit status {exit_status}"


def cause(output: str) -> str:
    """The exception of the last traceback, in one line; else the last line that is not blank."""
    lines = output.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call")]
    for i in range(starts[-1] + 1 if starts else len(lines), len(lines)):
        if lines[i].strip() and not lines[i].startswith(" "):
            # A message goes on over the lines up to the frame that the test puts around it.
            message = [lines[i]]
            for line in lines[i + 1 : i + 6]:
                if not line.strip() or line.startswith(("---", "===")):
                    break
                message.append(line)
            return one_line(" ".join(message))[:500]
    return next((one_line(line)[:500] for line in reversed(lines) if line.strip()), "")
