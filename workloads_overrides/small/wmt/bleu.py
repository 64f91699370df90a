"""Corpus BLEU, by sacrebleu."""

from collections.abc import Sequence


def corpus_bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """BLEU (0 to 100) with sacrebleu's defaults (arXiv 1804.08771), one reference per string.

    The defaults are AlgoPerf's: case counts, `13a` tokens, exponential smoothing.
    """
    # Only evaluations need it, and importing it takes a while.
    from sacrebleu.metrics.bleu import BLEU

    return float(BLEU().corpus_score(list(translations), [list(references)]).score)
