"""The prepared data set itself: sizes, leakage between splits, labels and graphs."""

import json

import numpy as np
import pytest
from rdkit import Chem

from workloads_overrides.small.ogbg import dataset, features
from workloads_overrides.small.ogbg.labels import QUANTILES
from workloads_overrides.small.ogbg.source import CHEMICALS, PROPERTIES

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def smiles(data_dir):
    with np.load(data_dir / "ogbg_small" / "arrays.npz") as arrays:
        return [name.decode() for name in arrays["smiles"]]


def test_about_twenty_thousand_molecules_in_eight_to_one_to_one(molecules):
    counts = [len(molecules.split_range(split)) for split in SPLITS]
    assert counts == [CHEMICALS.num_train, CHEMICALS.num_validation, CHEMICALS.num_test]
    assert sum(counts) == len(molecules.n_node) == len(molecules.labels) == 20060
    np.testing.assert_allclose(np.array(counts) / sum(counts), [0.8, 0.1, 0.1], atol=0.01)


def test_split_ranges_cut_the_molecules_without_gap_or_overlap(molecules):
    joined = [i for split in SPLITS for i in molecules.split_range(split)]
    assert joined == list(range(len(molecules.n_node)))
    with pytest.raises(ValueError, match="'dev'; allowed: train, validation, test"):
        molecules.split_range("dev")


def test_no_molecule_and_no_skeleton_is_in_two_splits(molecules, smiles):
    assert len(set(smiles)) == len(smiles)
    skeletons, flat = {}, {}
    for split in SPLITS:
        ids = molecules.split_range(split)
        parsed = [Chem.MolFromSmiles(smiles[i]) for i in ids]
        skeletons[split] = {Chem.MolToInchiKey(molecule)[:14] for molecule in parsed}
        flat[split] = {Chem.MolToSmiles(molecule, isomericSmiles=False) for molecule in parsed}
    for first, second in (SPLITS[:2], SPLITS[1:], SPLITS[::2]):
        assert not skeletons[first] & skeletons[second]
        assert not flat[first] & flat[second]


def test_no_graph_of_a_held_out_split_is_also_in_training(molecules):
    def keys(split):
        for i in molecules.split_range(split):
            nodes = slice(molecules.node_start[i], molecules.node_start[i] + molecules.n_node[i])
            edges = slice(molecules.edge_start[i], molecules.edge_start[i] + molecules.n_edge[i])
            arrays = (molecules.nodes[nodes], molecules.edges[edges], molecules.senders[edges])
            yield b"|".join(array.tobytes() for array in arrays)

    train = set(keys("train"))
    for split in SPLITS[1:]:
        assert not train & set(keys(split))


def test_training_labels_have_the_frequencies_of_their_quantiles(molecules):
    labels = molecules.labels[list(molecules.split_range("train"))]
    measured = labels.reshape(len(labels), len(PROPERTIES), len(QUANTILES))
    frequencies = np.nanmean(measured, axis=0)
    np.testing.assert_allclose(frequencies, 1 - np.tile(QUANTILES, (5, 1)), atol=0.015)


def test_every_label_has_both_classes_in_every_split(molecules):
    for split in SPLITS:
        labels = molecules.labels[list(molecules.split_range(split))]
        assert (np.nansum(labels, axis=0) >= 10).all()
        assert ((labels == 0).sum(axis=0) >= 100).all()


def test_the_labels_of_a_property_are_measured_together_and_nested(molecules):
    labels = molecules.labels.reshape(-1, len(PROPERTIES), len(QUANTILES))
    unmeasured = np.isnan(labels)
    assert (unmeasured == unmeasured[:, :, :1]).all()
    assert not unmeasured.all(axis=(1, 2)).any()
    assert (np.diff(np.nan_to_num(labels), axis=2) <= 0).all()


def test_every_graph_is_a_molecule(molecules):
    assert (molecules.n_node >= 2).all()
    assert molecules.n_node.max() == 32
    assert len(molecules.nodes) == molecules.n_node.sum()
    assert len(molecules.edges) == molecules.n_edge.sum() == len(molecules.receivers)
    owner = np.repeat(np.arange(len(molecules.n_edge)), molecules.n_edge)
    assert (molecules.receivers < molecules.n_node[owner]).all()
    assert (molecules.senders < molecules.n_node[owner]).all()
    forward = np.stack([owner, molecules.receivers, molecules.senders])
    order = np.lexsort(forward[::-1])
    assert (order == np.arange(len(order))).all(), "ascending by molecule, receiver, sender"
    backward = forward[[0, 2, 1]]
    assert (backward[:, np.lexsort(backward[::-1])] == forward).all(), "bonds lead both ways"


def test_features_are_category_indices(molecules):
    for columns, values in (
        (molecules.nodes.T, features.ATOM_FEATURES.values()),
        (molecules.edges.T, features.BOND_FEATURES.values()),
    ):
        for column, allowed in zip(columns, values, strict=True):
            assert set(np.unique(column)) <= set(range(len(allowed)))
            assert len(np.unique(column)) >= 2


@pytest.mark.parametrize("index", [0, 5000, 17000, 20059])
def test_stored_graphs_are_those_of_the_stored_structures(molecules, smiles, index):
    graph = features.molecule_graph(Chem.MolFromSmiles(smiles[index]))
    start, size = molecules.node_start[index], molecules.n_node[index]
    np.testing.assert_array_equal(molecules.nodes[start : start + size], graph.nodes)
    start, size = molecules.edge_start[index], molecules.n_edge[index]
    for name in ("edges", "receivers", "senders"):
        stored = getattr(molecules, name)[start : start + size]
        np.testing.assert_array_equal(stored, getattr(graph, name))


def test_it_is_read_once_per_process(data_dir, molecules):
    assert dataset.load(str(data_dir)) is molecules


def test_the_source_is_pinned(data_dir):
    meta = json.loads((data_dir / "ogbg_small" / "meta.json").read_text())
    assert meta["source_sha256"] == CHEMICALS.wheel.sha256
    assert meta["source"] == "chemicals==1.5.2"
