"""Looks at a prepared folder: does it have what is asked for?"""

from pathlib import Path

from ...errors import DataError
from ..amounts import Amounts, check_enough
from ..meta import Meta, check_tokens, read_meta
from ..sizes import Size
from .vocabulary import Vocabulary


def check_suffices(folder: Path, amounts: Amounts, size: Size, vocabulary: Vocabulary) -> None:
    """Raises DataError, with the remedy, unless the folder has at least `amounts`, in their layout
    and by that tokenizer, and files of the right lengths."""
    try:
        meta = read_meta(folder)
        check_tokens(meta, folder, size.model.vocab, None)
        _check_vocabulary(meta, folder, vocabulary)
        check_enough(meta, folder, amounts)
    except DataError as error:
        raise DataError(
            f"{error}; --overwrite prepares it anew, another --data_dir beside it"
        ) from error


def _check_vocabulary(meta: Meta, folder: Path, vocabulary: Vocabulary) -> None:
    """Of a trained one all that is known before it is trained are its name and its size."""
    wanted: dict[str, str | int] = {"tokenizer_sha256": vocabulary.known_sha256 or ""}
    if vocabulary.known_sha256 is None:
        wanted = {"tokenizer": vocabulary.name, "vocab_size": vocabulary.size}
    for key, value in wanted.items():
        if getattr(meta, key) != value:
            raise DataError(f"{folder} has {key} {getattr(meta, key)!r}, not {value!r}")
