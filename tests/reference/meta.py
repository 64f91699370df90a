"""Plain NumPy float64 reference of Distributed Shampoo with the AlgoPerf winner's shape handling.

Every tensor, vectors and scalars too, is preconditioned (arXiv 2309.06497 and its submission):

1. Axes in the order (outputs, inputs, kernel axes...): with layout "in_out" the last axis comes
   first and the one before it second.
2. Merge: axes of size 1 are dropped; then from left to right the next axis is merged into the
   current one while their product is at most block_size. A scalar is a vector of length 1.
3. Block: every axis is cut into pieces of at most block_size; each block of order k is a problem
   of its own, with a factor for each axis and roots of exponent 1/(2k) (1/2 for a vector, 1/4 for
   a matrix) unless `exponent` is given.

Grafting, momentum, decay and the wait for a first refresh are those of the two-sided Shampoo, per
block; the decay acts on every tensor. A tensor with an axis of MAX_AXIS or more falls back to
NAdamW.
"""

from __future__ import annotations

import itertools

import numpy as np
from reference.optimizers import (
    Shampoo,
    adam_direction,
    debias,
    ema,
    first_moment,
    inverse_root,
    turn,
)

MAX_AXIS = 1_000_000


def out_in_axes(ndim: int, layout: str) -> list[int]:
    """Axes of a tensor in the order outputs, inputs, kernel."""
    axes = list(range(ndim))
    return axes if layout == "out_in" or ndim < 2 else [ndim - 1, ndim - 2, *axes[:-2]]


def merged_shape(shape: tuple[int, ...], block_size: int) -> tuple[int, ...]:
    merged: list[int] = []
    for dim in shape:
        if dim == 1:
            continue
        if merged and merged[-1] * dim <= block_size:
            merged[-1] *= dim
        else:
            merged.append(dim)
    return tuple(merged) or (1,)


def unfold(x: np.ndarray, axis: int) -> np.ndarray:
    """The matrix whose rows run over one axis and whose columns over all others."""
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)


def mode_product(x: np.ndarray, matrix: np.ndarray, axis: int) -> np.ndarray:
    """sum_j matrix[i, j] x[..., j, ...] at the given axis."""
    return np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)


class MetaBlockRule:
    """Shampoo on one block of any order."""

    def __init__(self, shape, weight_decay, hp):
        self.weight_decay, self.hp, self.t = weight_decay, hp, 0
        self.exponent = 1 / (2 * len(shape)) if hp["exponent"] is None else hp["exponent"]
        self.m, self.v, self.ball = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.factors = [np.zeros((d, d)) for d in shape]
        self.roots = [np.eye(d) for d in shape]
        self.refreshed = False

    def update(self, g, w, step, due):
        hp, beta2 = self.hp, self.hp["beta2"]
        self.t += 1
        due = turn(self, g, due)
        for axis in range(g.ndim):
            rows = unfold(g, axis)
            self.factors[axis] = ema(self.factors[axis], rows @ rows.T, beta2)
            if due:
                factor = debias(self.factors[axis], beta2, self.t)
                self.roots[axis] = inverse_root(factor, self.exponent, hp["eps"], hp["eps_mode"])
        self.m = ema(self.m, g, hp["beta1"])
        self.v = ema(self.v, g**2, beta2)
        m_hat = first_moment(self.m, g, hp["beta1"], self.t, hp["nesterov"])

        grafted = m_hat
        if hp["graft"] == "adam":
            grafted = adam_direction(m_hat, self.v, beta2, self.t, hp["graft_eps"])
        u = grafted
        if self.refreshed:
            u = m_hat
            for axis, root in enumerate(self.roots):
                u = mode_product(u, root, axis)
            if hp["graft"] != "none":
                u = u * (np.linalg.norm(grafted) / (np.linalg.norm(u) + 1e-16))

        u = u + self.weight_decay * w
        mu = hp["momentum"]
        if mu > 0:
            self.ball = mu * self.ball + (1 - mu) * u
            u = (1 - mu) * u + mu * self.ball
        return u


class MetaRule:
    """A whole tensor: permuted, merged, cut into blocks, and back."""

    def __init__(self, shape, layout, weight_decay, block_size, hp):
        self.axes = out_in_axes(len(shape), layout)
        self.permuted = tuple(shape[a] for a in self.axes)
        self.merged = merged_shape(self.permuted, block_size)
        cuts = [
            [slice(start, min(start + block_size, dim)) for start in range(0, dim, block_size)]
            for dim in self.merged
        ]
        self.blocks = []
        for index in itertools.product(*cuts):
            block_shape = tuple(piece.stop - piece.start for piece in index)
            self.blocks.append((index, MetaBlockRule(block_shape, weight_decay, hp)))

    def update(self, g, w, step, due):
        g, w = (x.transpose(self.axes).reshape(self.merged) for x in (g, w))
        u = np.zeros(self.merged)
        for index, rule in self.blocks:
            u[index] = rule.update(g[index], w[index], step, due)
        return u.reshape(self.permuted).transpose(np.argsort(self.axes))


class MetaShampoo(Shampoo):
    """Shampoo with merged dimensions and blocks of any order. Roles and max_dim have no effect."""

    def __init__(self, shapes, roles=None, weight_layout="out_in", *args, **hp):
        super().__init__(shapes, ["vector"] * len(shapes), weight_layout, *args, **hp)

    def other_rule(self, shape, weight_decay):
        if max(shape, default=0) >= MAX_AXIS:
            return super().other_rule(shape, weight_decay)
        if self.block_size is None:
            raise ValueError("merging needs a block_size")
        return MetaRule(shape, self.layout, weight_decay, self.block_size, self.hp)
