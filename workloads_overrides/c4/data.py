"""Rows of tokens from flat shards, by memory map: what is read stays with the system's cache."""

import mmap
from pathlib import Path

import numpy as np

from ..errors import DataError
from .meta import TOKEN_BYTES, Meta, SplitMeta
from .tokenizers import PAD

# Linux maps 64 KiB around every place that is read, and all of that counts as memory of the
# process until it is released: with this many rows 16 MiB, whatever the size of the corpus.
_ROWS_MAPPED = 256
_RELEASE = getattr(mmap, "MADV_DONTNEED", None)  # not everywhere; then the system decides


class TokenShards:
    """The tokens of a split's files as one sequence, of which any stretches can be asked for."""

    def __init__(self, folder: Path, split: SplitMeta) -> None:
        """Raises DataError if a file is missing or has another size than meta.json says."""
        names = [name for name, _ in split.shards]
        self._place = f"{folder} ({' to '.join(names[:1] + names[1:][-1:])})"
        self._maps: list[np.memmap] = []
        for name, size in split.shards:
            path = folder / name
            try:
                found = path.stat().st_size
                if found != size * TOKEN_BYTES:
                    raise DataError(
                        f"{path} has {found} bytes, but meta.json says {size * TOKEN_BYTES}: "
                        "it is truncated or of another preparation; prepare the data again"
                    )
                self._maps.append(np.memmap(path, "<u2", "r", shape=(size,)))
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from error
        self._arrays = [np.asarray(array) for array in self._maps]  # slicing is half as slow
        self._ends = np.cumsum([size for _, size in split.shards], dtype=np.int64)
        self._mapped = 0

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __str__(self) -> str:
        """The folder, the first file and the last."""
        return self._place

    def take(self, starts: np.ndarray, length: int) -> np.ndarray:
        """(len(starts), length) int32: the `length` tokens from each of the positions `starts` on.

        They may lie in several files.
        """
        tokens = np.empty((len(starts), length), np.int32)
        shards = np.searchsorted(self._ends, starts, side="right")
        for row, start, shard in zip(tokens, starts.tolist(), shards.tolist(), strict=True):
            done = 0
            while done < length:
                array = self._arrays[shard]
                offset = start + done - (int(self._ends[shard]) - len(array))
                part = array[offset : offset + length - done]
                row[done : done + len(part)] = part
                done += len(part)
                shard += 1
        self._mapped += len(starts)
        if self._mapped >= _ROWS_MAPPED:
            self._release()
        return tokens

    def _release(self) -> None:
        """Takes the files' pages out of this process's memory; they stay in the system's cache."""
        self._mapped = 0
        if _RELEASE is not None:
            for array in self._maps:
                assert isinstance(array.base, mmap.mmap)
                array.base.madvise(_RELEASE)


class TokenRows:
    """Training examples: `length` tokens and the ones that come after each of them.

    Packed, row i starts at token i * length and its last target is the next row's first input;
    rows do not look at where documents end. Truncated, a row is one document.
    """

    row_by_row = True

    def __init__(self, shards: TokenShards, meta: Meta, length: int, num_rows: int) -> None:
        """The first `num_rows` rows.

        Raises DataError if there are fewer, or if they are stored for another length.
        """
        if meta.layout == "truncated" and meta.row_tokens != length + 1:
            raise DataError(
                f"{shards}: the rows have {meta.row_tokens} tokens, a context of {length} needs "
                f"{length + 1}"
            )
        self._stride = length if meta.layout == "packed" else length + 1
        available = (len(shards) - (length + 1)) // self._stride + 1
        if available < num_rows:
            raise DataError(
                f"{shards}: too few tokens: {num_rows} rows of {length} are needed, "
                f"{max(available, 0)} are there; prepare more data"
            )
        self._shards = shards
        self._length = length
        self._num_rows = num_rows

    def __len__(self) -> int:
        return self._num_rows

    def batch(
        self, ids: np.ndarray, rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        """`inputs` and `targets` (B, length) int32, `weights` float32: 1, but 0 for padding."""
        del rng
        tokens = self._shards.take(np.asarray(ids) * self._stride, self._length + 1)
        targets = np.ascontiguousarray(tokens[:, 1:])
        return {
            "inputs": np.ascontiguousarray(tokens[:, :-1]),
            "targets": targets,
            "weights": (targets != PAD).astype(np.float32),
        }
