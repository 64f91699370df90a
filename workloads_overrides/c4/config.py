"""The LLaMA models of the C4 workloads, large and small: sizes and the shapes of all tensors.

Configurations of GaLore (arXiv 2403.03507), also used by AdaDiag (2502.07488): per layer four
square attention matrices and three of the gated MLP, two RMS norms, no biases; an embedding and an
output head that are not tied.
"""

import dataclasses
from typing import NamedTuple


class Tensor(NamedTuple):
    """Shape as flax lays kernels out, (inputs, outputs), and what the tensor is."""

    shape: tuple[int, ...]
    role: str


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of one model.

    Attributes:
      hidden: width of the residual stream; the heads share it evenly.
      ffn: width of the MLP's hidden layer.
      layers: number of transformer layers.
      heads: number of attention heads.
      vocab: number of tokens.
    """

    hidden: int
    ffn: int
    layers: int
    heads: int
    vocab: int = 32_000

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden={self.hidden} is not a multiple of 2 * heads={2 * self.heads}: "
                "rotary embeddings turn pairs of a head's features"
            )

    def tensors(self) -> dict[str, Tensor]:
        """All parameters by their path in flax."""
        square = Tensor((self.hidden, self.hidden), "matrix")
        up = Tensor((self.hidden, self.ffn), "matrix")
        down = Tensor((self.ffn, self.hidden), "matrix")
        norm = Tensor((self.hidden,), "vector")
        projections = (f"attention/{name}/kernel" for name in ("query", "key", "value", "out"))
        layer = dict.fromkeys(projections, square)
        layer |= {"mlp/gate_proj/kernel": up, "mlp/up_proj/kernel": up}
        layer |= {"mlp/down_proj/kernel": down}
        layer |= {"attn_rms_ln/scale": norm, "mlp_rms_ln/scale": norm}
        return {
            "token_embedding/embedding": Tensor((self.vocab, self.hidden), "embedding"),
            **{
                f"layers_{number}/{path}": tensor
                for number in range(self.layers)
                for path, tensor in layer.items()
            },
            "final_rms_ln/scale": norm,
            "lm_head/kernel": Tensor((self.hidden, self.vocab), "head"),
        }


# The published sizes.
MODELS: dict[str, ModelConfig] = {
    "60M": ModelConfig(hidden=512, ffn=1376, layers=8, heads=8),
    "130M": ModelConfig(hidden=768, ffn=2048, layers=12, heads=12),
    "350M": ModelConfig(hidden=1024, ffn=2736, layers=24, heads=16),
    "1.3B": ModelConfig(hidden=2048, ffn=5461, layers=24, heads=32),
}
# This project's own, for one CPU core.
SMALL = ModelConfig(hidden=80, ffn=216, layers=2, heads=4, vocab=1024)
