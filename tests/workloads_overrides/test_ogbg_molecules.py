"""From tables to molecules, graphs and labels, on compounds made up for it."""

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from workloads_overrides.small.ogbg import features, graphs
from workloads_overrides.small.ogbg.labels import LABEL_NAMES, QUANTILES, labels, thresholds
from workloads_overrides.small.ogbg.molecules import (
    skeleton_position,
    split_of,
    unique_molecules,
)
from workloads_overrides.small.ogbg.source import PROPERTIES
from workloads_overrides.small.ogbg.tables import read_compounds


@pytest.fixture
def compounds(wheel_file):
    return read_compounds(wheel_file)


def unique(rows):
    """unique_molecules of (SMILES, Tm) pairs."""
    table = pd.DataFrame(rows, columns=["smiles", "Tm"]).assign(Tb=np.nan, logP=1.0, rho=1, RI=1)
    return unique_molecules(table, lambda fraction: None)


def test_tables_are_joined_by_cas_number_and_the_first_table_wins(compounds):
    assert list(compounds.columns) == ["smiles", *PROPERTIES]
    ethanol = compounds.loc["1-00-0"]
    assert ethanol["smiles"] == "OCC"
    assert ethanol["Tm"] == 100  # CRC's, not OpenNotebook's 999
    assert ethanol["Tb"] == 351.4  # CRC has none, Yaws does
    assert compounds.loc["2-00-0", "Tb"] == 201  # CRC's, not Yaws' 999
    assert compounds.loc["5-00-0", "logP"] == 2.13  # Syrres', compressed, before CRC's 9
    assert compounds.loc["5-00-0", "RI"] == 1.5011
    assert "99-00-0" not in compounds.index  # a value without a structure


def test_unmeasured_values_are_nan(compounds):
    assert np.isnan(compounds.loc["7-00-0", "logP"])
    assert np.isnan(compounds.loc["3-00-0", "Tb"])


def test_one_molecule_under_two_numbers_gets_the_mean(compounds):
    result = unique_molecules(compounds, lambda fraction: None)
    values = dict(zip(result.smiles, result.values, strict=True))
    np.testing.assert_allclose(values["CCO"], [100.5, (351.4 + 201) / 2, -0.3, 800.5, 1.005])


def test_what_is_kept(compounds):
    """Not the salt, nor water, the unreadable structure, and the one with 33 atoms."""
    result = unique_molecules(compounds, lambda fraction: None)
    expected = {"CCO", "CC[C@H](C)O", "CC[C@@H](C)O", "c1ccccc1", "CC(=O)O", "CCCC", "CC#N"}
    assert set(result.smiles) == expected
    assert len(result.smiles) == len(expected)


def test_order_and_splits_depend_on_each_molecule_only():
    names = ["C" * n for n in range(2, 30)]
    forward = unique([(name, 1.0) for name in names])
    backward = unique([(name, 1.0) for name in reversed(names[::2])])
    assert forward.counts["train"] > 15
    assert [name for name in forward.smiles if name in backward.smiles] == backward.smiles
    positions = [skeleton_position(molecule) for molecule in forward.molecules]
    assert positions == sorted(positions)
    bounds = np.cumsum([0, *forward.counts.values()])
    for split, start, end in zip(forward.counts, bounds, bounds[1:], strict=False):
        assert {split_of(position) for position in positions[start:end]} <= {split}


@pytest.mark.parametrize(
    "relatives",
    [
        ["CC[C@H](C)O", "CC[C@@H](C)O", "CCC(C)O"],  # stereoisomers
        ["C/C=C/C", "C/C=C\\C", "CC=CC"],
        ["CC(=O)O", "CC(=O)[O-]"],  # deprotonated
        ["CCN", "CC[NH3+]"],  # protonated
        ["C(Cl)(Cl)Cl", "[2H]C(Cl)(Cl)Cl"],  # isotopes
        ["Oc1ccncc1", "O=c1cc[nH]cc1"],  # tautomers by a mobile hydrogen
    ],
)
def test_near_duplicates_share_a_split(relatives):
    molecules = [Chem.MolFromSmiles(smiles) for smiles in relatives]
    assert len({Chem.MolToSmiles(molecule) for molecule in molecules}) == len(relatives)
    assert len({skeleton_position(molecule) for molecule in molecules}) == 1


def test_splits_by_position():
    assert [split_of(x) for x in (0.0, 0.79, 0.8, 0.89, 0.9, 0.999)] == [
        "train",
        "train",
        "validation",
        "validation",
        "test",
        "test",
    ]


def test_feature_counts_are_what_the_models_are_built_for():
    assert len(features.ATOM_FEATURES) == graphs.NODE_FEATURES
    assert len(features.BOND_FEATURES) == graphs.EDGE_FEATURES


def decoded(smiles):
    """A molecule's features as values instead of indices, and its edges as pairs."""
    graph = features.molecule_graph(Chem.MolFromSmiles(smiles))
    atoms = [
        {
            name: values[i]
            for (name, values), i in zip(features.ATOM_FEATURES.items(), row, strict=True)
        }
        for row in graph.nodes
    ]
    pairs = list(zip(graph.senders.tolist(), graph.receivers.tolist(), strict=True))
    bonds = {
        pair: [values[i] for values, i in zip(features.BOND_FEATURES.values(), row, strict=True)]
        for pair, row in zip(pairs, graph.edges, strict=True)
    }
    return atoms, bonds


def test_features_of_acetonitrile():
    atoms, bonds = decoded("CC#N")
    assert atoms[0] == {
        "atomic_num": 6,
        "chirality": "CHI_UNSPECIFIED",
        "degree": 4,  # OGB counts hydrogens
        "formal_charge": 0,
        "num_hydrogens": 3,
        "num_radical_electrons": 0,
        "hybridization": "SP3",
        "is_aromatic": False,
        "is_in_ring": False,
    }
    assert [atom["hybridization"] for atom in atoms] == ["SP3", "SP", "SP"]
    assert [atom["atomic_num"] for atom in atoms] == [6, 6, 7]
    single, triple = ["SINGLE", "STEREONONE", False], ["TRIPLE", "STEREONONE", False]
    assert bonds == {(0, 1): single, (1, 0): single, (1, 2): triple, (2, 1): triple}


def test_features_of_rings_charges_radicals_and_stereochemistry():
    atoms, bonds = decoded("c1ccccc1")
    assert all(atom["is_aromatic"] and atom["is_in_ring"] for atom in atoms)
    assert all(bond == ["AROMATIC", "STEREONONE", True] for bond in bonds.values())
    assert len(bonds) == 12
    assert [atom["formal_charge"] for atom in decoded("C[N+](=O)[O-]")[0]] == [0, 1, 0, -1]
    assert decoded("[CH2]C")[0][0]["num_radical_electrons"] == 1
    assert decoded("C[C@H](O)N")[0][1]["chirality"] == "CHI_TETRAHEDRAL_CCW"
    assert decoded("C/C=C/C")[1][1, 2] == ["DOUBLE", "STEREOE", False]


def test_values_outside_the_lists_count_as_the_last():
    atoms, bonds = decoded("[Na+]")
    assert atoms[0]["hybridization"] == "misc"
    assert bonds == {}
    assert decoded("N->[Pt]")[1][0, 1][0] == "misc"


def test_edges_are_sorted_by_receiver():
    graph = features.molecule_graph(Chem.MolFromSmiles("OC(C)(C)c1ccccc1"))
    keys = list(zip(graph.receivers, graph.senders, strict=True))
    assert keys == sorted(keys)
    assert set(keys) == {(s, r) for r, s in keys}


def test_thresholds_are_quantiles_of_the_measured_training_values():
    values = np.tile(np.arange(101.0)[:, None], len(PROPERTIES))
    values[::2, 1] = np.nan
    limits = thresholds(values)
    assert limits.shape == (5, 6)
    np.testing.assert_allclose(limits[0], np.array(QUANTILES) * 100)
    np.testing.assert_allclose(limits[1], 1 + np.array(QUANTILES) * 98)


def test_labels_exceed_their_limit_and_are_nan_where_unmeasured():
    values = np.array([[1.0, 5.0], [2.0, np.nan]])
    limits = np.array([[0.5, 1.0], [4.0, 6.0]])
    expected = [[1, 0, 1, 0], [1, 1, np.nan, np.nan]]
    result = labels(values, limits)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == np.float32


def test_label_names_follow_the_labels_order():
    assert len(set(LABEL_NAMES)) == 30
    assert LABEL_NAMES[:2] == ("Tm>q0.7", "Tm>q0.75")
    assert LABEL_NAMES[-1] == "RI>q0.95"
