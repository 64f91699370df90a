"""The identities of `identities_kl_shampoo` hold, and each notices a changed formula."""

import functools

import array_api_compat.numpy
import identities_kl_shampoo as identities
import jax.numpy as jnp
from mutations import (
    RUN_IN_TORCH,
    SHAPES,
    never_broken,
    over_identities,
    over_mutations,
    over_shapes,
    unbroken,
)
from stacks import run

from matprec.algorithms import grafted, kl_shampoo


@over_shapes
@over_identities(identities.IDENTITIES)
def test_identity(identity, shape):
    identity(shape, RUN_IN_TORCH)


@over_identities(identities.IDENTITIES)
def test_identity_in_numpy(identity):
    identity(SHAPES["wide"], functools.partial(run, array_api_compat.numpy))


def test_identity_in_jax(x64):
    identity = identities.statistics_are_whitened_by_the_roots_before_the_step
    identity(SHAPES["wide"], functools.partial(run, jnp))


# See `mutations`.
MUTATIONS = [
    (
        kl_shampoo,
        'state[f"{other}_root"], grads, other)',
        'state[f"{other}"], grads, other)',
        identities.statistics_are_whitened_by_the_roots_before_the_step,
        identities.constant_gradients_lead_to_the_polar_factor,
        identities.stationary_gradients_show_their_covariance,
    ),
    (
        kl_shampoo,
        "white * length**-0.5",
        "white",
        identities.statistics_are_whitened_by_the_roots_before_the_step,
        identities.the_first_step_inverts_singular_values,
        identities.constant_gradients_lead_to_the_polar_factor,
        identities.stationary_gradients_show_their_covariance,
    ),
    (
        kl_shampoo,
        "self.fitting_sides(grads), 0.5)",
        "self.fitting_sides(grads), 0.25)",
        identities.statistics_are_whitened_by_the_roots_before_the_step,
        identities.the_first_step_inverts_singular_values,
        identities.stationary_gradients_show_their_covariance,
    ),
    (
        kl_shampoo,
        "if other in sides:",
        "if other not in sides:",
        identities.stationary_gradients_show_their_covariance,
    ),
    (
        grafted,
        "linalg.debias(xp, state[name], algorithm.beta2, ",
        "linalg.debias(xp, state[name], algorithm.beta2**2, ",
        identities.the_first_step_inverts_singular_values,
    ),
]


@over_mutations(MUTATIONS)
def test_a_mutation_breaks_an_identity(monkeypatch, mutation):
    assert unbroken(monkeypatch, mutation) == []


def test_every_identity_can_fail():
    assert never_broken(identities.IDENTITIES, MUTATIONS) == set()
