"""Plain NumPy float64 references of AdamW, NAdamW, ASGO and Shampoo: the oracle of the tests.

Written from the equations alone and importing nothing but NumPy: one tensor, one block, one step at
a time. Every class is used as

    ref = ASGO(shapes, roles, weight_layout="out_in", lr=1e-2, weight_decay=0.1, beta2=0.8)
    params = ref.step(params, grads)        # lists of float64 arrays; the inputs are left alone

`ref.lr` may be reassigned between steps. Choices of this project, where the literature is silent:

* A tensor whose gradient has a non-finite sum of squares does not change at all in that step: no
  decay, no state, no refresh, and its own count `t` (bias correction) does not advance. The global
  step count, which drives the refresh schedule, does.
* Refreshes happen at steps start, start + f, start + 2f, ... (steps count from 1), except for the
  first one of a matrix, or of each block where there are blocks: that is in the first step from
  start on in which its gradient is not exactly zero (and that of the tensor finite), on the
  schedule or not. Until then its root or basis is the identity.
* With a relative ridge the zero matrix has the identity as its root.
* A matrix with both sides longer than max_dim falls back. A two-sided method leaves out a side of
  a block that is longer than max_dim; a one-sided one takes the other side in its place.
* Rules get `due` and place the refresh themselves where `turn(self, g, due)` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

TINY = np.finfo(np.float64).tiny


# ---------------------------------------- the canonical matrix of a tensor


def merge_3d(shape: tuple[int, ...]) -> tuple[int, int]:
    """(a, b, c) -> (a, bc) or (ab, c), the one closer to square; the first on ties."""
    a, b, c = shape
    first, second = (a, b * c), (a * b, c)
    return first if max(first) * min(second) <= max(second) * min(first) else second


def to_matrix(x: np.ndarray, layout: str) -> np.ndarray:
    """Tensor of 2 to 4 dimensions -> matrix with rows = outputs. Layout "out_in" or "in_out"."""
    if x.ndim == 4:
        if layout == "in_out":
            x = x.transpose(3, 2, 0, 1)  # (h, w, I, O) -> (O, I, h, w)
        return x.reshape(x.shape[0], -1)
    if x.ndim == 3:
        x = x.reshape(merge_3d(x.shape))
    if x.ndim != 2:
        raise ValueError(f"no matrix view for {x.ndim} dimensions")
    return x.T if layout == "in_out" else x


def from_matrix(mat: np.ndarray, shape: tuple[int, ...], layout: str) -> np.ndarray:
    """Inverse of `to_matrix`."""
    if len(shape) == 4 and layout == "in_out":
        h, w, i, o = shape
        return mat.reshape(o, i, h, w).transpose(2, 3, 1, 0)
    if len(shape) < 4 and layout == "in_out":
        mat = mat.T
    return mat.reshape(shape)


# ---------------------------------------- shared mathematics


def inverse_root(a: np.ndarray, exponent: float, eps: float, eps_mode: str) -> np.ndarray:
    """A^(-exponent) of a symmetric positive semi-definite A, damped by eps.

    relative_max, relative_mean: A + eps * (largest, mean eigenvalue) I. absolute: A + eps I.
    outside: eigenvalues 1 / (w^exponent + eps), where w below n u top (order, machine epsilon,
    largest eigenvalue) is rounding and is raised to that.
    """
    w, q = np.linalg.eigh(a)
    top = w.max()
    if top <= TINY and eps_mode.startswith("relative"):
        return np.eye(len(a))
    if eps_mode == "outside":
        w = np.maximum(w, len(a) * np.finfo(w.dtype).eps * max(top, 0.0))
        return q @ np.diag(1 / (w**exponent + eps)) @ q.T
    if eps_mode == "relative_max":
        w = np.maximum(w + eps * top, eps * top / 2)
    elif eps_mode == "relative_mean":
        mean = np.trace(a) / len(a)
        w = np.maximum(w + eps * mean, eps * mean / 2)
    elif eps_mode == "absolute":
        w = w - min(0.0, w.min()) + eps
    else:
        raise ValueError(f"eps_mode {eps_mode!r}")
    return q @ np.diag(w**-exponent) @ q.T


def ema(old: np.ndarray, new: np.ndarray, beta: float) -> np.ndarray:
    """Exponential average, or the plain sum for beta = 1."""
    return old + new if beta == 1 else beta * old + (1 - beta) * new


def debias(x: np.ndarray, beta: float, t: int) -> np.ndarray:
    """Bias-corrected average after t terms; a sum (beta = 1) needs none."""
    return x if beta == 1 else x / (1 - beta**t)


def first_moment(m: np.ndarray, g: np.ndarray, beta1: float, t: int, nesterov: bool) -> np.ndarray:
    """Debiased M, NAdam-mixed in AlgoPerf's form (divisor 1 - beta1^t in both cases)."""
    return (beta1 * m + (1 - beta1) * g if nesterov else m) / (1 - beta1**t)


def adam_direction(
    m_hat: np.ndarray, v: np.ndarray, beta2: float, t: int, eps: float
) -> np.ndarray:
    """Debiased first moment over the root of the debiased second one, eps outside."""
    return m_hat / (np.sqrt(debias(v, beta2, t)) + eps)


def scaled_to(u: np.ndarray, length: float) -> np.ndarray:
    """u brought to a Frobenius length; zero stays zero."""
    norm = np.linalg.norm(u)
    return u * (length / norm) if norm > 0 else np.zeros_like(u)


def right_is_small(shape: tuple[int, int], side: str = "small") -> bool:
    """Whether side "small" | "left" | "right" means the right one; a square has its right side."""
    m, n = shape
    return side == "right" or (side == "small" and m >= n)


def takes_right(shape: tuple[int, int], side: str, max_dim: int) -> bool:
    """The same for a one-sided method, whose side gives way to the other beyond max_dim."""
    right = right_is_small(shape, side)
    return right if shape[right] <= max_dim else not right


# ------------------------------------ rules: one object per tensor (or block), with its own state
# update(g, w, step, due) -> U with the decay term included, so that W <- W - lr * U always.


class Due(NamedTuple):
    """Whether a step is one of the schedule's, and whether the schedule has begun."""

    scheduled: bool
    started: bool


def turn(rule, g: np.ndarray, due: Due | bool) -> bool:
    """Whether a rule refreshes in this step; `rule.refreshed` remembers that it has done so.

    A plain boolean is taken as it is.
    """
    if isinstance(due, Due):
        due = due.scheduled if rule.refreshed else due.started and bool(np.any(g != 0))
    rule.refreshed = rule.refreshed or due
    return due


class AdamRule:
    """AdamW or, with nesterov, NAdamW; any shape."""

    def __init__(self, shape, weight_decay, beta1=0.9, beta2=0.999, eps=1e-8, nesterov=True):
        self.weight_decay, self.nesterov = weight_decay, nesterov
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.t, self.m, self.v = 0, np.zeros(shape), np.zeros(shape)

    def update(self, g, w, step, due):
        self.t += 1
        self.m = ema(self.m, g, self.beta1)
        self.v = ema(self.v, g**2, self.beta2)
        m_hat = first_moment(self.m, g, self.beta1, self.t, self.nesterov)
        u = adam_direction(m_hat, self.v, self.beta2, self.t, self.eps)
        return u + self.weight_decay * w


class AsgoRule:
    """ASGO on one m x n matrix: V^(-1/2) M or M V^(-1/2), brought to RMS 0.2."""

    def __init__(self, shape, weight_decay, beta1, beta2, eps, side, max_dim):
        m, n = shape
        self.left = not takes_right(shape, side, max_dim)
        self.weight_decay, self.beta1, self.beta2, self.eps = weight_decay, beta1, beta2, eps
        d = m if self.left else n
        self.m, self.v, self.root = np.zeros(shape), np.zeros((d, d)), np.eye(d)
        self.refreshed = False

    def update(self, g, w, step, due):
        self.v = ema(self.v, g @ g.T if self.left else g.T @ g, self.beta2)
        if turn(self, g, due):
            self.root = inverse_root(self.v, 1 / 2, self.eps, "relative_max")
        self.m = ema(self.m, g, self.beta1)
        u = self.root @ self.m if self.left else self.m @ self.root
        return scaled_to(u, 0.2 * np.sqrt(u.size)) + self.weight_decay * w


class ShampooRule:
    """Distributed Shampoo on one block. exponent None is 1 / (2 * number of preconditioned sides).

    The root of a side left out stays the identity. Before the block's first refresh the direction
    is that of the graft.
    """

    def __init__(self, shape, weight_decay, hp):
        rows, cols = shape
        self.weight_decay, self.hp, self.t = weight_decay, hp, 0
        self.has_l, self.has_r = rows <= hp["max_dim"], cols <= hp["max_dim"]
        self.exponent = hp["exponent"]
        if self.exponent is None:
            self.exponent = 1 / (2 * (self.has_l + self.has_r))
        self.m, self.v, self.ball = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.l, self.r = np.zeros((rows, rows)), np.zeros((cols, cols))
        self.root_l, self.root_r, self.refreshed = np.eye(rows), np.eye(cols), False

    def update(self, g, w, step, due):
        hp, beta2 = self.hp, self.hp["beta2"]
        self.t += 1
        self.l = ema(self.l, g @ g.T, beta2)
        self.r = ema(self.r, g.T @ g, beta2)
        self.v = ema(self.v, g**2, beta2)
        if turn(self, g, due):
            damping = (self.exponent, hp["eps"], hp["eps_mode"])
            if self.has_l:
                self.root_l = inverse_root(debias(self.l, beta2, self.t), *damping)
            if self.has_r:
                self.root_r = inverse_root(debias(self.r, beta2, self.t), *damping)
        self.m = ema(self.m, g, hp["beta1"])
        m_hat = first_moment(self.m, g, hp["beta1"], self.t, hp["nesterov"])

        grafted = m_hat
        if hp["graft"] == "adam":
            grafted = adam_direction(m_hat, self.v, beta2, self.t, hp["graft_eps"])
        u = grafted
        if self.refreshed:
            u = self.root_l @ m_hat @ self.root_r
            if hp["graft"] != "none":
                u = u * (np.linalg.norm(grafted) / (np.linalg.norm(u) + 1e-16))

        u = u + self.weight_decay * w
        mu = hp["momentum"]
        if mu > 0:  # Nesterov heavy ball over the decayed update
            self.ball = mu * self.ball + (1 - mu) * u
            u = (1 - mu) * u + mu * self.ball
        return u


def blocks_of(
    shape: tuple[int, int], block_size: int | None
) -> list[tuple[tuple[slice, slice], tuple[int, int]]]:
    """Index and shape of each block of at most block_size a side, the last ones being smaller."""
    size, found = block_size or max(shape), []
    for i in range(0, shape[0], size):
        for j in range(0, shape[1], size):
            rows = slice(i, min(i + size, shape[0]))
            cols = slice(j, min(j + size, shape[1]))
            found.append(((rows, cols), (rows.stop - rows.start, cols.stop - cols.start)))
    return found


class BlockedRule:
    """Blocks of a matrix, each an independent problem with its own rule make(block_shape)."""

    def __init__(
        self,
        shape: tuple[int, int],
        block_size: int | None,
        make: Callable[[tuple[int, int]], Any],
    ) -> None:
        self.blocks = [
            (*index, make(block_shape)) for index, block_shape in blocks_of(shape, block_size)
        ]

    def update(self, g, w, step, due):
        u = np.zeros(g.shape)
        for rows, cols, rule in self.blocks:
            u[rows, cols] = rule.update(g[rows, cols], w[rows, cols], step, due)
        return u


# ---------------------------------------- the optimizers


class Optimizer:
    """Loop over tensors. Subclasses say which roles fall back and make the rule of a matrix."""

    fallback_roles: tuple[str, ...] = ()

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        roles: Sequence[str] | None = None,
        weight_layout: str = "out_in",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        refresh_every: int = 1,
        first_refresh: int = 1,
        max_dim: int = 8192,
    ) -> None:
        if weight_layout not in ("out_in", "in_out"):
            raise ValueError(f"weight_layout {weight_layout!r}")
        self.shapes, self.layout, self.lr, self.step_count = list(shapes), weight_layout, lr, 0
        self.refresh_every, self.first_refresh = refresh_every, first_refresh
        self.is_matrix, self.rules = [], []
        for shape, role in zip(self.shapes, roles or ["matrix"] * len(self.shapes), strict=True):
            if role == "fused_qkv":
                raise ValueError("the reference does not split fused_qkv: pass the parts")
            matrix_shape = (0, 0)
            if len(shape) > 1 and role not in self.fallback_roles:
                matrix_shape = to_matrix(np.zeros(shape), self.layout).shape
            self.is_matrix.append(1 < min(matrix_shape) <= max_dim)
            if self.is_matrix[-1]:
                self.rules.append(self.matrix_rule(matrix_shape, weight_decay))
            else:
                self.rules.append(self.other_rule(shape, weight_decay))

    def matrix_rule(self, shape, weight_decay):
        raise NotImplementedError

    def other_rule(self, shape, weight_decay):
        return AdamRule(shape, weight_decay if len(shape) > 1 else 0.0)

    def step(self, params: list[np.ndarray], grads: list[np.ndarray]) -> list[np.ndarray]:
        """Parameters after one step, float64, in the shapes given at construction."""
        self.step_count += 1
        since = self.step_count - self.first_refresh
        due = Due(since >= 0 and since % self.refresh_every == 0, since >= 0)
        new_params = []
        for k, (param, grad) in enumerate(zip(params, grads, strict=True)):
            w, g = np.array(param, dtype=np.float64), np.array(grad, dtype=np.float64)
            if w.shape != tuple(self.shapes[k]) or g.shape != w.shape:
                raise ValueError(f"tensor {k}: {w.shape}, {g.shape}, expected {self.shapes[k]}")
            with np.errstate(over="ignore", invalid="ignore"):
                finite = np.isfinite(np.sum(g * g))
            if finite and self.is_matrix[k]:
                w_mat, g_mat = to_matrix(w, self.layout), to_matrix(g, self.layout)
                u = self.rules[k].update(g_mat, w_mat, self.step_count, due)
                w = w - self.lr * from_matrix(u, w.shape, self.layout)
            elif finite:
                w = w - self.lr * self.rules[k].update(g, w, self.step_count, due)
            new_params.append(np.asarray(w))
        return new_params


class ASGO(Optimizer):
    """ASGO, practical version, raw EMAs; heads, embeddings and vectors on NAdamW."""

    fallback_roles = ("embedding", "vector", "head")

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.8, eps=1e-6, side="small", refresh_every=10, max_dim=8192,
    ):  # fmt: skip
        if side not in ("small", "left", "right"):
            raise ValueError(f"side {side!r}")
        self.hp = (beta1, beta2, eps, side, max_dim)
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, max_dim=max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return AsgoRule(shape, weight_decay, *self.hp)


class Shampoo(Optimizer):
    """Distributed Shampoo as in the AlgoPerf winner, on the 2-D view; no blocks for None."""

    fallback_roles = ("embedding", "vector")

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.99, eps=1e-6, eps_mode="relative_max",
        exponent: float | None = None, block_size: int | None = 1024,
        graft="adam", graft_eps=1e-8, nesterov=True, momentum=0.0, refresh_every=10, start_step=1,
        max_dim=8192,
    ):  # fmt: skip
        if graft not in ("adam", "sgd", "none"):
            raise ValueError(f"graft {graft!r}")
        self.block_size = block_size
        self.hp = {
            "beta1": beta1, "beta2": beta2, "eps": eps, "eps_mode": eps_mode, "exponent": exponent,
            "graft": graft, "graft_eps": graft_eps, "nesterov": nesterov, "momentum": momentum,
            "max_dim": max_dim,
        }  # fmt: skip
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return BlockedRule(
            shape, self.block_size, lambda block: ShampooRule(block, weight_decay, self.hp)
        )


class NAdamW(Optimizer):
    """NAdamW in AlgoPerf's form on every tensor, decay on every tensor."""

    nesterov = True

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-8,
    ):  # fmt: skip
        self.hp = (beta1, beta2, eps, self.nesterov)
        super().__init__(shapes, ["vector"] * len(shapes), weight_layout, lr, weight_decay)

    fallback_roles = ("vector",)

    def other_rule(self, shape, weight_decay):
        return AdamRule(shape, weight_decay, *self.hp)


class AdamW(NAdamW):
    """AdamW on every tensor, decay on every tensor, eps outside the root of the debiased V."""

    nesterov = False
