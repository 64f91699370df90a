"""Greedy translation in PyTorch."""

import torch
from torch import Tensor

from ..tokenizer import EOS, PAD
from .models import KeysValues, Transformer


@torch.no_grad()
def translate(model: Transformer, inputs: Tensor, length: int) -> Tensor:
    """The likeliest next token again and again: (B, length) int64, PAD after EOS, from (B, S).

    It ends when all strings have; keys and values of what is written are kept. The model is left
    in evaluation mode.
    """
    model.eval()
    sources = model.sources(inputs)
    batch = len(inputs)
    empty = sources[0].keys.new_zeros
    shape = (batch, length, model.sizes.features)
    written = [KeysValues(empty(shape), empty(shape)) for _ in sources]
    token = inputs.new_full((batch,), PAD)
    tokens = inputs.new_full((batch, length), PAD)
    ended = torch.zeros(batch, dtype=torch.bool, device=inputs.device)
    for position in range(length):
        logits = model.step(token, position, written, sources, inputs)
        token = logits.argmax(-1).masked_fill(ended, PAD)
        tokens[:, position] = token
        ended |= token == EOS
        if ended.all():
            break
    return tokens
