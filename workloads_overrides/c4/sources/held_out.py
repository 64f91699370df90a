"""Which files of C4's validation split become `validation`, and which `test`.

C4 has no test split. The first half of the validation files is `validation` here, the second half
`test`; of the published eight these are 0 to 3 and 4 to 7. That is this project's choice.
"""

from collections.abc import Sequence
from typing import TypeVar

from ...errors import DataError

T = TypeVar("T")


def held_out(files: Sequence[T], split: str, where: str) -> list[T]:
    """The files of 'validation' or 'test', of all validation files in order.

    Raises DataError that names `where` if there are fewer than two.
    """
    if len(files) < 2:
        raise DataError(
            f"{where} has {len(files)} files of the validation split: two are needed, as the first "
            "half becomes validation and the second half test"
        )
    half = (len(files) + 1) // 2
    return list(files[:half] if split == "validation" else files[half:])
