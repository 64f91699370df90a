"""The data of the full-size C4 workloads, which a script of its own prepares: is it there?"""

from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import DataError
from .amounts import Amounts, check_enough, size_of
from .digests import damaged_files
from .meta import FOLDER, check_tokens, read_meta
from .remedy import remedy


def check(
    name: str,
    data_dir: str | Path,
    progress: Callable[[str, float], None] | None = None,
    rows: Mapping[str, int] | None = None,
) -> None:
    """Raises DataError, with a command that prepares it, unless `<data_dir>/c4` has what a run of
    workload `name` reads, undamaged. Needs no framework.

    Args:
      name: one of `amounts.WORKLOADS`.
      data_dir: the folder around it.
      progress: called with what is being done and the fraction done so far, where files are read:
        that is once, see `digests`.
      rows: of 'train', 'validation' and 'test' that the run reads; None: the workload's.
    """
    size = size_of(name)
    folder = Path(data_dir).expanduser() / FOLDER

    def look(file: str, done: float) -> None:
        if progress is not None:
            progress(f"checking {file}", done)

    try:
        meta = read_meta(folder)
        check_tokens(meta, folder, size.model.vocab, None)
        needed = size.rows if rows is None else rows
        check_enough(meta, folder, Amounts(meta.layout, size.context_length, needed))
        if problems := damaged_files(folder, look, remembered=True):
            more = f", and {len(problems) - 1} more files" if len(problems) > 1 else ""
            raise DataError(problems[0] + more)
    except DataError as error:
        raise DataError(f"{error}; data for it: {remedy(name, data_dir)}") from error
