"""Groups of pairs that are nearly the same, so that a group lies on one side of a split.

Two pairs are nearly the same if either their sources or their targets are: if the sets of words,
without case, numbers, placeholders and punctuation, have a Jaccard index of at least 3/4. Groups
are the connected components. This project's own choice.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from ..groups import connected
from .cleaning import PLACEHOLDER
from .pairs import Pair

_WORD = re.compile(r"[^\W\d_]+")


def masked(text: str) -> str:
    """The words alone, in lower case: equal for strings that differ in nothing but the rest."""
    return " ".join(_WORD.findall(PLACEHOLDER.sub(" ", text).lower()))


def words(text: str) -> frozenset[str]:
    """The set of words of `masked`."""
    return frozenset(masked(text).split())


def nearly_same(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether the Jaccard index of two non-empty sets is at least 3/4."""
    return 4 * len(a & b) >= 3 * len(a | b)


def groups(pairs: Sequence[Pair]) -> list[list[int]]:
    """The connected components, each sorted, in the order of their first members."""
    edges = (similar([words(text) for text in column]) for column in zip(*pairs, strict=True))
    members: dict[int, list[int]] = defaultdict(list)
    for i, first in enumerate(connected(len(pairs), chain.from_iterable(edges)).tolist()):
        members[first].append(i)
    return list(members.values())


def similar(sets: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Edges that connect just what all (i, j) with `nearly_same` sets connect.

    Exact, without comparing all with all: in one order of words, rare ones first, two sets that
    are nearly the same share one of the first n - ceil(3n/4) + 1 words of each, n its own size
    (prefix filtering: Chaudhuri, Ganti, Kaushik, ICDE 2006).
    """
    counts = Counter(word for found in sets for word in found)
    first: dict[frozenset[str], int] = {}
    by_word: dict[str, list[int]] = defaultdict(list)
    for i, found in enumerate(sets):
        if found in first:
            yield i, first[found]
            continue
        first[found] = i
        ordered = sorted(found, key=lambda word: (counts[word], word))
        prefix = ordered[: len(found) - (3 * len(found) + 3) // 4 + 1]
        for j in dict.fromkeys(j for word in prefix for j in by_word[word]):
            if nearly_same(found, sets[j]):
                yield i, j
        for word in prefix:
            by_word[word].append(i)
