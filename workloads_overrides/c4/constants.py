"""The constants of the C4 workloads of full size, and what goes for these alone."""

import functools
import logging
from pathlib import Path
from typing import Any

from .. import budgets
from ..errors import DataError
from .data import TokenRows
from .meta import Meta, SplitMeta, read_meta
from .remedy import remedy
from .sizes import SIZES
from .workload import BaseC4Workload

# Until targets are measured, which sets a budget as well.
PROVISIONAL_BUDGET = "2026_4xA100"

_FOLDER = Path(__file__).parent
_log = logging.getLogger(__name__)


class LargeC4Workload(BaseC4Workload):
    """A workload of `sizes.SIZES`, for GPUs; `class X(LargeC4Workload, size="c4_60m")` is that one.

    Matrix products are in bfloat16 where the device has it, batches are read ahead. Targets that
    are measured hold for one tokenizer and one layout of the data, and other data is refused.
    Provisional ones hold for none: then a difference is logged once.

    Attributes:
      size: its name in SIZES, and in `workloads_overrides.WORKLOADS`.
    """

    size: str
    compute_dtype = "auto"
    prefetched_batches = 2

    def __init_subclass__(cls, size: str | None = None, targets: str = "", **kwargs: Any) -> None:
        """`targets` is the file of the targets, beside this one."""
        super().__init_subclass__(**kwargs)
        if size is None:  # a framework's class, which inherits them
            return
        constants = SIZES[size]
        cls.size = size
        cls.targets_path = _FOLDER / targets
        cls.model_config = constants.model
        cls.context_length = constants.context_length
        cls.train_rows = constants.train_rows
        cls.eval_train_rows = constants.eval_train_rows
        cls.validation_rows = constants.validation_rows
        cls.test_rows = constants.test_rows
        cls.eval_rows_per_batch = constants.eval_batch_size

    @property
    def _targets(self) -> dict[str, Any]:
        """The file's; the budget is that of a rule set where the file has none."""
        return {**_budget(self.size), **super()._targets}

    @functools.cached_property
    def tokenizer_sha256(self) -> str | None:
        """Of the tokenizer that data must be made with; None: any will do. May be set."""
        return self._targets["tokenizer_sha256"] if self.has_measured_targets else None

    @functools.cached_property
    def layout(self) -> str | None:
        """'packed' or 'truncated', as data must be; None: either will do. May be set."""
        return self._targets.get("layout") if self.has_measured_targets else None

    def accept_any_data(self) -> None:
        self.tokenizer_sha256 = self.layout = None

    def data_facts(self, data_dir: str | Path) -> dict[str, Any]:
        """The keys of the targets' file that say which data the targets hold for."""
        meta = read_meta(self._data_folder(str(data_dir)))
        return {
            "tokenizer": meta.tokenizer,
            "tokenizer_sha256": meta.tokenizer_sha256,
            "layout": meta.layout,
        }

    def _check_data(self, meta: Meta, folder: Path) -> None:
        super()._check_data(meta, folder)
        if self.layout not in (None, meta.layout):
            raise DataError(
                f"{folder} has the layout {meta.layout!r}, but the targets were set with "
                f"{self.layout!r}"
            )
        expected = self._targets["tokenizer_sha256"]
        if meta.tokenizer_sha256 != expected:
            _warn_once(
                f"{folder} was made with the tokenizer {meta.tokenizer} of sha256 "
                f"{meta.tokenizer_sha256}, {self.targets_path.name} is meant for {expected}: "
                "losses of the two do not compare"
            )

    def _open_anew(self, split: str, data_dir: str) -> tuple[TokenRows, SplitMeta]:
        try:
            return super()._open_anew(split, data_dir)
        except DataError as error:
            raise DataError(
                f"{error}; data for it: {remedy(self.size, data_dir, self.layout)}"
            ) from error


@functools.cache
def _budget(size: str) -> dict[str, int]:
    return budgets.load(PROVISIONAL_BUDGET).workloads[size].properties


@functools.cache
def _warn_once(message: str) -> None:
    _log.warning("%s", message)


class C4Constants(LargeC4Workload, size="c4", targets="targets_130m.json"):
    """130M parameters over 2.6 billion tokens: the default."""


class C4Llama60MConstants(LargeC4Workload, size="c4_60m", targets="targets_60m.json"):
    """60M parameters over 1.3 billion tokens."""


class C4Llama350MConstants(LargeC4Workload, size="c4_350m", targets="targets_350m.json"):
    """350M parameters over 7.9 billion tokens."""
