"""Made-up and real data for the tests of `wmt_small`."""

import json
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

from workloads_overrides.base.files import file_sha256
from workloads_overrides.small.prepared import Prepared
from workloads_overrides.small.wheel import Wheel
from workloads_overrides.small.wmt import dataset

REPOSITORY = Path(__file__).resolve().parents[2]
CATALOGUE = "indico/translations/de_DE/LC_MESSAGES/messages.mo"

# 120 sentences of two and three words, no two of which are nearly the same.
_THINGS = (
    "Lampe/lamp Heizung/heating Tür/door Fenster/window Wecker/alarm Garten/garden Auto/car "
    "Keller/basement Drucker/printer Konto/account Kalender/calendar Vortrag/talk Raum/room "
    "Sitzung/session Gast/guest"
)
_ACTIONS = (
    "öffnen/open schließen/close löschen/delete anzeigen/show suchen/search kopieren/copy "
    "verschieben/move bestätigen/confirm"
)
THINGS, ACTIONS = (dict(pair.split("/") for pair in words.split()) for words in (_THINGS, _ACTIONS))
SENTENCES = {
    f"{thing} {action}": f"{ACTIONS[action].title()} the {THINGS[thing]}"
    for thing in THINGS
    for action in ACTIONS
}


def catalogue(entries: dict[str, str]) -> bytes:
    """GNU gettext's binary format; plurals and contexts are written out in the strings."""
    items = [(key.encode(), text.encode()) for key, text in sorted(entries.items())]
    start = 28 + 16 * len(items)
    strings, tables = b"", ([], [])
    for column in (0, 1):
        for item in items:
            tables[column].append((len(item[column]), start + len(strings)))
            strings += item[column] + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, len(items), 28, 28 + 8 * len(items), 0, 0)
    rows = [struct.pack("<2I", *row) for table in tables for row in table]
    return header + b"".join(rows) + strings


def write_wheel(path: Path, files: dict[str, str | bytes]) -> Wheel:
    """A wheel that pip accepts, with these files."""
    name, version = path.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file), content)
    return Wheel(f"{name}=={version}", path.name, file_sha256(path))


def write_wheels(folder: Path) -> tuple[Wheel, Wheel]:
    """Half of the sentences in each of two wheels."""
    sentences = list(SENTENCES.items())
    half = len(sentences) // 2
    english = dict(sentences[:half])
    german = {german: german for german, _ in sentences[:half]}
    translations = "homeassistant/components/light/translations"
    home = {
        f"{translations}/de.json": json.dumps({"config": {"step": german}}),
        f"{translations}/en.json": json.dumps({"config": {"step": english}}),
    }
    indico = {CATALOGUE: catalogue({english: german for german, english in sentences[half:]})}
    return (
        write_wheel(folder / "homeassistant-2024.3.3-py3-none-any.whl", home),
        write_wheel(folder / "indico-3.3.14-py3-none-any.whl", dict(indico)),
    )


def copying(folder: Path) -> Any:
    """A `fetch` that takes wheels from a folder."""
    return lambda wheel, target: Path(shutil.copy(folder / wheel.filename, target))


def mini(**facts: Any) -> Prepared:
    """What the two wheels give, or what `facts` say instead."""
    expected = {"vocab_size": 120, "length": 24, "rows": ROWS, "train_pairs": TRAIN_PAIRS}
    return Prepared("wmt_small", "wmt_small", {**expected, **facts}, dataset.WMT_SMALL.files)


ROWS, TRAIN_PAIRS = [46, 8, 1, 5], 114


def data_dir() -> str:
    """The real data, prepared once into <repository>/data."""
    import workload_cases as cases  # which imports JAX and PyTorch: preparing data does not

    return cases.data_dir("wmt_small")
