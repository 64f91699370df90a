"""The documents: plain texts of AWS's documentation, by the service that they describe."""

import gzip
import html
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError

MIN_CHARACTERS = 80
MIN_WORDS = 8

# Dashes and quotation marks to what a keyboard has; documents with other characters (one in five
# hundred) are left out, so that the vocabulary need not cover them.
_PLAIN = str.maketrans("\u2013\u2014\u2212\u2018\u2019\u201c\u201d", "---''\"\"")
_BLOCK = re.compile(
    r"</?(?:p|li|ul|ol|dl|dt|dd|br|note|important|fullname|h\d|table|tr|th|td|pre|div)\b[^<>]*>",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_WORD = re.compile(r"[a-z]+")


def plain_text(documentation: str) -> str:
    """The text of an HTML fragment in one line: a blank for every tag that ends a paragraph."""
    text = html.unescape(_TAG.sub("", _BLOCK.sub(" ", documentation)))
    return " ".join(text.translate(_PLAIN).split())


def words(text: str) -> list[str]:
    """Runs of letters, in lower case: what is left of near-duplicates, whose numbers differ."""
    return _WORD.findall(text.lower())


def read_documents(wheel: Path, progress: Callable[[float], None]) -> dict[str, str]:
    """{text: service} of the whole wheel, for every text that is long enough and plain.

    Texts that have the same letters count once, for the first service by name.
    Raises DataError if the wheel has not the files that are expected of it.
    """
    documents: dict[str, str] = {}
    seen: set[str] = set()
    for service, documentation in _unique_documentation(wheel, progress):
        text = plain_text(documentation)
        if len(text) < MIN_CHARACTERS or not text.isascii():
            continue
        letters = words(text)
        key = "".join(letters)
        if len(letters) >= MIN_WORDS and key not in seen:
            seen.add(key)
            documents[text] = service
    return documents


def _unique_documentation(
    wheel: Path, progress: Callable[[float], None]
) -> Iterator[tuple[str, str]]:
    """(service, HTML), every HTML once."""
    seen: set[str] = set()
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = sorted(n for n in archive.namelist() if n.endswith("/service-2.json.gz"))
            if not names:
                raise DataError(f"{wheel.name} has no descriptions of services")
            for number, name in enumerate(names):
                content = json.loads(gzip.decompress(archive.read(name)))
                for documentation in _documentation(content):
                    if documentation not in seen:
                        seen.add(documentation)
                        yield name.split("/")[-3], documentation
                progress((number + 1) / len(names))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise DataError(f"{wheel.name} cannot be read ({error!r})") from error


def _documentation(value: Any) -> Iterator[str]:
    """Every `documentation` string in a JSON value, in order."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "documentation" and isinstance(item, str):
                yield item
            else:
                yield from _documentation(item)
    elif isinstance(value, list):
        for item in value:
            yield from _documentation(item)
