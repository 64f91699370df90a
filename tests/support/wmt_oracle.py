"""The Transformer of `wmt_small` for one pair in float64 NumPy, every step written out.

Parameters are in PyTorch's names and layout.
"""

import numpy as np


def logits(state, sizes, source, target):
    """(T, vocab_size) from one source and one target, lists of tokens that end with EOS."""
    memory = encoded(state, sizes, source)
    y = embedded(state, sizes, [0, *target[:-1]])
    for i in range(sizes.num_layers):
        layer = f"decoder_{i}."
        h = layernorm(state, layer + "self_layernorm", y)
        y = y + attention(state, sizes, layer + "self_attention", h, h, causal=True)
        h = layernorm(state, layer + "cross_layernorm", y)
        y = y + attention(state, sizes, layer + "cross_attention", h, memory)
        y = y + mlp(state, layer + "mlp", layernorm(state, layer + "mlp_layernorm", y))
    y = layernorm(state, "decoder_layernorm", y)
    return y @ state["shared_embedding.weight"].T


def encoded(state, sizes, source):
    x = embedded(state, sizes, source)
    for i in range(sizes.num_layers):
        layer = f"encoder_{i}."
        h = layernorm(state, layer + "self_layernorm", x)
        x = x + attention(state, sizes, layer + "self_attention", h, h)
        x = x + mlp(state, layer + "mlp", layernorm(state, layer + "mlp_layernorm", x))
    return layernorm(state, "encoder_layernorm", x)


def embedded(state, sizes, tokens):
    half = sizes.features // 2
    rows = []
    for position, token in enumerate(tokens):
        angles = [position / 10_000 ** (k / (half - 1)) for k in range(half)]
        encoding = np.concatenate([np.sin(angles), np.cos(angles)])
        scaled = np.sqrt(sizes.features) * state["shared_embedding.weight"][token]
        rows.append(scaled + encoding)
    return np.array(rows)


def layernorm(state, name, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * state[name + ".weight"] + state[name + ".bias"]


def attention(state, sizes, name, x, seen, causal=False):
    query, key, value = (
        inputs @ state[f"{name}.{part}.weight"].T
        for part, inputs in (("query", x), ("key", seen), ("value", seen))
    )
    width = sizes.features // sizes.num_heads
    read = np.zeros_like(query)
    for head in range(sizes.num_heads):
        columns = slice(head * width, (head + 1) * width)
        for t in range(len(x)):
            last = t + 1 if causal else len(seen)
            scores = key[:last, columns] @ query[t, columns] / np.sqrt(width)
            weights = np.exp(scores - scores.max())
            read[t, columns] = weights / weights.sum() @ value[:last, columns]
    return read @ state[name + ".out.weight"].T


def mlp(state, name, x):
    hidden = np.maximum(x @ state[name + ".hidden.weight"].T + state[name + ".hidden.bias"], 0)
    return hidden @ state[name + ".output.weight"].T + state[name + ".output.bias"]


def greedy(state, sizes, source, length, eos=1):
    """The likeliest tokens, by a whole pass per token."""
    written = []
    while len(written) < length and written[-1:] != [eos]:
        written.append(int(logits(state, sizes, source, [*written, 0])[-1].argmax()))
    return written
