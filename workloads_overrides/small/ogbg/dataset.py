"""Reads the prepared data set, or says in one line why it cannot be read."""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ..wheel import file_sha256
from .source import CHEMICALS, Source

FORMAT_VERSION = 1  # raise it when the choice of molecules, features, labels or arrays changes
FOLDER = "ogbg_small"
ARRAYS = "arrays.npz"
META = "meta.json"


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
    return _load(Path(data_dir).absolute() / FOLDER, source)


@lru_cache(maxsize=4)
def _load(folder: Path, source: Source) -> Molecules:
    check_folder(folder, source)
    with np.load(folder / ARRAYS) as arrays:
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


def check_folder(folder: Path, source: Source) -> None:
    """Raises DataError unless `folder` holds `source` in the present format, undamaged."""
    if not folder.exists():
        raise DataError(
            f"{folder} is missing: run python scripts/prepare_data.py "
            f"--workloads={FOLDER} --data_dir={folder.parent}"
        )
    remedy = f"delete {folder} and prepare it again"
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text())
        found = (meta["format_version"], meta["source_sha256"], meta["counts"])
        arrays_sha256 = meta["arrays_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / META} is damaged ({error!r}): {remedy}") from error
    expected = (FORMAT_VERSION, source.wheel.sha256, source.counts)
    if found != expected:
        raise DataError(
            f"{folder / META} has format, source and counts {found}, expected {expected}: {remedy}"
        )
    try:
        digest = file_sha256(folder / ARRAYS)
    except OSError as error:
        raise DataError(f"{folder / ARRAYS} cannot be read ({error.strerror}): {remedy}") from error
    if digest != arrays_sha256:
        raise DataError(
            f"{folder / ARRAYS} is damaged (sha256 {digest}, expected {arrays_sha256}): {remedy}"
        )
