"""SOAP, Shampoo, Muon, Adafactor and GaLore against pytorch-optimizer 4.1.0.

Weight decay is 0 but for Muon: SOAP and GaLore there decay after the step, Shampoo through the
gradient.
"""

import functools
from typing import Any

import independent
import numpy as np
import pytest
import torch
from independent import SHAPES, difference, gradients, per_step, updates, weights

import matprec.torch
from matprec import polar


@pytest.fixture
def package():
    return independent.package("pytorch_optimizer", "pytorch-optimizer")


# One gradient leaves at most one eigenvector without an eigenvalue, so that only its sign is open.
@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (5, 5)])
@pytest.mark.parametrize("every", [1, 3])
def test_soap(shape, every, package):
    """SOAP with eps 0 (theirs is added before bias correction), in float64.

    Measured: 2.5e-15 until the second refresh takes effect, 5.3e-7 after it, its QR
    decomposition being in float32. For a 6 x 4 matrix the first update differs by 0.6 of its size:
    the first factor's null space is two-dimensional, and each library chooses its own basis of it.
    """
    grads = gradients(shape, 8)
    settings: Any = {"shampoo_beta": 0.8, "eps": 0.0, "weight_decay": 0.0}
    ours = updates(
        lambda params: matprec.torch.SOAP(params, 1.0, beta1=0.9, refresh_every=every, **settings),
        grads,
    )
    theirs = updates(
        lambda params: package.SOAP(
            params, 1.0, (0.9, 0.95), precondition_frequency=every, **settings
        ),
        grads,
    )
    assert not ours[0].any()
    assert not theirs[0].any()
    exact = slice(1, every + 1)
    assert difference(ours[exact], theirs[exact]) < 1.5e-14
    assert difference(ours[1:], theirs[1:]) < 3e-6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("every", [1, 3])
def test_original_shampoo(shape, every, package):
    """Its `Shampoo`: sums that start from 1e-3 I, exponent 1/4, no moments, in float64.

    Ours with beta1 = 0, beta2 = 1, no grafting and an absolute ridge. Measured: 6.3e-15. Its first
    root comes at step `every`; until then its update is 0.
    """
    grads = gradients(shape, 8)
    ours = updates(
        lambda params: matprec.torch.Shampoo(
            params,
            1.0,
            beta1=0.0,
            beta2=1.0,
            graft="none",
            eps=1e-3,
            eps_mode="absolute",
            refresh_every=every,
            start_step=every,
        ),
        grads,
    )
    theirs = updates(
        lambda params: package.Shampoo(
            params, 1.0, preconditioning_compute_steps=every, matrix_eps=1e-3
        ),
        grads,
    )
    assert difference(ours[every - 1 :], theirs[every - 1 :]) < 4e-14


def distributed(package, shape, graft, *, ours, theirs):
    """Updates of ours and of `ScalableShampoo` from step 3 on, refreshed every third step.

    Without momentum. Theirs keeps the bias of its averages; the factors that this makes in
    directions (for `none`) or lengths (for `adam`) are taken out.
    """
    beta2, steps = 0.9, np.arange(3, 13)
    grads = gradients(shape, len(steps) + 2)
    kind = {"adam": "RMSPROP", "sgd": "SGD", "none": "NONE"}[graft]
    grafting = package.optimizer.utils.graft.LayerWiseGrafting[kind]
    common = {"start_preconditioning_step": 3, "preconditioning_compute_steps": 3}
    found = updates(
        lambda params: package.ScalableShampoo(
            params,
            1.0,
            (0.0, beta2),
            nesterov=False,
            graft_type=grafting,
            shape_interpretation=False,
            **common,
            **theirs,
        ),
        grads,
    )[2:]
    biased = {"adam": steps, "none": steps - steps % 3}.get(graft)
    if biased is not None:
        found = found * per_step(np.sqrt(1 - beta2**biased))
    expected = updates(
        lambda params: matprec.torch.Shampoo(
            params, 1.0, beta1=0.0, beta2=beta2, graft=graft, start_step=3, refresh_every=3, **ours
        ),
        grads,
    )[2:]
    return expected, found


@pytest.mark.parametrize("shape", [*SHAPES, (7, 6)])
@pytest.mark.parametrize("graft", ["adam", "sgd", "none"])
def test_distributed_shampoo(shape, graft, package):
    """`ScalableShampoo` with roots by SVD: schedule, statistics and grafting, in float64.

    No ridge on either side. Measured: 4.5e-15.
    """
    ours, theirs = distributed(
        package,
        shape,
        graft,
        ours={"eps": 0.0, "graft_eps": 0.0},
        theirs={"use_svd": True, "matrix_eps": 0.0, "diagonal_eps": 0.0},
    )
    assert difference(ours, theirs) < 3e-14


def test_blocks_of_distributed_shampoo(package):
    """The same on 7 x 6 in blocks of at most 4, without grafting (theirs is per tensor).

    Measured: 1.4e-15.
    """
    ours, theirs = distributed(
        package,
        (7, 6),
        "none",
        ours={"eps": 0.0, "block_size": 4},
        theirs={"use_svd": True, "matrix_eps": 0.0, "block_size": 4},
    )
    assert difference(ours, theirs) < 1e-14


@pytest.mark.parametrize("shape", SHAPES)
def test_coupled_newton_roots(shape, package):
    """`ScalableShampoo` with roots by coupled Newton, as ours with `root_method="newton"`.

    Both have a ridge of 1e-3 of the largest eigenvalue. Measured: 1.5e-3; it stops at a
    residual of 1e-3, ours goes on to rounding.
    """
    ours, theirs = distributed(
        package,
        shape,
        "sgd",
        ours={"eps": 1e-3, "root_method": "newton"},
        theirs={"use_svd": False, "matrix_eps": 1e-3},
    )
    assert difference(ours, theirs) < 5e-3


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("adjusted", "scale"), [(False, "original"), (True, "match_rms_adamw")])
@pytest.mark.parametrize("shape", SHAPES)
def test_muon(shape, adjusted, scale, nesterov, precision, package, monkeypatch):
    """Muon, both scales, with and without Nesterov, with weight decay.

    Measured: 3.9e-2 as released, which iterates in bfloat16; 3.7e-15 once it does in float64.
    """
    if precision == "float64":
        module, name = package.optimizer.muon.base, "zero_power_via_newton_schulz_5"
        exact = functools.partial(getattr(module, name), dtype=torch.float64)
        monkeypatch.setattr(module, name, exact)
    grads, start = gradients(shape, 6), weights(shape)
    settings: Any = {"weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov}
    ours = updates(
        lambda params: matprec.torch.Muon(params, 1.0, adjust_lr=scale, **settings), grads, start
    )
    theirs = updates(
        lambda params: package.Muon(
            [{"params": params, "use_muon": True}],
            1.0,
            ns_coeffs=polar.MUON,
            use_adjusted_lr=adjusted,
            **settings,
        ),
        grads,
        start,
    )
    assert difference(ours, theirs) < {"bfloat16": 0.15, "float64": 2e-14}[precision]


@pytest.mark.parametrize("shape", SHAPES)
def test_adafactor(shape, package):
    """Vhat of Adafactor without momentum, in float64.

    Theirs with decay 1 - 1/t, so that it averages all squares, and without clipping, relative
    steps and scaling by the parameter; ours with beta2 = 1, the sum, times sqrt(t).
    Measured: 6.1e-16. Its momentum is one of updates, ours one of gradients.
    """
    grads = gradients(shape, 6)
    ours = updates(lambda params: matprec.torch.Adafactor(params, 1.0, beta1=0.0, beta2=1.0), grads)
    theirs = updates(
        lambda params: package.AdaFactor(
            params,
            1.0,
            (None, 0.999),
            decay_rate=-1.0,
            clip_threshold=1e9,
            scale_parameter=False,
            relative_step=False,
        ),
        grads,
    )
    assert difference(ours * per_step(np.sqrt(np.arange(1, 7))), theirs) < 4e-15


@pytest.mark.parametrize("shape", SHAPES)
def test_galore(shape, package, monkeypatch):
    """GaLore of rank 3 within one refresh period, eps 0, its cast to float32 removed.

    Measured: 8.7e-15 (as released: 3.0e-6). Signs are the library's, as in galore-torch; it
    refreshes at steps 1, T, 2T, ..., ours and galore-torch at 1, 1 + T, 1 + 2T, ....
    """
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    grads = gradients(shape, 8)
    group = {"rank": 3, "scale": 0.25, "update_proj_gap": 200, "projection_type": "std"}
    ours = updates(lambda params: matprec.torch.GaLore(params, 1.0, rank=3, eps=0.0), grads)
    theirs = updates(
        lambda params: package.GaLore([{"params": params, **group}], 1.0, eps=0.0), grads
    )
    assert difference(ours, theirs) < 6e-14
