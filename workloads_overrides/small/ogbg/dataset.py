"""Reads the prepared data set, or says in one line why it cannot be read."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from .source import ARRAYS, CHEMICALS, Source


@dataclass(frozen=True, eq=False)
class Molecules:
    """Graphs and labels of n molecules, one after the other. Edges as in `features.MoleculeGraph`.

    A split is a contiguous range of molecules: see `split_range`.
    """

    nodes: np.ndarray  # (sum of n_node, 9) float32, holding OGB's category indices
    edges: np.ndarray  # (sum of n_edge, 3) float32, the same
    receivers: np.ndarray  # (sum of n_edge,) int32, numbered within the molecule
    senders: np.ndarray  # (sum of n_edge,) int32, the same
    n_node: np.ndarray  # (n,) int32
    n_edge: np.ndarray  # (n,) int32
    labels: np.ndarray  # (n, 30) float32: 0, 1, or NaN where unmeasured
    counts: dict[str, int]  # molecules per split, in the order in which they lie

    @cached_property
    def node_start(self) -> np.ndarray:
        """Where each molecule's nodes begin: (n,) int64."""
        return np.cumsum(self.n_node, dtype=np.int64) - self.n_node

    @cached_property
    def edge_start(self) -> np.ndarray:
        """Where each molecule's edges begin: (n,) int64."""
        return np.cumsum(self.n_edge, dtype=np.int64) - self.n_edge

    def split_range(self, split: str) -> range:
        """The molecules of 'train', 'validation' or 'test'."""
        start = 0
        for name, count in self.counts.items():
            if name == split:
                return range(start, start + count)
            start += count
        raise ValueError(f"unknown split {split!r}; allowed: {', '.join(self.counts)}")


def load(data_dir: str | Path, source: Source = CHEMICALS) -> Molecules:
    """The data set under `data_dir`, read once per process.

    Raises DataError if it was not prepared, is damaged, or was made from another source or in
    another format.
    """
    return _load(Path(data_dir).absolute(), source)


@lru_cache(maxsize=4)
def _load(data_dir: Path, source: Source) -> Molecules:
    with np.load(source.prepared.path(data_dir) / ARRAYS) as arrays:
        return Molecules(
            nodes=arrays["nodes"].astype(np.float32),
            edges=arrays["edges"].astype(np.float32),
            receivers=arrays["receivers"],
            senders=arrays["senders"],
            n_node=arrays["n_node"],
            n_edge=arrays["n_edge"],
            labels=arrays["labels"],
            counts=source.counts,
        )
