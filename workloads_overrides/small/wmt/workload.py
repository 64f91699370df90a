"""`wmt_small` without its framework: sizes, targets, data and metrics."""

from pathlib import Path
from typing import Any

import numpy as np

from ...base.rows import Rows, RowsWorkload
from . import dataset
from .bleu import corpus_bleu
from .sizes import Sizes


class BaseWmtSmallWorkload(RowsWorkload):
    """AlgoPerf's WMT (German to English) with smaller sizes and data.

    Metrics per split: `loss` and `accuracy`, means over target tokens given all tokens before
    them, and `bleu`, of greedy translations of the whole split as text. Different on purpose:
    AlgoPerf decodes with a beam of 4, which takes longer, and cuts a translation without an end
    down to its first token, where this one keeps all of it. And AlgoPerf's target is one of BLEU;
    here it is one of the loss: in the few hundred steps of a run BLEU stays so low that it is
    mostly noise, and seeds differ in when and where it is best, while the loss falls.

    A batch is `inputs` and `targets`, tokens (B, 20) with 0 after the last, and `weights`, 1 for
    every target token. As there, a row of the training set is packed with several pairs, and a row
    of the other splits is one; the model finds a pair's end by its last token. Unlike there, the
    first token of every pair is predicted from 0, not from the end of the pair before it.
    """

    targets_path = Path(__file__).parent / "targets.json"
    target_metric_name = "loss"
    higher_is_better = False
    default_dropout_rate = 0.1
    output_module = "shared_embedding"
    sizes = Sizes(
        vocab_size=dataset.VOCAB_SIZE,
        features=96,
        hidden=192,
        num_heads=4,
        num_layers=2,
        max_length=dataset.LENGTH,
    )

    @property
    def num_train_examples(self) -> int:
        return dataset.NUM_TRAIN

    @property
    def num_eval_train_examples(self) -> int:
        return dataset.NUM_EVAL_TRAIN

    @property
    def num_validation_examples(self) -> int:
        return dataset.NUM_VALIDATION

    @property
    def num_test_examples(self) -> int:
        return dataset.NUM_TEST

    @property
    def eval_batch_size(self) -> int:
        return 32

    def _rows(self, split: str, data_dir: str) -> Rows:
        splits = dataset.load(data_dir).splits
        if split not in splits:
            raise ValueError(f"unknown split {split!r}; allowed: {', '.join(splits)}")
        return splits[split]

    def _split_metrics(self, arrays: dict[str, np.ndarray], data_dir: str) -> dict[str, float]:
        """Also `bleu`, of the rows of tokens `translations` against `references`."""
        metrics = super()._split_metrics(arrays, data_dir)
        decode = dataset.load(data_dir).tokenizer.decode
        translations, references = (
            [decode(row) for row in arrays[name]] for name in ("translations", "references")
        )
        return {**metrics, "bleu": corpus_bleu(translations, references)}

    def _model_inputs(self, batch: dict[str, Any]) -> tuple[Any, ...]:
        return batch["inputs"], batch["targets"]
