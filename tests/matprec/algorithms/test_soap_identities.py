"""The identities of `identities_soap` hold in the library, and each notices a changed formula."""

import functools

import array_api_compat.numpy
import identities_soap as identities
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

from matprec import factored, linalg, moments
from matprec import step as stepping
from matprec.algorithms import soap


@over_shapes
@over_identities(identities.IDENTITIES)
def test_identity(identity, shape):
    identity(shape, RUN_IN_TORCH)


@over_identities(identities.IDENTITIES)
def test_identity_in_numpy(identity):
    identity(SHAPES["wide"], functools.partial(run, array_api_compat.numpy))


@over_identities(
    [
        identities.with_every_side_left_out_it_is_adam_one_call_late,
        identities.the_first_moment_is_the_plain_average_in_other_coordinates,
        identities.the_second_moment_moves_with_its_columns,
        identities.bases_refreshed_in_every_step_find_the_eigenvectors,
        identities.zero_gradients,
    ]
)
def test_identity_in_jax(x64, identity):
    identity(SHAPES["wide"], functools.partial(run, jnp))


# See `mutations`.
MUTATIONS = [
    # the first step
    (
        soap,
        'state["t"] > 1',
        'state["t"] > 0',
        identities.with_every_side_left_out_it_is_adam_one_call_late,
        identities.the_first_step_sets_the_bases_and_does_nothing_else,
        identities.the_first_moment_is_the_plain_average_in_other_coordinates,
    ),
    (
        soap,
        'updates = state["t"] - 1',
        'updates = state["t"]',
        identities.with_every_side_left_out_it_is_adam_one_call_late,
        identities.updates_take_the_bases_from_before_their_gradient,
    ),
    (
        soap,
        "updates > 0, update",
        "updates >= 0, update",
        identities.the_first_step_sets_the_bases_and_does_nothing_else,
    ),
    (
        soap,
        "update = update + decay",
        "update = update - decay",
        identities.the_first_step_sets_the_bases_and_does_nothing_else,
    ),
    (
        soap,
        "xp.flip(xp.linalg.eigh(factor)[1], axis=-1)",
        "xp.linalg.eigh(factor)[1]",
        identities.the_first_step_sets_the_bases_and_does_nothing_else,
    ),
    # turning
    (
        soap,
        'xp.matrix_transpose(basis) if side == "left" else basis',
        'basis if side == "left" else xp.matrix_transpose(basis)',
        identities.within_one_refresh_period_it_is_adam_on_turned_gradients,
        identities.constant_gradients_give_the_polar_factor_damped_outside_the_root,
        identities.from_the_same_bases_it_is_adadiag_until_the_next_refresh,
        identities.orthogonal_equivariance,
    ),
    (
        soap,
        'state["second_moment"], turned, self.beta2',
        'state["second_moment"], grads, self.beta2',
        identities.the_second_moment_moves_with_its_columns,
        identities.from_the_same_bases_it_is_adadiag_until_the_next_refresh,
        identities.orthogonal_equivariance,
    ),
    (
        soap,
        'state["mean"], state["turned"]',
        'state["mean"], grads',
        identities.within_one_refresh_period_it_is_adam_on_turned_gradients,
    ),
    (
        soap,
        'linalg.ema(xp, state["mean"], turned',
        'linalg.ema(xp, state["mean"], grads',
        identities.the_first_moment_is_the_plain_average_in_other_coordinates,
    ),
    (
        moments,
        "linalg.quotient(xp, mean, second_moment, bias, eps)",
        "linalg.quotient(xp, mean, second_moment, bias, -eps)",
        identities.constant_gradients_give_the_polar_factor_damped_outside_the_root,
    ),
    (
        moments,
        "linalg.quotient(xp, mean, second_moment, bias, eps)",
        "linalg.quotient(xp, mean, second_moment**2, bias**2, eps)",
        identities.scale_and_sign,
    ),
    # refreshes
    (
        soap,
        'refresh_at: ClassVar = "end"',
        'refresh_at: ClassVar = "after"',
        identities.updates_take_the_bases_from_before_their_gradient,
    ),
    (
        soap,
        'state["mean"], _transposed(xp, old_bases))',
        'state["mean"], old_bases)',
        identities.the_first_moment_is_the_plain_average_in_other_coordinates,
        identities.updates_take_the_bases_from_before_their_gradient,
    ),
    (
        soap,
        "descending=True",
        "descending=False",
        identities.the_second_moment_moves_with_its_columns,
        identities.a_refresh_is_one_orthogonal_iteration,
        identities.bases_refreshed_in_every_step_find_the_eigenvectors,
    ),
    (
        soap,
        "moment = _reordered(",
        "_reordered(",
        identities.the_second_moment_moves_with_its_columns,
    ),
    (
        soap,
        "linalg.orthonormal(xp, xp.matrix_transpose(product))",
        "linalg.orthonormal(xp, old)",
        identities.a_refresh_is_one_orthogonal_iteration,
        identities.bases_refreshed_in_every_step_find_the_eigenvectors,
    ),
    (
        linalg,
        'xp.matmul(x, xt) if side == "left" else xp.matmul(xt, x)',
        'xp.matmul(x, xt) if side == "left" else -xp.matmul(xt, x)',
        identities.transposed_gradients_give_transposed_updates,
    ),
    (
        stepping,
        "(count - start) % every",
        "(count + start) % every",
        identities.bases_change_at_refreshes_only,
    ),
    (
        soap,
        "xp, linalg.vanishes(xp, state[side]), old, basis",
        "xp, linalg.vanishes(xp, state[side]), -old, basis",
        identities.zero_gradients,
    ),
    (
        soap,
        "xp.sqrt(squared) >= floor",
        "xp.sqrt(squared) >= 0",
        identities.rows_and_columns_without_gradients_come_to_rest,
    ),
    (
        soap,
        'ok = ok & state[f"{side}_finite"] &',
        "ok = ok &",
        identities.a_factor_that_is_not_finite_moves_nothing,
    ),
    # sides and factors
    (
        soap,
        "side == self.small_side(grads)",
        "side != self.small_side(grads)",
        identities.the_small_side_alone,
    ),
    (
        soap,
        "self.beta2 if self.shampoo_beta is None",
        "self.beta1 if self.shampoo_beta is None",
        identities.each_factor_keeps_its_own_average,
    ),
    (
        factored,
        "shares = xp.sqrt(linalg.divide_or_zero(xp, rows, total))",
        "shares = linalg.divide_or_zero(xp, rows, total)",
        identities.shampoo_with_halves_times_the_root_of_the_trace_is_adafactor_in_the_eigenbases,
    ),
]


@over_mutations(MUTATIONS)
def test_a_mutation_breaks_an_identity(monkeypatch, mutation):
    assert unbroken(monkeypatch, mutation) == []


def test_every_identity_can_fail():
    assert never_broken(identities.IDENTITIES, MUTATIONS) == set()
