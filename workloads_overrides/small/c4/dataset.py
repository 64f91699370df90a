"""What the prepared data of `c4_small` is made of and must be."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..prepared import Prepared
from ..sources import BOTOCORE
from ..wheel import Wheel

FORMAT_VERSION = 1  # raise it when the choice of documents, the vocabulary or the files change
CONTEXT = 64


@dataclass(frozen=True)
class Recipe:
    """Of what the data is made, and how much.

    Attributes:
      wheel: the documents are in it.
      vocab_size: of the vocabulary that is trained.
      tokenizer_sha256: of what comes out; targets hold for one vocabulary. Byte-pair encoding
        counts, and thus does not depend on a machine's rounding.
      train_characters: that training is chosen from; enough for the rows.
      rows: of CONTEXT tokens, per split.
    """

    wheel: Wheel
    vocab_size: int
    tokenizer_sha256: str
    train_characters: int
    rows: Mapping[str, int]

    @property
    def prepared(self) -> Prepared:
        return Prepared(
            workload="c4_small",
            folder="c4_small",
            facts={
                "format_version": FORMAT_VERSION,
                "source_sha256": self.wheel.sha256,
                "tokenizer_sha256": self.tokenizer_sha256,
                "train_characters": self.train_characters,
                "rows": {"context": CONTEXT, **self.rows},
            },
            files=("tokenizer.model", *(f"{split}_00000.bin" for split in self.rows)),
        )


# A third of what the package has: 2,000 batches of 16 rows before any row is seen twice. With 1,024
# pieces the head is a third of the model's work.
AWS = Recipe(
    wheel=BOTOCORE.wheel,
    vocab_size=1024,
    tokenizer_sha256="2109aeaae46c8ca36956b87d9f5bfe8de0a8f7b60b9582ccf7b3ee380f5266fa",
    train_characters=7_500_000,
    rows={"train": 32_768, "validation": 256, "test": 256},
)
PREPARED = AWS.prepared
