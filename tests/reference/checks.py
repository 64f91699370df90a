"""What the tests of the references share: random tensors, matrix functions, runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from reference.optimizers import NAdamW

NO_DECAY: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.0}


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def orthogonal(n, seed=0):
    return np.linalg.qr(normal((n, n), seed)).Q


def polar(g):
    return scipy.linalg.polar(g, side="right")[0]


def power(a, p):
    """Independent of the references' eigh: scipy's Schur-Pade matrix power."""
    return np.real(scipy.linalg.fractional_matrix_power(a, p))


def updates(ref, grads):
    """Updates of a single tensor by a reference made with NO_DECAY, one per gradient."""
    w, out = np.zeros(grads[0].shape), []
    for g in grads:
        (new,) = ref.step([w], [g])
        out.append(w - new)
        w = new
    return out


def nadam(grads, beta1, beta2, eps=1e-8):
    """Updates of NAdamW without decay."""
    ref = NAdamW([grads[0].shape], beta1=beta1, beta2=beta2, eps=eps, **NO_DECAY)
    return updates(ref, grads)


def trajectory(ref, shapes, steps=6, seed=1):
    """Parameters after a run on random gradients."""
    params = [normal(s, 100 + k) for k, s in enumerate(shapes)]
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        params = ref.step(params, [rng.standard_normal(s) for s in shapes])
    return params


def assert_all_close(xs, ys, tolerance=1e-12):
    for x, y in zip(xs, ys, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def direction(u):
    return u / np.linalg.norm(u)
