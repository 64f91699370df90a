"""Near-duplicates and the division into splits, on images made up for it."""

import digit_wheels
import numpy as np
import pytest

from workloads_overrides import DataError
from workloads_overrides.small.images.near_duplicates import near_duplicate_groups, similarities
from workloads_overrides.small.images.splits import split_images

PER_CLASS = {"train": 4, "validation": 8, "test": 8}
SPLITS = tuple(PER_CLASS)


def plain_similarity(a, b):
    """Pixel by pixel, from the definition."""

    def blurred(image):
        padded = np.pad(image.astype(float), 1)
        weights = np.outer([1, 2, 1], [1, 2, 1])
        return np.array(
            [[(padded[i : i + 3, j : j + 3] * weights).sum() for j in range(28)] for i in range(28)]
        )

    a, b = blurred(a), blurred(b)
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def test_similarities_are_cosines_of_blurred_images():
    images, others = digit_wheels.noise(3), digit_wheels.noise(2, seed=5)
    expected = [[plain_similarity(a, b) for b in others] for a in images]
    np.testing.assert_allclose(similarities(images, others), expected, rtol=1e-12)
    np.testing.assert_allclose(np.diag(similarities(images, images)), 1.0)


def test_brightness_does_not_count_and_an_empty_image_is_like_nothing():
    image = digit_wheels.noise(1) // 2
    assert similarities(image, 2 * image)[0, 0] == pytest.approx(1.0)
    empty = np.zeros((1, 28, 28), np.uint8)
    assert similarities(empty, image)[0, 0] == 0
    assert similarities(empty, empty)[0, 0] == 0


def changed(image, pixels):
    """The image with some of its pixels another."""
    other = image.copy()
    other.reshape(-1)[pixels] ^= 255
    return other


def chain():
    """Three images of which the outer two are alike only through the middle one."""
    first = digit_wheels.noise(1)[0]
    middle = changed(first, range(0, 6))
    last = changed(middle, range(400, 406))
    return np.stack([first, middle, last])


def test_groups_are_joined_through_chains():
    images = chain()
    close = similarities(images, images)
    threshold = (close[0, 2] + min(close[0, 1], close[1, 2])) / 2
    assert close[0, 2] < threshold < close[0, 1]
    joined = np.concatenate([digit_wheels.noise(2, seed=9), images])
    np.testing.assert_array_equal(near_duplicate_groups(joined, threshold), [0, 1, 2, 2, 2])
    np.testing.assert_array_equal(near_duplicate_groups(joined[[0, 1, 2, 4]], threshold), range(4))


def test_groups_reach_across_blocks_of_the_comparison():
    images = digit_wheels.noise(1200)
    images[1100] = images[30]
    images[700] = images[1100]
    groups = near_duplicate_groups(images)
    assert set(np.flatnonzero(groups == 30)) == {30, 700, 1100}
    assert len(set(groups)) == 1198


@pytest.fixture
def pictures():
    """Two classes of 20; of the second one, six are copies and four others are copies."""
    images, labels = digit_wheels.noise(40), np.repeat([0, 1], 20)
    images[21:26] = images[20]
    images[31:34] = images[30]
    return images, labels


def test_splits_are_complete_disjoint_and_balanced(pictures):
    images, labels = pictures
    splits = split_images(images, labels, PER_CLASS)
    assert tuple(splits) == SPLITS
    joined = np.concatenate(list(splits.values()))
    np.testing.assert_array_equal(np.sort(joined), range(40))
    for name, ids in splits.items():
        np.testing.assert_array_equal(np.bincount(labels[ids]), [PER_CLASS[name]] * 2)


def test_copies_stay_together_in_large_splits(pictures):
    images, labels = pictures
    for split in split_images(images, labels, PER_CLASS).values():
        assert len({*range(20, 26)} & {*split}) in (0, 6)
        assert len({*range(30, 34)} & {*split}) in (0, 4)
    assert not {*range(20, 26), *range(30, 34)} & {
        *split_images(images, labels, PER_CLASS)["train"]
    }


def test_the_order_in_the_file_does_not_matter(pictures):
    images, labels = pictures
    order = np.random.default_rng(0).permutation(40)
    first = split_images(images, labels, PER_CLASS)
    second = split_images(images[order], labels[order], PER_CLASS)
    for name in SPLITS:
        np.testing.assert_array_equal(images[first[name]], images[order][second[name]])
        np.testing.assert_array_equal(labels[first[name]], labels[order][second[name]])


def test_a_splits_order_says_nothing_of_its_classes(pictures):
    images, labels = pictures
    splits = split_images(images, labels, PER_CLASS)
    changes = [np.count_nonzero(np.diff(labels[ids])) for ids in splits.values()]
    assert sum(changes) > 6, "sorted by class there would be one change in each"


@pytest.mark.parametrize("per_class", [PER_CLASS | {"test": 7}, PER_CLASS | {"test": 9}])
def test_other_numbers_than_there_are(pictures, per_class):
    with pytest.raises(DataError, match=r"class 0 do not divide .* 20 in 20 groups"):
        split_images(*pictures, per_class)


def test_a_group_that_is_too_large_for_every_split(pictures):
    images, labels = pictures
    images[20:29] = images[20]
    with pytest.raises(DataError, match="class 1 do not divide"):
        split_images(images, labels, PER_CLASS)


def test_copies_with_different_labels_are_an_error(pictures):
    images, labels = pictures
    images[26] = images[5]
    with pytest.raises(DataError, match=r"different labels: \[0, 1\]"):
        split_images(images, labels, PER_CLASS)
