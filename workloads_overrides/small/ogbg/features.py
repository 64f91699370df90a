"""SMILES to graphs with the feature sets of OGB's molecule data sets (ogbg-molpcba).

A feature is the index of its value in the list below, or the last index for any other value.
The lists are OGB's; code and storage (uint8, edges sorted by receiver) are this project's own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem

ATOM_FEATURES: dict[str, list] = {
    "atomic_num": [*range(1, 119), "misc"],
    "chirality": [
        "CHI_UNSPECIFIED",
        "CHI_TETRAHEDRAL_CW",
        "CHI_TETRAHEDRAL_CCW",
        "CHI_OTHER",
        "misc",
    ],
    "degree": [*range(11), "misc"],
    "formal_charge": [*range(-5, 6), "misc"],
    "num_hydrogens": [*range(9), "misc"],
    "num_radical_electrons": [*range(5), "misc"],
    "hybridization": ["SP", "SP2", "SP3", "SP3D", "SP3D2", "misc"],
    "is_aromatic": [False, True],
    "is_in_ring": [False, True],
}
BOND_FEATURES: dict[str, list] = {
    "bond_type": ["SINGLE", "DOUBLE", "TRIPLE", "AROMATIC", "misc"],
    "stereo": [
        "STEREONONE",
        "STEREOZ",
        "STEREOE",
        "STEREOCIS",
        "STEREOTRANS",
        "STEREOANY",
    ],
    "is_conjugated": [False, True],
}


class MoleculeGraph(NamedTuple):
    """One molecule, both directions of every bond, edges in ascending (receiver, sender) order."""

    nodes: np.ndarray  # (atoms, 9) uint8
    edges: np.ndarray  # (2 * bonds, 3) uint8
    receivers: np.ndarray  # (2 * bonds,) int32
    senders: np.ndarray  # (2 * bonds,) int32


def _indexer(values: Sequence) -> tuple[dict, int]:
    return {value: index for index, value in enumerate(values)}, len(values) - 1


_ATOM_INDEX = [_indexer(values) for values in ATOM_FEATURES.values()]
_BOND_INDEX = [_indexer(values) for values in BOND_FEATURES.values()]


def molecule_graph(molecule: Chem.Mol) -> MoleculeGraph:
    """The graph of a sanitised molecule without explicit hydrogens."""
    nodes = [_indices(_ATOM_INDEX, _atom_values(atom)) for atom in molecule.GetAtoms()]
    edges = []
    for bond in molecule.GetBonds():
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        feature = _indices(_BOND_INDEX, _bond_values(bond))
        edges += [(end, begin, *feature), (begin, end, *feature)]
    table = np.array(sorted(edges), np.int32).reshape(-1, 2 + len(BOND_FEATURES))
    return MoleculeGraph(
        nodes=np.array(nodes, np.uint8),
        edges=table[:, 2:].astype(np.uint8),
        receivers=table[:, 0],
        senders=table[:, 1],
    )


def _indices(indexers: list[tuple[dict, int]], values: tuple) -> list[int]:
    return [index.get(value, last) for (index, last), value in zip(indexers, values, strict=True)]


def _atom_values(atom: Chem.Atom) -> tuple:
    return (
        atom.GetAtomicNum(),
        atom.GetChiralTag().name,
        atom.GetTotalDegree(),
        atom.GetFormalCharge(),
        atom.GetTotalNumHs(),
        atom.GetNumRadicalElectrons(),
        atom.GetHybridization().name,
        atom.GetIsAromatic(),
        atom.IsInRing(),
    )


def _bond_values(bond: Chem.Bond) -> tuple:
    return (bond.GetBondType().name, bond.GetStereo().name, bond.GetIsConjugated())
