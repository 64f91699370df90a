"""Rows of tokens from flat shards, by memory map: what is read stays with the system's cache."""

from pathlib import Path

import numpy as np

from ..errors import DataError
from .meta import TOKEN_BYTES, Meta, SplitMeta
from .tokenizers import PAD


class TokenShards:
    """The tokens of a split's files as one sequence, of which any positions can be asked for."""

    def __init__(self, folder: Path, split: SplitMeta) -> None:
        """Raises DataError if a file is missing or has another size than meta.json says."""
        self._arrays: list[np.ndarray] = []
        for name, size in split.shards:
            path = folder / name
            try:
                found = path.stat().st_size
                if found != size * TOKEN_BYTES:
                    raise DataError(
                        f"{path} has {found} bytes, but meta.json says {size * TOKEN_BYTES}: "
                        "it is truncated or of another preparation; prepare the data again"
                    )
                self._arrays.append(np.memmap(path, "<u2", "r", shape=(size,)))
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from error
        self._ends = np.cumsum([size for _, size in split.shards])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, positions: np.ndarray) -> np.ndarray:
        """The tokens at `positions`, of any shape, as int32."""
        tokens = np.empty(positions.shape, np.int32)
        shards = np.searchsorted(self._ends, positions, side="right")
        for shard in np.unique(shards):
            chosen = shards == shard
            array = self._arrays[shard]
            tokens[chosen] = array[positions[chosen] - (self._ends[shard] - len(array))]
        return tokens


class TokenRows:
    """Training examples: `length` tokens and the ones that come after each of them.

    Packed, row i starts at token i * length and its last target is the next row's first input;
    rows do not look at where documents end. Truncated, a row is one document.
    """

    def __init__(self, shards: TokenShards, meta: Meta, length: int, num_rows: int) -> None:
        """The first `num_rows` rows.

        Raises DataError if there are fewer, or if they are stored for another length.
        """
        if meta.layout == "truncated" and meta.row_tokens != length + 1:
            raise DataError(
                f"the rows have {meta.row_tokens} tokens, a context of {length} needs {length + 1}"
            )
        self._stride = length if meta.layout == "packed" else length + 1
        available = (len(shards) - (length + 1)) // self._stride + 1
        if available < num_rows:
            raise DataError(
                f"too few tokens: {num_rows} rows of {length} are needed, {max(available, 0)} are "
                "there; prepare more data"
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
        positions = np.asarray(ids)[:, None] * self._stride + np.arange(self._length + 1)
        tokens = self._shards.take(positions)
        targets = np.ascontiguousarray(tokens[:, 1:])
        return {
            "inputs": np.ascontiguousarray(tokens[:, :-1]),
            "targets": targets,
            "weights": (targets != PAD).astype(np.float32),
        }
