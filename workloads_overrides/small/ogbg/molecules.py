"""From compounds to molecules: which are kept, which are the same, and which split each is in.

This project's own choices:

* Kept: what RDKit reads, with carbon, one connected component, 2 to MAX_ATOMS heavy atoms.
* Compounds with one canonical (isomeric) SMILES are one molecule; its values are their means.
* The split is by a hash of the molecule's skeleton, the first block of its InChIKey: formula
  and connectivity without stereochemistry, isotopes, charge by protons, or mobile hydrogens.
  Stereoisomers, isotopomers, tautomers and protonated or deprotonated forms, which have nearly
  the same properties and nearly the same graph, thus lie on one side, and where a molecule
  lies depends on nothing but itself. Salts and mixtures, which would repeat a molecule, have
  several components and are left out. A scaffold split, as ogbg-molpcba has it, does not fit
  here: a third of these small molecules has no ring and so shares one scaffold, the empty one.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from rdkit import Chem, rdBase

from .source import PROPERTIES

MAX_ATOMS = 32
SPLIT_ENDS: dict[str, float] = {"train": 0.8, "validation": 0.9, "test": 1.0}


class UniqueMolecules(NamedTuple):
    """n molecules in an order that is as good as random and depends on each molecule only.

    The splits are contiguous blocks, in the order of SPLIT_ENDS.
    """

    smiles: list[str]  # canonical
    molecules: list[Chem.Mol]
    values: np.ndarray  # (n, properties) float64, NaN where unmeasured
    counts: dict[str, int]  # molecules per split


def unique_molecules(compounds: pd.DataFrame, progress: Callable[[float], None]) -> UniqueMolecules:
    """The molecules to keep of `compounds`, which `tables.read_compounds` returns.

    `progress` is called with the fraction done.
    """
    molecules: dict[str, Chem.Mol] = {}
    names: list[str | None] = []
    # RDKit reports each unreadable structure on stderr; those are left out on purpose.
    with rdBase.BlockLogs():
        for row, smiles in enumerate(compounds["smiles"]):
            molecule = Chem.MolFromSmiles(smiles)
            name = Chem.MolToSmiles(molecule) if _is_kept(molecule) else None
            if name is not None and name not in molecules:
                # Read again, so that the order of atoms depends on the molecule only.
                molecules[name] = Chem.MolFromSmiles(name)
            names.append(name)
            if row % 500 == 0:
                progress(row / len(compounds))
        positions = {name: skeleton_position(molecules[name]) for name in molecules}
    means = pd.DataFrame(compounds.groupby(np.array(names, object))[list(PROPERTIES)].mean())
    order = sorted(molecules, key=lambda name: (positions[name], name))
    splits = Counter(split_of(position) for position in positions.values())
    return UniqueMolecules(
        smiles=order,
        molecules=[molecules[name] for name in order],
        values=means.reindex(order).to_numpy(np.float64),
        counts={split: splits[split] for split in SPLIT_ENDS},
    )


def _is_kept(molecule: Chem.Mol | None) -> bool:
    return (
        molecule is not None
        and 2 <= molecule.GetNumAtoms() <= MAX_ATOMS
        and any(atom.GetAtomicNum() == 6 for atom in molecule.GetAtoms())
        and len(Chem.GetMolFrags(molecule)) == 1
    )


def skeleton_position(molecule: Chem.Mol) -> float:
    """A number in [0, 1) that depends on the molecule's InChI skeleton only."""
    skeleton = Chem.MolToInchiKey(molecule)[:14]
    return int(hashlib.sha256(skeleton.encode()).hexdigest()[:13], 16) / 16**13


def split_of(position: float) -> str:
    """The split that a position in [0, 1) lies in."""
    return next(split for split, end in SPLIT_ENDS.items() if position < end)
