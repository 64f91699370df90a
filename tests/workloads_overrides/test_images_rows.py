"""Batches of images against a loop over pixels: normalisation, random shifts, exact evaluation."""

import digit_wheels
import images_data
import numpy as np
import pytest

from workloads_overrides import import_workload
from workloads_overrides.base.rows import eval_batches, train_batches
from workloads_overrides.small.images.dataset import TRAIN_MEAN, TRAIN_STDDEV
from workloads_overrides.small.images.rows import ImageRows

MAX_SHIFT = 3
SHIFTS = 2 * MAX_SHIFT + 1


@pytest.fixture(scope="module")
def rows():
    return ImageRows(digit_wheels.noise(30), np.arange(30) % 10, MAX_SHIFT)


def shifted(image, down, right):
    """Pixel by pixel, in float64: what comes in from outside is background (0)."""
    out = np.zeros((28, 28))
    for y in range(28):
        for x in range(28):
            if 0 <= y - down < 28 and 0 <= x - right < 28:
                out[y, x] = image[y - down, x - right]
    return (out - TRAIN_MEAN) / TRAIN_STDDEV


def test_without_augmentation_an_image_is_only_normalised(rows):
    ids = np.array([3, 29, 3])
    batch = rows.batch(ids, None)
    expected = [shifted(digit_wheels.noise(30)[i], 0, 0) for i in ids]
    np.testing.assert_allclose(batch["inputs"][..., 0], expected, atol=1e-6)
    np.testing.assert_array_equal(batch["targets"], [3, 9, 3])


def test_shapes_and_types(rows):
    for rng in (None, np.random.default_rng(0)):
        batch = rows.batch(np.arange(6), rng)
        assert {name: (x.shape, x.dtype.name) for name, x in batch.items()} == {
            "inputs": ((6, 28, 28, 1), "float32"),
            "targets": ((6,), "int32"),
            "weights": ((6,), "float32"),
        }
        assert (batch["weights"] == 1).all()
    assert len(rows) == 30


def test_augmentation_against_a_loop(rows):
    """The same draws, shifted pixel by pixel."""
    ids = np.arange(30)
    batch = rows.batch(ids, np.random.default_rng(7))
    corners = np.random.default_rng(7).integers(0, SHIFTS, (2, 30))
    for i, (y, x) in enumerate(corners.T):
        expected = shifted(digit_wheels.noise(30)[i], MAX_SHIFT - y, MAX_SHIFT - x)
        np.testing.assert_allclose(batch["inputs"][i, ..., 0], expected, atol=1e-6)
    np.testing.assert_array_equal(batch["targets"], ids % 10)


def test_every_shift_is_as_likely():
    """One bright pixel in the middle tells where it went."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 14, 14] = 255
    rows = ImageRows(image, np.zeros(1), MAX_SHIFT)
    count = 200 * SHIFTS**2
    inputs = rows.batch(np.zeros(count, np.int64), np.random.default_rng(0))["inputs"]
    places = inputs[..., 0].reshape(count, -1).argmax(1)
    y, x = np.divmod(places, 28)
    assert (np.abs(y - 14) <= MAX_SHIFT).all()
    seen = np.bincount((y - 14 + MAX_SHIFT) * SHIFTS + x - 14 + MAX_SHIFT, minlength=SHIFTS**2)
    chi_square = ((seen - 200) ** 2 / 200).sum()
    degrees = SHIFTS**2 - 1
    assert abs(chi_square - degrees) < 4 * np.sqrt(2 * degrees)


def test_a_batch_is_a_function_of_seed_and_number(rows):
    stream = train_batches(rows, 12, seed=5)
    batches = [next(stream) for _ in range(4)]
    later = next(train_batches(rows, 12, seed=5, start=3))
    other = next(train_batches(rows, 12, seed=6, start=3))
    for name in later:
        np.testing.assert_array_equal(later[name], batches[3][name])
    assert (later["inputs"] != other["inputs"]).any()


def test_an_image_is_shifted_anew_in_every_pass(rows):
    first, second = [], []
    stream = train_batches(rows, 30, seed=5)
    for images in (first, second):
        batch = next(stream)
        order = np.argsort(batch["targets"], kind="stable")
        images.append(batch["inputs"][order])
    assert np.isin(first[0].sum((1, 2, 3)).round(3), second[0].sum((1, 2, 3)).round(3)).mean() < 0.9


def test_changing_a_batch_does_not_change_the_rows(rows):
    before = rows.batch(np.arange(30), None)
    rows.batch(np.arange(30), None)["inputs"][:] = 0
    rows.batch(np.arange(30), np.random.default_rng(0))["inputs"][:] = 0
    np.testing.assert_array_equal(rows.batch(np.arange(30), None)["inputs"], before["inputs"])


def test_evaluation_sees_every_image_once_and_unshifted(rows):
    batches = list(eval_batches(rows, 30, 8))
    inputs = np.concatenate([batch["inputs"] for batch in batches])
    weights = np.concatenate([batch["weights"] for batch in batches])
    np.testing.assert_array_equal(weights, [1] * 30 + [0] * 2)
    np.testing.assert_array_equal(inputs[:30], rows.batch(np.arange(30), None)["inputs"])


@pytest.fixture(params=images_data.NAMES)
def image_workload(request):
    return import_workload(request.param, "jax")


@pytest.mark.parametrize("split", ["train", "eval_train", "validation", "test"])
def test_rows_of_the_real_splits(image_workload, split):
    rows = image_workload._rows(split, images_data.data_dir())
    images, labels = images_data.images().split(split.removeprefix("eval_"))
    ids = np.array([0, len(labels) - 1])
    batch = rows.batch(ids, None)
    expected = [shifted(images[i], 0, 0) for i in ids]
    np.testing.assert_allclose(batch["inputs"][..., 0], expected, atol=1e-6)
    np.testing.assert_array_equal(batch["targets"], labels[ids])
    assert len(rows) == len(labels)
    assert rows.max_shift == image_workload.max_shift
    assert image_workload._rows(split, images_data.data_dir()) is rows


def test_training_images_as_evaluated_have_mean_zero_and_variance_one(image_workload):
    rows = image_workload._rows("eval_train", images_data.data_dir())
    inputs = rows.batch(np.arange(len(rows)), None)["inputs"]
    assert inputs.mean(dtype=np.float64) == pytest.approx(0, abs=1e-3)
    assert inputs.std(dtype=np.float64) == pytest.approx(1, abs=1e-3)
