"""Reads German strings with their English originals from wheels, as data.

* Home Assistant: `homeassistant/components/<name>/translations/[<platform>.]{de,en}.json`, nested
  objects; strings at the same path of keys belong together.
* Indico: `indico/translations/de_DE/LC_MESSAGES/messages.mo`, GNU gettext's binary catalogue
  (https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html); a plural is a pair of its
  own.
"""

import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_GERMAN_JSON = re.compile(r"homeassistant/components/\w+/translations/(\w+\.)?de\.json")
_CATALOGUE = "indico/translations/de_DE/LC_MESSAGES/messages.mo"


class Pair(NamedTuple):
    """A string in German and in English."""

    source: str
    target: str


def read_home_assistant(wheel: Path) -> list[Pair]:
    """Pairs in the order of file names, then of the English file."""
    pairs = []
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in sorted(filter(_GERMAN_JSON.fullmatch, names)):
            english_name = name.removesuffix("de.json") + "en.json"
            if english_name not in names:
                continue
            german = dict(_strings(json.loads(archive.read(name))))
            for path, english in _strings(json.loads(archive.read(english_name))):
                if path in german:
                    pairs.append(Pair(german[path], english))
    return pairs


def _strings(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _strings(value, (*path, key))


def read_indico(wheel: Path) -> list[Pair]:
    """Pairs in the order of the catalogue, which is sorted by the English strings."""
    with zipfile.ZipFile(wheel) as archive:
        return parse_catalogue(archive.read(_CATALOGUE))


def parse_catalogue(content: bytes) -> list[Pair]:
    """The pairs of a gettext catalogue: English strings are its keys, `context EOT` cut off.

    Raises ValueError if the content is not a little-endian catalogue.
    """
    try:
        magic, _, count, originals, translations = struct.unpack_from("<5I", content)
        if magic != 0x950412DE:
            raise ValueError(f"not a gettext catalogue: it starts with {magic:#x}")
        pairs = []
        for i in range(count):
            english = _entry(content, originals + 8 * i).rpartition("\x04")[2].split("\0")
            german = _entry(content, translations + 8 * i).split("\0")
            if english != [""]:  # the entry of the empty string describes the catalogue
                pairs += map(Pair, german, english)
        return pairs
    except struct.error as error:
        raise ValueError(f"the gettext catalogue is cut short: {error}") from error


def _entry(content: bytes, where: int) -> str:
    length, offset = struct.unpack_from("<2I", content, where)
    return struct.unpack_from(f"{length}s", content, offset)[0].decode()
