"""Which pairs of strings are used, and how they are written: this project's own choices."""

import re
from collections.abc import Iterable

from .pairs import Pair

# Longer strings would not fit into a row of tokens anyway.
MAX_CHARACTERS = 160

_SPACE = re.compile(r"\s+")
_SAME = str.maketrans(
    {
        "„": '"',
        "“": '"',
        "”": '"',
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{EN DASH}": "-",
        "…": "...",
        "\N{NO-BREAK SPACE}": " ",
        "\N{SOFT HYPHEN}": "",
    }
)
_ALLOWED = re.compile(r"[ -~äöüÄÖÜß°²³]*")
_MARKUP = re.compile(r"https?:|\]\(|<|\*\*|`|\||_\w")
_LETTER = re.compile(r"[^\W\d_]")
# %(name)s, %s, {name}, {}: what programs fill in.
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z]\b|\{[^{}]*\}")


def clean(pairs: Iterable[Pair]) -> list[Pair]:
    """The usable pairs, each once, in their order.

    White space is a single blank between words; quotation marks, dashes and dots become ASCII.
    Dropped are: strings without letters; pairs that are the same in both languages, hold other
    placeholders in one of them, or hold web addresses, markup or rare characters; long strings.
    """
    written = (Pair(*map(_write, pair)) for pair in pairs)
    return list(dict.fromkeys(pair for pair in written if _usable(pair)))


def _write(text: str) -> str:
    return _SPACE.sub(" ", text.translate(_SAME)).strip()


def _usable(pair: Pair) -> bool:
    placeholders = [sorted(PLACEHOLDER.findall(text)) for text in pair]
    return (
        all(map(_usable_text, pair))
        and pair.source.lower() != pair.target.lower()
        and placeholders[0] == placeholders[1]
    )


def _usable_text(text: str) -> bool:
    return (
        len(text) <= MAX_CHARACTERS
        and _ALLOWED.fullmatch(text) is not None
        and _MARKUP.search(PLACEHOLDER.sub("", text)) is None
        and _LETTER.search(PLACEHOLDER.sub("", text)) is not None
    )
