"""The sizes of the model, which both frameworks share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """AlgoPerf's WMT has width and hidden width 1,024, 16 heads and 6 + 6 layers.

    Attributes:
      vocab_size: of both languages together.
      features: width of embeddings and layers.
      hidden: width inside the MLPs.
      num_heads: of every attention.
      num_layers: of the encoder, and as many of the decoder.
      max_length: of a string, in tokens.
    """

    vocab_size: int
    features: int
    hidden: int
    num_heads: int
    num_layers: int
    max_length: int

    def dropout_entries(self, batch: int, sources: int, targets: int) -> int:
        """How many activations pass a dropout in one forward pass over (batch, ...) tokens."""
        attention = self.num_heads * (sources * sources + targets * targets + targets * sources)
        # Encoder layers have two dropouts over their width, decoder layers three.
        wide = sources * (2 * self.features + self.hidden)
        wide += targets * (3 * self.features + self.hidden)
        embedded = (sources + targets) * self.features
        return batch * (embedded + self.num_layers * (attention + wide))
