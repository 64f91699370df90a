"""The constants of `c4_small`."""

from pathlib import Path

from ...c4.config import SMALL
from ...c4.workload import BaseC4Workload
from .dataset import AWS, CONTEXT, PREPARED


class C4SmallConstants(BaseC4Workload):
    """A LLaMA for one core over about two million tokens, in single precision."""

    targets_path = Path(__file__).parent / "targets.json"
    model_config = SMALL
    context_length = CONTEXT
    train_rows = AWS.rows["train"]
    eval_train_rows = 64
    validation_rows = AWS.rows["validation"]
    test_rows = AWS.rows["test"]
    eval_rows_per_batch = 32
    tokenizer_sha256 = AWS.tokenizer_sha256

    def _data_folder(self, data_dir: str) -> Path:
        return PREPARED.path(data_dir)
