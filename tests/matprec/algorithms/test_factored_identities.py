"""The identities of `identities_factored` hold in the library and notice changed formulas."""

import functools

import array_api_compat.numpy
import identities_factored as identities
import jax.numpy as jnp
import numpy as np
import pytest
from mutations import (
    RUN_IN_TORCH,
    SHAPES,
    never_broken,
    over_identities,
    over_mutations,
    over_shapes,
)
from mutations_rotated import unbroken
from stacks import run

from matprec import bases, factored, linalg
from matprec import step as stepping
from matprec.algorithms import adafacdiag, adafactor, hfac


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
        identities.second_moments_have_the_row_and_column_sums,
        identities.uniform_gradients_give_hfac_nesterovs_momentum,
        identities.in_a_fixed_basis_it_is_the_plain_method_on_the_rotated_problem,
    ],
)
def test_identity_in_jax(x64, identity):
    identity(SHAPES["wide"], functools.partial(run, jnp))


@over_shapes
@pytest.mark.parametrize("name", identities.PLAIN)
def test_state_has_the_size_that_is_told(name, shape):
    algorithm = identities.PLAIN[name]()
    expected = sum(shape)
    if name != "without":
        expected = eval(algorithm.state_size, {}, {"m": shape[0], "n": shape[1]})
    _, (state,) = run(array_api_compat.numpy, algorithm, [np.ones((1, *shape))])
    sizes = [value.size for key, value in state.items() if key not in stepping.COUNTERS]
    assert sum(sizes) == expected


# Source, original text, mutated text, and the identities that must fail for one of the shapes.
MUTATIONS = [
    (
        linalg,
        "return old + weight * (new - old)",
        "return old - weight * (new - old)",
        identities.time_corrected_averages_are_debiased_averages,
        identities.constant_gradients_change_nothing_after_the_first_step,
    ),
    (
        factored,
        "-xp.expm1(later * rate), 1.0)",
        "-xp.expm1(2 * later * rate), 1.0)",
        identities.time_corrected_averages_are_debiased_averages,
        identities.on_squares_of_rank_one_adafactor_is_adam,
        identities.uniform_gradients_give_hfac_nesterovs_momentum,
        identities.zero_gradients,
    ),
    (
        factored,
        "-xp.expm1(later * rate), 1.0)",
        "-xp.expm1(later * rate), 0.5)",
        identities.first_steps_are_adafactor_without_momentum,
    ),
    (
        factored,
        "+ x.shape[-1] * eps",
        "- x.shape[-1] * eps",
        identities.time_corrected_averages_are_debiased_averages,
    ),
    (
        factored,
        "return old + new",
        "return old - new",
        identities.summed_second_moments_shrink_constant_streams_by_the_root_of_time,
    ),
    (
        factored,
        "shares = xp.sqrt(linalg.divide_or_zero(xp, rows, total))",
        "shares = linalg.divide_or_zero(xp, rows, total)",
        identities.second_moments_have_the_row_and_column_sums,
        identities.adafactor_in_the_eigenbases_of_its_statistics_is_shampoo_with_square_roots,
        identities.transposed_gradients_give_transposed_updates,
        identities.rank_one_gradients,
    ),
    (
        factored,
        "xp.ones_like(columns), xp.sqrt(columns)",
        "xp.ones_like(columns), columns",
        identities.scale_and_sign,
    ),
    (
        factored,
        "    x = x * linalg.divide_or_zero",
        "    x = x * x * linalg.divide_or_zero",
        identities.scale_and_sign,
        identities.plain_methods_are_equivariant_to_permutations_only,
    ),
    (
        linalg,
        "where(y == 0, 0.0, x / xp.where(y == 0, 1.0, y))",
        "where(y != 0, x / y, x / y)",
        identities.zero_gradients,
    ),
    (
        bases,
        "return 2.0 * float",
        "return 0.0 * float",
        identities.rows_and_columns_of_zeros_get_no_update,
        identities.rank_one_gradients,
    ),
    (
        bases,
        "products < 0, -1.0",
        "products < 0, 1.0",
        identities.rotated_methods_are_equivariant_on_the_sides_that_they_rotate,
    ),
    (
        adafactor,
        'mean = state["mean"] if self.has_mean else grads',
        "mean = grads",
        identities.on_squares_of_rank_one_adafactor_is_adam,
    ),
    (
        adafactor,
        "linalg.is_zero(self.beta1)",
        "linalg.is_zero(self.beta1 - 1)",
        identities.without_momentum_no_first_moment_is_stored,
    ),
    (
        adafacdiag,
        "return Adafactor(beta1=self.beta1, beta2=self.beta2",
        "return Adafactor(beta1=self.beta1, beta2=0.5",
        identities.before_the_first_refresh_it_is_the_plain_method,
        identities.in_a_fixed_basis_it_is_the_plain_method_on_the_rotated_problem,
    ),
    (
        hfac,
        "eps=self.eps, clip=self.clip)",
        "eps=self.eps, clip=None)",
        identities.before_the_first_refresh_it_is_the_plain_method,
        identities.in_a_fixed_basis_it_is_the_plain_method_on_the_rotated_problem,
    ),
    (
        hfac,
        "0.5 * now",
        "-0.5 * now",
        identities.uniform_gradients_give_hfac_nesterovs_momentum,
        identities.hfac_moves_by_its_factored_momentum,
    ),
    (
        hfac,
        "bracket = state[key] - xp.mean",
        "bracket = state[key] + xp.mean",
        identities.uniform_gradients_give_hfac_nesterovs_momentum,
        identities.constant_gradients_change_nothing_after_the_first_step,
    ),
    (
        hfac,
        "xp.sqrt(sums / grads.shape[axis])",
        "xp.sqrt(sums)",
        identities.uniform_gradients_give_hfac_nesterovs_momentum,
        identities.hfac_moves_by_its_factored_momentum,
    ),
    (
        factored,
        "rms / clip, 1.0",
        "rms * clip, 1.0",
        identities.clipping_bounds_the_root_mean_square_and_keeps_the_direction,
    ),
]


@over_mutations(MUTATIONS)
def test_a_mutation_breaks_identities(monkeypatch, mutation):
    assert unbroken(monkeypatch, mutation) == []


def test_every_identity_can_fail():
    assert never_broken(identities.IDENTITIES, MUTATIONS) == set()
