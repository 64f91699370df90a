"""The LLaMA models of the C4 experiments: their sizes and the shapes of their tensors.

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
class Llama:
    """Sizes of one model.

    Attributes:
      hidden: width of the residual stream.
      ffn: width of the MLP's hidden layer.
      layers: number of transformer layers.
      vocab: number of tokens.
    """

    hidden: int
    ffn: int
    layers: int
    vocab: int = 32_000

    def tensors(self) -> dict[str, Tensor]:
        """All parameters by path."""
        square = Tensor((self.hidden, self.hidden), "matrix")
        up = Tensor((self.hidden, self.ffn), "matrix")
        down = Tensor((self.ffn, self.hidden), "matrix")
        norm = Tensor((self.hidden,), "vector")
        layer = dict.fromkeys((f"attention/{name}" for name in ("q", "k", "v", "out")), square)
        layer |= {"mlp/gate": up, "mlp/up": up, "mlp/down": down}
        layer |= {"attention_norm": norm, "mlp_norm": norm}
        return {
            "embedding": Tensor((self.vocab, self.hidden), "embedding"),
            **{
                f"layer_{number}/{path}": tensor
                for number in range(self.layers)
                for path, tensor in layer.items()
            },
            "norm": norm,
            "head": Tensor((self.hidden, self.vocab), "head"),
        }


MODELS: dict[str, Llama] = {
    "60M": Llama(hidden=512, ffn=1376, layers=8),
    "130M": Llama(hidden=768, ffn=2048, layers=12),
    "350M": Llama(hidden=1024, ffn=2736, layers=24),
    "1.3B": Llama(hidden=2048, ffn=5461, layers=24),
}
