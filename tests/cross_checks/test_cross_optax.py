"""Adafactor, Muon and GaLore against optax, in float64 under `jax.jit`.

`scale_by_factored_rms` is in every optax; optax.contrib has Muon since 0.2.5 and GaLore since
0.2.7. Kernels lie as in flax, (inputs, outputs), for both.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from independent import difference, gradients, weights

import matprec.jax


def contrib(name):
    """An optimizer of optax.contrib, at learning rate 1."""
    if not hasattr(optax.contrib, name):
        pytest.skip(
            f"optax {optax.__version__} has no optax.contrib.{name}: "
            "`make test-cross-checks` installs one that has it"
        )
    return functools.partial(getattr(optax.contrib, name), 1.0)


def optax_updates(optimizer, grads, start):
    """What `independent.updates` gives, for a dict of gradients and one of parameters."""
    params = {key: jnp.asarray(value) for key, value in start.items()}
    state, step, found = optimizer.init(params), jax.jit(optimizer.update), []
    for i in range(len(next(iter(grads.values())))):
        update, state = step({key: jnp.asarray(x[i]) for key, x in grads.items()}, state, params)
        found.append(update)
    return {key: -np.stack([update[key] for update in found]) for key in grads}


def largest_difference(ours, theirs, steps, *, of=slice(None), shapes=((4, 6), (6, 4))):
    """Over parameters of these shapes, in the chosen steps."""
    grads = {str(shape): gradients(shape, steps) for shape in shapes}
    start = {str(shape): weights(shape) for shape in shapes}
    found = [optax_updates(optimizer, grads, start) for optimizer in (ours, theirs)]
    return max(difference(found[0][key][of], found[1][key][of]) for key in grads)


def test_adafactor(x64):
    """`scale_by_factored_rms` with the time-corrected decay of `matprec.factored`, written out.

    Ours without momentum. Measured: 5.6e-16. `optax.adafactor` differs by its decay, clipping,
    scaling by the parameter and momentum of updates.
    """

    def decay_of(step, beta):
        return beta * (1 - beta**step) / (1 - beta ** (step + 1.0))

    theirs = optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=0.9, min_dim_size_to_factor=1, decay_rate_fn=decay_of
        ),
        optax.scale(-1.0),
    )
    ours = matprec.jax.adafactor(1.0, beta1=0.0, beta2=0.9)
    assert largest_difference(ours, theirs, 8) < 4e-15


def test_muon_without_nesterov(x64):
    """With the scale `match_rms_adamw` and weight decay. Measured: 2.6e-15.

    It divides the averaged gradient by 1 - mu^t, ours does not: the iteration forgets lengths.
    """
    settings = {"nesterov": False, "weight_decay": 0.1, "consistent_rms": 0.2}
    theirs = contrib("muon")(beta=0.9, eps=0.0, **settings)
    ours = matprec.jax.muon(1.0, 0.1, momentum=0.9, nesterov=False)
    assert largest_difference(ours, theirs, 8) < 2e-14


def test_muon_with_nesterov_once_its_bias_correction_has_faded(x64):
    """With momentum 0.5 and the scale `original`, in steps 55 to 60. Measured: 3.1e-15.

    It divides the two terms of mu M + (1 - mu) G by 1 - mu^(t+1) and 1 - mu^t, ours and Muon's
    author neither: differences of up to 5e-2 in the second step and the next few.
    """
    theirs = contrib("muon")(beta=0.5, eps=0.0)
    ours = matprec.jax.muon(1.0, momentum=0.5, adjust_lr="original")
    assert largest_difference(ours, theirs, 60, of=slice(-6, None)) < 2e-14


def test_galore_of_a_square_matrix(x64):
    """Rank 3 within one refresh period, eps included. Measured: 6.2e-7; its SVD is in float32.

    Other shapes cannot agree: it projects the large side, GaLore's authors the small one (0.8 on
    4 x 6, 1.5 on 6 x 4). Signs are the library's.
    """
    theirs = contrib("galore")(rank=3, update_proj_gap=200, scale=0.25)
    ours = matprec.jax.galore(1.0, rank=3, scale=0.25)
    assert largest_difference(ours, theirs, 8, shapes=((5, 5),)) < 3e-6
