"""Muon, Adafactor and NAdamW against torch.optim, which is always installed."""

from typing import Any

import pytest
import torch
from independent import SHAPES, difference, gradients, updates, weights

import matprec.torch


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("shape", SHAPES)
def test_muon(shape, scale, nesterov, precision, monkeypatch):
    """torch.optim.Muon, both scales, with and without Nesterov, with weight decay.

    Measured: 3.9e-2 as released, which iterates in bfloat16; 3.7e-15 with the cast removed.
    """
    if precision == "float64":
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    grads, start = gradients(shape, 6), weights(shape)
    settings: Any = {"weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov}
    ours = updates(
        lambda params: matprec.torch.Muon(params, 1.0, adjust_lr=scale, **settings), grads, start
    )
    theirs = updates(
        lambda params: torch.optim.Muon(params, 1.0, adjust_lr_fn=scale, **settings), grads, start
    )
    assert difference(ours, theirs) < {"bfloat16": 0.15, "float64": 2e-14}[precision]


@pytest.mark.parametrize("shape", SHAPES)
def test_adafactor(shape):
    """torch.optim.Adafactor against ours without momentum and with beta2 = 1, in float64.

    With decay 1 - 1/t theirs averages all squares, and for a parameter of root mean square 1 its
    learning rate is 1/sqrt(t): together our sum. Without clipping. Measured: 5e-16.
    """
    grads = gradients(shape, 8)
    ours = updates(
        lambda params: matprec.torch.Adafactor(params, 1.0, beta1=0.0, beta2=1.0), grads, 1.0
    )
    theirs = updates(
        lambda params: torch.optim.Adafactor(params, 1.0, -1.0, (1e-30, 1e-3), d=float("inf")),
        grads,
        1.0,
    )
    assert difference(ours, theirs) < 3e-15


def test_nadam_differs_by_its_schedule_and_one_bias():
    """torch.optim.NAdam is not AlgoPerf's NAdam, which ours is.

    Its momentum grows by a schedule: at its defaults the updates differ by 0.31. Once the schedule
    has ended, M is still divided by 1 - beta1^(t+1), not 1 - beta1^t: 0.11 in the first step, and
    5.6e-16 when beta1^t is down to 1e-16, where only the mixing is left to compare.
    """
    grads = gradients((4, 6), 60)
    ours = updates(lambda params: matprec.torch.NAdamW(params, 1.0, beta1=0.5), grads)

    def theirs(schedule):
        return updates(
            lambda params: torch.optim.NAdam(params, 1.0, (0.5, 0.999), momentum_decay=schedule),
            grads,
        )

    ended = theirs(1e6)
    assert difference(ours, theirs(4e-3)) > 0.1
    assert difference(ours[:1], ended[:1]) > 0.03
    assert difference(ours[-5:], ended[-5:]) < 4e-15
