"""Makes `workloads_overrides` know the fake workload instead of the real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.quadratic import QuadraticWorkload

import workloads_overrides


def register(patch: Callable[..., None], **arguments: Any) -> None:
    """From now on the only workload is `quadratic`, made with `arguments`; data is prepared by
    writing the file `prepared`, and cannot be had where the folder is missing. `patch` is `setattr`
    or a monkeypatch's."""

    def import_workload(name: str, framework: str) -> QuadraticWorkload:
        if name != "quadratic":
            raise ValueError(f"unknown workload {name!r}; allowed: quadratic")
        return QuadraticWorkload(**arguments)

    def prepare_data(
        name: str, data_dir: str | Path, progress: Any = None, rows: Any = None
    ) -> None:
        file = Path(data_dir) / "prepared"
        if file.exists():
            return
        if not file.parent.is_dir():
            raise workloads_overrides.DataError(f"{data_dir}: no network\nand no data")
        progress("downloading", 0.5)
        file.write_text(name)

    patch(workloads_overrides, "import_workload", import_workload)
    patch(workloads_overrides, "prepare_data", prepare_data)
