"""C4 from the Hugging Face Hub, by the optional package `datasets`, without storing its files.

`datasets` is imported when the source is made. No other part of this project needs it.
"""

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import DataError
from .held_out import held_out
from .unit import BadDocuments, Unit

VERSION = "5.2.0"  # of `datasets`, that this was tried with
_ADDRESS = re.compile(r"hf://datasets/[^@]+@(?P<revision>[^/]+)/(?P<name>.+)")


class HfSource:
    """The files of a data set of JSON lines on the Hub, or of a local folder of the same form.

    A unit is a file, such as `en/c4-train.00000-of-01024.json.gz`, and is read over the network
    while it is tokenised: only files that a preparation needs are ever fetched, and a file that
    was interrupted is fetched anew. Sizes are unknown.
    """

    def __init__(
        self, dataset: str = "allenai/c4", config: str = "en", revision: str | None = None
    ) -> None:
        """Looks up the files' names.

        Args:
          dataset: its name on the Hub, or a local folder.
          config: the configuration of it.
          revision: a commit of it on the Hub; the newest if None. `facts` has which it is.

        Raises DataError, one line, if `datasets` is not installed or the data set not found.
        """
        self._dataset, self._config, self._revision = dataset, config, revision
        self._is_local = os.path.isdir(dataset)
        # By split, {name: address}. Here, so that workers need not look them up again.
        self._files: dict[str, dict[str, str]] = {}
        library = _library()
        try:
            builder = library.load_dataset_builder(dataset, config, revision=revision)
            found: Mapping[Any, Any] = builder.config.data_files or {}
        except Exception as error:  # its own, the Hub client's, the system's
            raise DataError(
                f"cannot find the data set {dataset} ({config}): {_reason(error)}; check its name "
                "and the network, or fetch its files by other means and take --source=jsonl"
            ) from error
        for split, addresses in found.items():
            self._files[str(split)] = {self._name(address): address for address in addresses}

    def facts(self) -> dict[str, Any]:
        return {
            "kind": "hf",
            "dataset": os.path.basename(self._dataset) if self._is_local else self._dataset,
            "config": self._config,
            "revision": self._revision,
        }

    def units(self, split: str) -> list[Unit]:
        where = f"the data set {self._dataset} ({self._config})"
        names = sorted(self._files.get("train" if split == "train" else "validation", ()))
        if split != "train":
            names = held_out(names, split, where)
        if not names:
            raise DataError(f"{where} has no files of the split {split!r}")
        return [Unit(split, name, 0) for name in names]

    def documents(self, unit: Unit, bad: BadDocuments) -> Iterator[tuple[str, int]]:
        """As of every source; what is counted as read are the bytes of text."""
        address = self._files["train" if unit.split == "train" else "validation"][unit.name]
        read = 0
        for number, example in enumerate(_examples(unit.name, address), 1):
            text = example.get("text")
            if not isinstance(text, str):
                bad(f"{unit.name}, document {number}", 'no "text" string')
                continue
            read += len(text.encode())
            yield text, read

    def _name(self, address: str) -> str:
        """A file's path within the data set. Addresses on the Hub have the commit too, which is
        the same in all of them."""
        if self._is_local:
            return os.path.relpath(address, self._dataset)
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise DataError(f"{address} of the data set {self._dataset} is no file on the Hub")
        self._revision = match["revision"]
        return match["name"]


def _examples(name: str, address: str) -> Iterator[Mapping[str, Any]]:
    """The lines of a file, as they come."""
    try:
        yield from _library().load_dataset(
            "json", data_files=[address], split="train", streaming=True
        )
    except Exception as error:  # its own, the Hub client's, the system's
        raise DataError(
            f"cannot read {name}: {_reason(error)}; if that was the network, the same command "
            "keeps what is finished and goes on"
        ) from error


def _library() -> Any:
    try:
        library = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise DataError(
            f"--source=hf needs the package {error.name}, which is not installed: pip install "
            f"datasets=={VERSION}, or fetch C4's files by other means and take --source=jsonl"
        ) from error
    library.disable_progress_bars()
    library.logging.set_verbosity(library.logging.CRITICAL)  # its errors are told in one line here
    return library


def _reason(error: BaseException) -> str:
    """One line; the cause too, which its own errors often hide."""
    texts = [" ".join(str(e).split()) or type(e).__name__ for e in (error, error.__cause__) if e]
    return ": ".join(dict.fromkeys(texts))
