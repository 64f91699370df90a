"""Muon, SOAP and KL-Shampoo against HeavyBall 3.2.1.

It is made to run without `torch.compile`, with float64 state, and with float64 as the default
dtype, because it takes powers of its decays in the default one. Weight decay is 0.
"""

import independent
import numpy as np
import pytest
import torch
from independent import difference, gradients, updates

import matprec.torch

FLOAT64 = {"storage_dtype": "float64", "weight_decay": 0.0}
SOAP_LIKE = FLOAT64 | {"precondition_frequency": 1, "merge_dims": False}


@pytest.fixture
def heavyball(monkeypatch):
    package = independent.package("heavyball", "heavyball")
    monkeypatch.setattr(package.utils, "compile_mode", None)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield package
    torch.set_default_dtype(default)


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon(nesterov, heavyball, monkeypatch):
    """Muon on a square matrix with the published quintic, in float64. Measured: 3.0e-15.

    Nesterov with its `heavyball_momentum`, sums of gradients; its default is another mixture, of
    the gradient and a debiased average (differences of 0.9). Other shapes, and its default mode,
    go through five other quintics (0.3).
    """
    monkeypatch.setattr(heavyball.utils, "zeroth_power_mode", "legacy_newtonschulz")
    grads = gradients((5, 5), 8)
    ours = updates(
        lambda params: matprec.torch.Muon(
            params, 1.0, momentum=0.9, nesterov=nesterov, adjust_lr="original"
        ),
        grads,
    )
    theirs = updates(
        lambda params: heavyball.Muon(
            params, 1.0, (0.9, 0.99), nesterov=nesterov, heavyball_momentum=nesterov, **FLOAT64
        ),
        grads,
    )
    assert difference(ours, theirs) < 2e-14


# One gradient leaves at most one eigenvector without an eigenvalue, so that only its sign is open.
@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (5, 5)])
def test_soap(shape, heavyball):
    """SOAP with a refresh in every step and eps 0, in float64.

    Measured: 1.6e-15 in the first update, 2.2e-8 later: before its QR decomposition it adds 1e-8
    of the largest eigenvalue times the old basis. Its bias-corrected factors and its order of
    columns make no difference. (It refreshes at steps T, 2T, ..., so longer periods cannot agree.)
    """
    grads = gradients(shape, 8)
    ours = updates(
        lambda params: matprec.torch.SOAP(
            params, 1.0, beta1=0.9, shampoo_beta=0.8, refresh_every=1, eps=0.0
        ),
        grads,
    )
    theirs = updates(
        lambda params: heavyball.SOAP(
            params, 1.0, (0.9, 0.95), shampoo_beta=0.8, eps=0.0, **SOAP_LIKE
        ),
        grads,
    )
    assert not ours[0].any()
    assert not theirs[0].any()
    assert difference(ours[1:2], theirs[1:2]) < 1e-14
    assert difference(ours[1:], theirs[1:]) < 1e-7


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_kl_shampoo_once_the_beginning_is_forgotten(shape, heavyball):
    """Directions and lengths of KL-Shampoo without grafting, after 12 time constants.

    The beginnings have nothing in common: its factors start from 0.1 I, ours from nothing with
    roots I. Later both average the same equations, but it takes eigenvalues as the diagonal of
    Q^T S Q in a basis that one orthogonal iteration a step keeps only near the eigenbasis. For
    gradients with rows and columns each three times as long as the one before, in the last 50 of
    400 steps, measured: cosines above 0.9973, lengths within 7.5 % of each other. (Roots of
    exponent 0.45 instead of 1/2 would give 0.971 and 33 %.)
    """
    steps, beta2 = 400, 0.97
    grads = gradients(shape, steps)
    scales = [3.0 ** np.arange(length) for length in shape]
    grads = grads * np.outer(*scales)
    ours = updates(
        lambda params: matprec.torch.KLShampoo(
            params, 1.0, nesterov=False, beta2=beta2, refresh_every=1, graft="none"
        ),
        grads,
    )[-50:]
    theirs = updates(
        lambda params: heavyball.KLShampoo(
            params, 1.0, (0.9, 0.95), shampoo_beta=beta2, dampening=0.0, **SOAP_LIKE
        ),
        grads,
    )[-50:]
    lengths = [np.linalg.norm(x, axis=(1, 2)) for x in (ours, theirs)]
    cosines = np.sum(ours * theirs, axis=(1, 2)) / (lengths[0] * lengths[1])
    assert np.min(cosines) > 0.992
    assert np.max(np.abs(lengths[0] / lengths[1] - 1)) < 0.2
