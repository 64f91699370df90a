"""Warnings for a reader: one of each kind in full view, the rest folded away."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

KINDS_SHOWN = 5


@dataclass(frozen=True)
class Notice:
    """One warning; more: how many others say the same of something else."""

    text: str
    more: int


def sorted_out(warnings: Sequence[str]) -> tuple[list[Notice], list[str]]:
    """The first warning of each of the first KINDS_SHOWN kinds, and all others, in their order.

    Two warnings are of one kind if they differ in numbers and in what they are about, the part
    before the first colon, only.
    """
    kinds: dict[str, list[str]] = {}
    for text in warnings:
        kind = re.sub(r"\d+", "#", text.split(": ", 1)[-1])
        kinds.setdefault(kind, []).append(text)
    shown = [Notice(texts[0], len(texts) - 1) for texts in list(kinds.values())[:KINDS_SHOWN]]
    first = {notice.text for notice in shown}
    return shown, [text for text in warnings if text not in first]
