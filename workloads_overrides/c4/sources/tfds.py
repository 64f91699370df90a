"""C4 as tensorflow-datasets has prepared it, which this never does: it takes days on many machines.

`tensorflow_datasets` and TensorFlow are imported when data is read.
"""

import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import DataError
from .held_out import held_out
from .unit import BadDocuments, Unit

VERSION = "4.9.9"  # of tensorflow-datasets, that this was tried with
BUILDER = "c4/en/3.1.0"


@dataclass(frozen=True)
class TfdsSource:
    """A prepared `c4/en`; a unit is a file of it, and need not be there unless it is read.

    Attributes:
      folder: the folder of tensorflow-datasets, with `c4/en/3.1.0` in it, or that of one prepared
        data set (of any name and version, with documents as its feature "text").
    """

    folder: Path

    def facts(self) -> dict[str, Any]:
        info = _builder(self.folder).info
        return {
            "kind": "tfds",
            "name": info.full_name,
            "examples": {name: split.num_examples for name, split in sorted(info.splits.items())},
        }

    def units(self, split: str) -> list[Unit]:
        files = self._files("train" if split == "train" else "validation")
        chosen = files if split == "train" else held_out(files, split, str(self.folder))
        return [
            Unit(split, path.name, path.stat().st_size if path.is_file() else 0) for path in chosen
        ]

    def documents(self, unit: Unit, bad: BadDocuments) -> Iterator[tuple[str, int]]:
        """As of every source; the bytes read are reckoned from the number of documents."""
        split = "train" if unit.split == "train" else "validation"
        paths = self._files(split)
        number = [path.name for path in paths].index(unit.name)
        path = paths[number]
        if not path.is_file():
            raise DataError(f"{path} is missing: the data set is not whole")
        total = _builder(self.folder).info.splits[split].shard_lengths[number]
        size = path.stat().st_size
        for index, content in enumerate(_examples(self.folder, split, number, path), 1):
            try:
                yield content.decode(), size * index // total
            except UnicodeDecodeError as error:
                bad(f"{path}, document {index}", f"not UTF-8 (byte {error.start + 1})")

    def _files(self, split: str) -> list[Path]:
        splits = _builder(self.folder).info.splits
        if split not in splits:
            raise DataError(
                f"{self.folder} has no split {split!r}, only {', '.join(splits) or 'none at all'}"
            )
        return [Path(name) for name in splits[split].filepaths]


@lru_cache(maxsize=1)
def _builder(folder: Path) -> Any:
    tfds = _library("tensorflow_datasets")
    chosen = folder / BUILDER
    if not chosen.is_dir():
        chosen = folder
    if not (chosen / "dataset_info.json").is_file():
        raise DataError(
            f"{folder} is no prepared data set of tensorflow-datasets: neither it nor "
            f"{folder / BUILDER} has a dataset_info.json (nothing is built here; without one, take "
            "--source=jsonl or --source=hf)"
        )
    try:
        builder = tfds.builder_from_directory(str(chosen))
        features = list(builder.info.features)
    except Exception as error:  # its own, TensorFlow's, the system's
        raise DataError(f"{chosen} cannot be read: {_reason(error)}") from error
    if "text" not in features:
        raise DataError(f"{chosen} has the features {', '.join(features)}, but no text")
    return builder


def _examples(folder: Path, split: str, number: int, path: Path) -> Iterator[bytes]:
    """The texts of a file, in order."""
    tfds, tensorflow = _library("tensorflow_datasets"), _library("tensorflow")
    try:
        # Otherwise every worker would take all memory of a GPU, for nothing.
        tensorflow.config.set_visible_devices([], "GPU")
        builder = _builder(folder)
        options = tensorflow.data.Options()
        options.threading.private_threadpool_size = 1  # a worker has one core
        dataset = builder.as_dataset(
            split=tfds.core.ReadInstruction(split, from_=number, to=number + 1, unit="shard"),
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding({"text": builder.info.features["text"]}),
            read_config=tfds.ReadConfig(
                options=options, interleave_cycle_length=1, try_autocache=False
            ),
        )
        for example in dataset.as_numpy_iterator():
            yield example["text"]
    except Exception as error:  # its own, TensorFlow's, the system's
        raise DataError(f"cannot read {path}: {_reason(error)}") from error


def _library(name: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DataError(
            f"--source=tfds needs the package {error.name}, which is not installed: pip install "
            f"tensorflow tensorflow-datasets=={VERSION}, or run it where AlgoPerf is installed"
        ) from error


def _reason(error: BaseException) -> str:
    """One line, without TensorFlow's names of its operations."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error), flags=re.DOTALL)
    return " ".join(text.split()) or type(error).__name__
