"""The identities of `identities_caspr` hold in the library, and each notices a changed formula."""

import functools
import inspect

import array_api_compat.numpy
import identities_caspr as identities
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

from matprec import linalg, roots
from matprec import step as stepping
from matprec.algorithms import caspr, caspr_adaptive, grafted, kl_shampoo


@over_shapes
@over_identities(identities.IDENTITIES)
def test_identity(identity, shape):
    identity(shape, RUN_IN_TORCH)


@over_identities(identities.IDENTITIES)
def test_identity_in_numpy(identity):
    identity(SHAPES["wide"], functools.partial(run, array_api_compat.numpy))


@over_identities(
    [
        identities.caspr_of_order_two_is_a_binomial_sum,
        identities.without_accumulation_caspr_is_the_polar_factor,
        identities.caspr_adaptive_carries_its_right_factor_over,
        identities.before_the_first_refresh_they_are_the_grafted_method,
        identities.lengths_are_borrowed,
    ]
)
def test_identity_in_jax(x64, identity):
    identity(SHAPES["wide"], functools.partial(run, jnp))


# See `mutations`.
MUTATIONS = [
    # the Kronecker sum
    (
        caspr,
        "sum(parts) / len(sides)",
        "sum(parts)",
        identities.without_accumulation_caspr_is_the_polar_factor,
        identities.damping_is_inside_the_roots_of_caspr,
        identities.constant_gradients_give_caspr_the_polar_factor_at_every_step,
        identities.caspr_of_order_one_is_the_mean_of_left_and_right_asgo,
        identities.caspr_tends_to_shampoo_as_p_grows,
        identities.the_order_needs_the_rank,
    ),
    (
        caspr,
        "sum(parts) / len(sides)",
        "parts[0]",
        identities.transposed_gradients_give_transposed_updates_but_to_caspr_adaptive,
        identities.caspr_of_order_two_is_a_binomial_sum,
    ),
    (
        caspr,
        "1 / (2 * self._power(grads))",
        "1 / 2",
        identities.caspr_of_order_two_is_a_binomial_sum,
        identities.caspr_does_not_see_the_scale,
        identities.preconditioners_are_ordered,
    ),
    (
        caspr,
        "1 / (2 * self._power(grads))",
        "1 / (1 + self._power(grads))",
        identities.caspr_tends_to_shampoo_as_p_grows,
    ),
    (
        caspr,
        "1 / (2 * self._power(grads))",
        "1 / (2 * self.p)",
        identities.with_one_side_left_out_they_are_asgo,
    ),
    (
        caspr,
        "linalg.ema_gram(xp, state[side], grads, side, self.beta2)",
        "-linalg.ema_gram(xp, state[side], grads, side, self.beta2)",
        identities.sums_of_caspr_grow,
    ),
    (
        caspr,
        '= "relative_mean"',
        '= "relative_max"',
        identities.damping_is_inside_the_roots_of_caspr,
    ),
    (
        caspr,
        "state, update, mean), state",
        "state, update**2, mean), state",
        identities.two_sided_methods_are_orthogonally_equivariant,
        identities.with_adams_length_they_are_equivariant_to_signed_permutations_only,
        identities.negated_gradients_give_negated_two_sided_updates,
        identities.rank_one_gradients_keep_their_direction,
    ),
    # what they share
    (
        grafted,
        "linalg.debias(xp, state[name], algorithm.beta2, ",
        "linalg.debias(xp, state[name], algorithm.beta2**2, ",
        identities.constant_gradients_give_caspr_the_polar_factor_at_every_step,
        identities.caspr_of_order_one_is_the_mean_of_left_and_right_asgo,
    ),
    (
        grafted,
        'state["second_moment"], grads, algorithm.beta2',
        'state["second_moment"], grads, algorithm.beta2**2',
        identities.zero_gradients_let_two_sided_states_decay,
    ),
    (
        grafted,
        "return transfer.Graft(update, linalg.squares(xp, grafted))",
        "return transfer.Graft(update, linalg.squares(xp, mean))",
        identities.lengths_are_borrowed,
    ),
    (
        grafted,
        "update = transfer.graft(xp, update, grafted)",
        "update = transfer.graft(xp, update, mean)",
        identities.lengths_are_borrowed,
    ),
    (
        grafted,
        'state["last_refresh"] > 0',
        'state["last_refresh"] >= 0',
        identities.before_the_first_refresh_they_are_the_grafted_method,
    ),
    (
        stepping,
        "(count - start) % every",
        "(count + start) % every",
        identities.between_refreshes_two_sided_roots_stay_bit_for_bit,
    ),
    (
        roots,
        "powers = xp.where(positive[..., -1:], powers, 1.0)",
        "powers = xp.where(positive[..., -1:], powers, 0.0)",
        identities.a_zero_gradient_at_a_two_sided_refresh_freezes_nothing,
    ),
    (
        linalg,
        "where(y == 0, 0.0, x / xp.where(y == 0, 1.0, y))",
        "where(y != 0, 0.0, x / y)",
        identities.zero_gradients_stay_zero,
    ),
    # CASPR Adaptive
    (
        caspr_adaptive,
        "trace / grads.shape[-2]",
        "trace / grads.shape[-2] ** 2",
        identities.caspr_adaptive_carries_its_right_factor_over,
        identities.carried_over_history_is_whitened_by_the_current_root,
    ),
    (
        caspr_adaptive,
        'xp.asarray(state["left"], copy=True)',
        'state["left_before"]',
        identities.caspr_adaptive_carries_its_right_factor_over,
        identities.carried_over_history_is_whitened_by_the_current_root,
    ),
    (
        caspr_adaptive,
        "white = white * grads.shape[-2] ** -0.5",
        "white = grads * grads.shape[-2] ** -0.5",
        identities.without_memory_caspr_adaptive_whitens_constant_gradients,
        identities.carried_over_history_is_whitened_by_the_current_root,
    ),
    (
        caspr_adaptive,
        '"left": 1e-6',
        '"left": 1e-2',
        identities.caspr_adaptive_carries_its_right_factor_over,
    ),
    # KL-Shampoo
    (
        kl_shampoo,
        "self.fitting_sides(grads), 0.5)",
        "self.fitting_sides(grads), 0.25)",
        identities.with_one_side_left_out_they_are_asgo,
    ),
    (
        kl_shampoo,
        "length**-0.5",
        "length**-1",
        identities.with_one_side_left_out_they_are_asgo,
    ),
]


@over_mutations(MUTATIONS)
def test_a_mutation_breaks_an_identity(monkeypatch, mutation):
    assert unbroken(monkeypatch, mutation) == []


@pytest.mark.parametrize(
    "module", [caspr, caspr_adaptive, grafted, kl_shampoo], ids=lambda module: module.__name__
)
def test_an_unchanged_replacement_breaks_nothing(monkeypatch, module):
    whole = inspect.getsource(module)
    mutate(monkeypatch, module, whole, whole)
    assert holds(identities.lengths_are_borrowed)
    assert holds(identities.with_one_side_left_out_they_are_asgo)


def test_every_identity_can_fail():
    """But for one that states the absence of an equality, every identity has a mutation."""
    absences = {identities.caspr_is_not_equivariant_to_invertible_matrices}
    assert never_broken(identities.IDENTITIES, MUTATIONS) == absences
