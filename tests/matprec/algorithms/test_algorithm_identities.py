"""The identities of `identities` hold in the library, and each group notices a changed formula.

The mutations at the end are changed signs and exponents in the library's source.
"""

import functools
import inspect

import array_api_compat.numpy
import identities
import jax.numpy as jnp
import pytest
from mutations import (
    RUN_IN_TORCH,
    SHAPES,
    holds,
    mutate,
    never_broken,
    over_identities,
    over_mutations,
    over_shapes,
    unbroken,
)
from stacks import run

from matprec import linalg, moments, roots, transfer
from matprec import step as stepping
from matprec.algorithms import asgo, grafted, nadamw, shampoo


@over_shapes
@over_identities(identities.IDENTITIES)
def test_identity(identity, shape):
    identity(shape, RUN_IN_TORCH)


@over_identities(identities.IDENTITIES)
def test_identity_in_numpy(identity):
    identity(SHAPES["wide"], functools.partial(run, array_api_compat.numpy))


@pytest.mark.parametrize(
    "identity",
    [
        identities.without_accumulation_asgo_is_the_polar_factor,
        identities.constant_gradients_give_scaled_polar_factors_at_every_step,
        identities.constant_gradients_give_adam_their_signs,
        identities.orthogonal_equivariance,
    ],
)
def test_identity_in_jax(x64, identity):
    identity(SHAPES["wide"], functools.partial(run, jnp))


# Source, original text, mutated text, and the identities that must fail for one of the shapes.
MUTATIONS = [
    # roots and Gram matrices
    (
        asgo,
        'state["statistics"], 0.5, eps',
        'state["statistics"], 0.4, eps',
        identities.without_accumulation_asgo_is_the_polar_factor,
        identities.adagrad_inequality_for_summed_statistics,
        identities.refreshing_every_step_is_the_unamortised_method,
        identities.asgo_on_one_row_is_adagrad,
    ),
    (
        asgo,
        'state["statistics"], 0.5, eps',
        'state["statistics"], -0.5, eps',
        identities.first_asgo_step_is_the_scaled_polar_factor_whatever_the_betas,
    ),
    (
        asgo,
        "            return self.small_side(grads)",
        '            return "left"',
        identities.ties_go_to_the_right_side,
    ),
    (
        shampoo,
        "1 / (2 * len(names))",
        "1 / len(names)",
        identities.without_accumulation_shampoo_is_the_polar_factor,
        identities.scale,
    ),
    (
        grafted,
        "inverse_root(xp, algorithm, factor, exponent)",
        'inverse_root(xp, algorithm, factor, exponent * (1 + (name == "left")))',
        identities.transposed_gradients_give_transposed_updates,
        identities.damping_is_inside_the_root,
    ),
    (
        shampoo,
        "linalg.ema_mode_gram(xp, state[name]",
        "-linalg.ema_mode_gram(xp, -state[name]",
        identities.one_sided_shampoo_is_asgo_on_the_left,
        identities.statistics_grow_or_average,
    ),
    (
        roots,
        "xp.where(positive, damped, 1.0) ** -exponent",
        "xp.where(positive, damped, 1.0) ** exponent",
        identities.without_accumulation_asgo_is_the_polar_factor,
        identities.without_accumulation_shampoo_is_the_polar_factor,
        identities.constant_gradients_give_scaled_polar_factors_at_every_step,
    ),
    (
        linalg,
        'xp.matmul(x, xt) if side == "left" else xp.matmul(xt, x)',
        'xp.matmul(x, xt) if side == "left" else -xp.matmul(xt, x)',
        identities.transposed_gradients_give_transposed_updates,
    ),
    (
        roots,
        "eigenvalues + ridge,",
        "eigenvalues - ridge,",
        identities.damping_is_inside_the_root,
    ),
    (
        roots,
        "xp.where(smallest < 0, smallest, 0.0) + eps",
        "xp.where(smallest < 0, smallest, 0.0) - eps",
        identities.damping_is_inside_the_root,
    ),
    (
        roots,
        "powers = xp.where(positive[..., -1:], powers, 1.0)",
        "powers = xp.where(positive[..., -1:], powers, 0.0)",
        identities.a_zero_gradient_at_a_refresh_freezes_nothing,
    ),
    # averages and their bias
    (
        linalg,
        "return beta * old + weight * new",
        "return beta * old - weight * new",
        identities.constant_gradients_give_scaled_polar_factors_at_every_step,
    ),
    (
        linalg,
        "return beta * old + weight * new",
        "return beta**2 * old + weight * new",
        identities.zero_gradients_let_the_state_decay,
    ),
    (
        linalg,
        "weight = 1.0 if beta == 1 else 1.0 - beta",
        "weight = 1.0 if beta == 1 else 1.0 + beta",
        identities.statistics_grow_or_average,
    ),
    (
        linalg,
        "-xp.expm1(t * math.log(beta))",
        "xp.expm1(t * math.log(beta))",
        identities.constant_gradients_give_adam_their_signs,
        identities.constant_gradients_through_the_heavy_ball,
    ),
    (
        linalg,
        "-xp.expm1(t * math.log(beta))",
        "-xp.expm1(2 * t * math.log(beta))",
        identities.constant_gradients_give_scaled_polar_factors_at_every_step,
        identities.amortised_refreshes_change_nothing_under_constant_gradients,
    ),
    (
        stepping,
        'state["t"] + xp',
        'state["t"] - xp',
        identities.adam_without_momentum_divides_by_the_running_root_mean_square,
    ),
    (
        nadamw,
        'linalg.ema_squares(xp, state["second_moment"], grads, self.beta2)',
        'linalg.ema_squares(xp, state["second_moment"], grads**2, self.beta2)',
        identities.scale,
    ),
    (
        moments,
        "return linalg.quotient(xp, mean, second_moment, bias, eps)",
        "return linalg.quotient(xp, -mean, second_moment, bias, -eps)",
        identities.adam_without_momentum_divides_by_the_running_root_mean_square,
    ),
    # lengths
    (
        transfer,
        "length = rms * math.prod(direction.shape[1:]) ** 0.5",
        "length = rms * math.prod(direction.shape[1:]) ** 0.25",
        identities.lengths_of_updates,
    ),
    (
        transfer,
        "return direction * linalg.divide_or_zero(xp, length",
        "return -direction * linalg.divide_or_zero(xp, length",
        identities.first_asgo_step_is_the_scaled_polar_factor_whatever_the_betas,
        identities.rank_one_gradients_are_normalised,
    ),
    (
        transfer,
        "return direction * linalg.divide_or_zero(xp, length",
        "return direction**2 * linalg.divide_or_zero(xp, length",
        identities.negated_gradients_give_negated_updates,
        identities.orthogonal_equivariance,
    ),
    (
        transfer,
        "return direction * linalg.divide_or_zero(xp, scale",
        "return -direction * linalg.divide_or_zero(xp, scale",
        identities.constant_gradients_with_grafting_keep_the_grafted_length,
    ),
    (
        transfer,
        "return direction * linalg.divide_or_zero(xp, scale",
        "return direction**2 * linalg.divide_or_zero(xp, scale",
        identities.negated_gradients_give_negated_updates,
        identities.adam_and_its_grafting_are_equivariant_to_signed_permutations_only,
    ),
    (
        moments,
        "return linalg.quotient(xp, mean, second_moment, bias, eps)",
        "return linalg.quotient(xp, mean, second_moment**2, bias**2, eps)",
        identities.scale,
    ),
    (
        linalg,
        "xp.sum(x * x, axis=tuple",
        "xp.sum(x**4, axis=tuple",
        identities.orthogonal_equivariance,
        identities.lengths_of_updates,
    ),
    (
        linalg,
        "where(y == 0, 0.0, x / xp.where(y == 0, 1.0, y))",
        "where(y != 0, 0.0, x / y)",
        identities.zero_gradients_from_the_start,
    ),
    # momentum and schedule
    (
        grafted,
        "return moments.adam(",
        "return -moments.adam(",
        identities.shampoo_before_its_first_refresh_is_the_grafted_method,
    ),
    (
        shampoo,
        "(1 - self.momentum) * update + self.momentum * ball",
        "(1 - self.momentum) * update - self.momentum * ball",
        identities.constant_gradients_through_the_heavy_ball,
    ),
    (
        shampoo,
        "update = update + decay",
        "update = update - decay",
        identities.constant_gradients_through_the_heavy_ball,
    ),
    (
        stepping,
        "(count - start) % every",
        "(count + start) % every",
        identities.between_refreshes_the_roots_stay_bit_for_bit,
    ),
]


@over_mutations(MUTATIONS)
def test_a_mutation_breaks_an_identity(monkeypatch, mutation):
    assert unbroken(monkeypatch, mutation) == []


MODULES = [asgo, grafted, linalg, moments, nadamw, roots, shampoo, stepping, transfer]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_an_unchanged_replacement_breaks_nothing(monkeypatch, module):
    whole = inspect.getsource(module)
    mutate(monkeypatch, module, whole, whole)
    assert holds(identities.constant_gradients_give_scaled_polar_factors_at_every_step)
    assert holds(identities.shampoo_before_its_first_refresh_is_the_grafted_method)


def test_every_identity_can_fail():
    """But for two that state the absence of an equality, every identity has a mutation."""
    absences = {
        identities.asgo_with_momentum_alone_is_not_the_polar_factor_of_the_momentum,
        identities.asgo_is_not_equivariant_to_invertible_matrices,
    }
    assert never_broken(identities.IDENTITIES, MUTATIONS) == absences
