"""Which pairs are for training, for validation and for the test."""

import hashlib
from collections.abc import Sequence

from .near_duplicates import groups, masked
from .pairs import Pair

SPLITS: tuple[str, ...] = ("train", "validation", "test")

# Of 1,000 small groups, how many validation and test get each.
_HELD_OUT_PER_MILLE = 17
# A larger group would be too much of a small split.
_LARGEST_HELD_OUT = 4


def split(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Divides `pairs` by groups of near-duplicates; a hash of a group's first pair chooses.

    Of pairs that are the same but for case, numbers, placeholders and punctuation only the first
    is kept.
    """
    unique = {tuple(map(masked, pair)): pair for pair in reversed(pairs)}
    kept = list(reversed(unique.values()))
    divided: dict[str, list[Pair]] = {name: [] for name in SPLITS}
    for group in groups(kept):
        members = [kept[i] for i in group]
        divided[_split_of(members)] += members
    return divided


def _split_of(group: Sequence[Pair]) -> str:
    if len(group) > _LARGEST_HELD_OUT:
        return "train"
    first = min("\t".join(map(masked, pair)) for pair in group)
    value = int.from_bytes(hashlib.sha256(first.encode()).digest()[:8], "big") % 1000
    if value < _HELD_OUT_PER_MILLE:
        return "validation"
    return "test" if value < 2 * _HELD_OUT_PER_MILLE else "train"
