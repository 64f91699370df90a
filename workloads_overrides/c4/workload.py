"""The C4 workloads without their framework: data, metrics and checks.

AlgoPerf has none of this kind. A workload is a size of the model, a context, numbers of rows and a
file of targets; see the attributes. Large ones have them beside this file, `c4_small` has its own.
"""

import abc
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..base.rows import RowsWorkload
from .config import ModelConfig
from .data import TokenRows, TokenShards
from .meta import Meta, SplitMeta, check_tokens, read_meta
from .numerics import pytorch_name


class BaseC4Workload(RowsWorkload):
    """Next-token prediction over rows of a fixed length; see `data.TokenRows` for a batch.

    Metrics: `loss`, the target, in nats per token; `ppl`, its exponential; `accuracy`;
    `bits_per_byte` of text, which unlike the others can be compared between tokenizers, with the
    split's mean number of bytes per token.

    Attributes:
      model_config: sizes.
      compute_dtype: 'float32' (then, as everywhere, the parameters' precision counts), 'bfloat16'
        for matrix products over single-precision parameters, or 'auto': the latter where the device
        has it, the former elsewhere.
      context_length: tokens per row.
      train_rows, eval_train_rows, validation_rows, test_rows: how many there are.
      eval_rows_per_batch: AlgoPerf's `eval_batch_size`.
      tokenizer_sha256: of the tokenizer that the targets were set with; None: of any.
    """

    target_metric_name = "loss"
    higher_is_better = False
    output_module = "lm_head"
    model_config: ModelConfig
    compute_dtype: str = "float32"
    context_length: int
    train_rows: int
    eval_train_rows: int
    validation_rows: int
    test_rows: int
    eval_rows_per_batch: int
    tokenizer_sha256: str | None = None

    pytorch_name = staticmethod(pytorch_name)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opened: dict[tuple[str, str, int], tuple[TokenRows, SplitMeta]] = {}

    @abc.abstractmethod
    def _has_bfloat16(self) -> bool:
        """Whether the device multiplies matrices of bfloat16 in hardware."""

    @property
    def _matrix_dtype(self) -> str | None:
        """The dtype of matrix products by its name; None: that of the parameters."""
        name = self.compute_dtype
        if name == "auto":
            name = "bfloat16" if self._has_bfloat16() else "float32"
        return None if name == "float32" else name

    @property
    def num_train_examples(self) -> int:
        return self.train_rows

    @property
    def num_eval_train_examples(self) -> int:
        return self.eval_train_rows

    @property
    def num_validation_examples(self) -> int:
        return self.validation_rows

    @property
    def num_test_examples(self) -> int:
        return self.test_rows

    @property
    def eval_batch_size(self) -> int:
        return self.eval_rows_per_batch

    def _data_folder(self, data_dir: str) -> Path:
        """Where meta.json and the shards are."""
        return Path(data_dir).absolute() / "c4"

    def _rows(self, split: str, data_dir: str) -> TokenRows:
        """Raises DataError if the data is missing, damaged, too little, or of another tokenizer."""
        return self._open(split, data_dir)[0]

    def _open(self, split: str, data_dir: str) -> tuple[TokenRows, SplitMeta]:
        """A split, opened and checked once: every evaluation asks for it."""
        key = (split, str(data_dir), self._num_rows(split))
        if key not in self._opened:
            self._opened[key] = self._open_anew(split, data_dir)
        return self._opened[key]

    def _num_rows(self, split: str) -> int:
        counts = {
            "train": self.num_train_examples,
            "eval_train": self.num_eval_train_examples,
            "validation": self.num_validation_examples,
            "test": self.num_test_examples,
        }
        if split not in counts:
            raise ValueError(f"unknown split {split!r}; allowed: {', '.join(counts)}")
        return counts[split]

    def _open_anew(self, split: str, data_dir: str) -> tuple[TokenRows, SplitMeta]:
        folder = self._data_folder(data_dir)
        meta = read_meta(folder)
        self._check_data(meta, folder)
        # Its first rows stand for the training split: preparation has shuffled the documents.
        source = meta.split("train" if split == "eval_train" else split)
        shards = TokenShards(folder, source)
        return TokenRows(shards, meta, self.context_length, self._num_rows(split)), source

    def _check_data(self, meta: Meta, folder: Path) -> None:
        """Raises DataError unless the model can be trained, and measured by its targets, on it."""
        check_tokens(meta, folder, self.model_config.vocab, self.tokenizer_sha256)

    def _eval_model_on_split(
        self,
        split: str,
        num_examples: int,
        global_batch_size: int,
        params: Any,
        model_state: Any,
        rng: Any,
        data_dir: str,
        global_step: int = 0,
    ) -> dict[str, float]:
        """The class's four metrics over the split's first `num_examples` rows."""
        model = (params, model_state, rng, data_dir, global_step)
        metrics = super()._eval_model_on_split(split, num_examples, global_batch_size, *model)
        text = self._open(split, data_dir)[1]
        bits_per_token = metrics["loss"] / math.log(2)
        metrics["bits_per_byte"] = bits_per_token * text.tokens / text.text_bytes
        # Of the mean over all tokens: a mean of batches' perplexities would depend on the batches.
        with np.errstate(over="ignore"):
            metrics["ppl"] = float(np.exp(metrics["loss"]))
        return metrics
