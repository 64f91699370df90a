"""What to do where a workload's data is missing or unfit."""

import shlex
from pathlib import Path

from .meta import FOLDER


def remedy(workload: str, data_dir: str | Path, layout: str | None = None) -> str:
    """A command that prepares it, in the place of what is there; `layout` None: any will do."""
    words = [
        *("python", "scripts/prepare_c4.py", f"--workload={workload}", f"--data_dir={data_dir}"),
        *("--input_dir=FOLDER", "--tokenizer_path=spiece.model"),
    ]
    if layout is not None:
        words.append(f"--layout={layout}")
    if (Path(data_dir).expanduser() / FOLDER).exists():
        words.append("--overwrite")
    return f"{shlex.join(words)}, with the files of allenai/c4 in FOLDER (--help names others)"
