"""The identities of `identities_one_sided` hold, and each notices a changed formula."""

import functools

import array_api_compat.numpy
import identities_one_sided as identities
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

from matprec import linalg, polar, transfer
from matprec.algorithms import asgo, muon


@over_shapes
@over_identities(identities.IDENTITIES)
def test_identity(identity, shape):
    identity(shape, RUN_IN_TORCH)


@over_identities(identities.IDENTITIES)
def test_identity_in_numpy(identity):
    identity(SHAPES["wide"], functools.partial(run, array_api_compat.numpy))


@over_identities(
    [
        identities.the_eps_of_the_theory_is_outside_the_root,
        identities.dasgo_is_asgo_on_the_right_where_columns_are_orthogonal,
        identities.muon_maps_singular_values_by_five_quintics,
        identities.zero_gradients,
    ]
)
def test_identity_in_jax(x64, identity):
    identity(SHAPES["wide"], functools.partial(run, jnp))


# See `mutations`.
MUTATIONS = [
    # the theory
    (
        asgo,
        "exponent=0.5, eps",
        "exponent=0.4, eps",
        identities.the_eps_of_the_theory_is_outside_the_root,
        identities.without_eps_the_theory_is_summing_asgo_before_its_alignment,
        identities.adagrads_lemma,
        identities.constant_gradients_give_the_theory_polar_factors_that_shrink,
        identities.scale_and_sign,
    ),
    (
        asgo,
        'eps_mode="outside"',
        'eps_mode="absolute"',
        identities.the_eps_of_the_theory_is_outside_the_root,
    ),
    (
        asgo,
        "self._statistics(xp, state, grads, 1.0)",
        "self._statistics(xp, state, grads, 0.5)",
        identities.without_eps_the_theory_is_summing_asgo_before_its_alignment,
        identities.the_theory_has_the_left_side_and_no_momentum,
        identities.constant_gradients_give_the_theory_polar_factors_that_shrink,
    ),
    (
        asgo,
        'side: Literal["small", "left", "right"] = "left"',
        'side: Literal["small", "left", "right"] = "right"',
        identities.the_theory_has_the_left_side_and_no_momentum,
    ),
    (
        asgo,
        'linalg.multiply(xp, state["root"], grads,',
        'linalg.multiply(xp, state["root"], grads**3,',
        identities.equivariance,
        identities.scale_and_sign,
    ),
    (
        asgo,
        "method=self.root_method",
        'method="eigh"',
        identities.root_methods_agree,
    ),
    (
        linalg,
        'xp.matmul(x, xt) if side == "left" else xp.matmul(xt, x)',
        'xp.matmul(x, xt) if side == "left" else -xp.matmul(xt, x)',
        identities.transposed_gradients_give_transposed_updates,
    ),
    # DASGO
    (
        asgo,
        'xp.sqrt(state["statistics"] + self.eps)',
        '(xp.sqrt(state["statistics"]) + self.eps)',
        identities.the_eps_of_dasgo_is_inside_the_root,
    ),
    (
        asgo,
        'xp.sqrt(state["statistics"] + self.eps)',
        'xp.sqrt(1 + state["statistics"] + self.eps)',
        identities.constant_gradients_give_dasgo_the_same_at_every_step,
        identities.rank_one_gradients_keep_their_direction,
    ),
    (
        asgo,
        "xp.sum(grads * grads, axis=-2, keepdims=True)",
        "xp.sum(xp.abs(grads), axis=-2, keepdims=True)",
        identities.dasgo_is_asgo_on_the_right_where_columns_are_orthogonal,
        identities.dasgo_divides_columns_by_their_lengths,
    ),
    (
        asgo,
        "xp.sum(grads * grads, axis=-2, keepdims=True)",
        "xp.sum(grads * grads, axis=(-2, -1), keepdims=True)",
        identities.dasgo_is_asgo_on_the_right_where_columns_are_orthogonal,
        identities.dasgo_divides_columns_by_their_lengths,
    ),
    # momentum and lengths
    (
        asgo,
        "return {} if absent else",
        "return {} if not absent else",
        identities.without_momentum_none_is_kept,
    ),
    (
        asgo,
        'state["momentum"], grads, beta1)',
        'state["momentum"], grads, beta1**2)',
        identities.dasgo_divides_columns_by_their_lengths,
        identities.zero_gradients,
    ),
    (
        transfer,
        "length = rms *",
        "length = 2 * rms *",
        identities.lengths_of_updates,
    ),
    # Muon
    (
        muon,
        "if self.nesterov:",
        "if not self.nesterov:",
        identities.muons_momentum,
    ),
    (
        muon,
        "0.2 * max(rows, columns)",
        "0.2 * min(rows, columns)",
        identities.muon_maps_singular_values_by_five_quintics,
        identities.muon_with_an_accurate_polar_factor_is_asgo_without_accumulation,
        identities.muons_two_scales,
    ),
    (
        muon,
        "max(1.0, rows / columns)",
        "max(1.0, columns / rows)",
        identities.muons_two_scales,
        identities.transposed_gradients_give_transposed_updates,
    ),
    (
        muon,
        "average, self.ns_steps",
        "average, self.ns_steps + 1",
        identities.muon_maps_singular_values_by_five_quintics,
    ),
    (
        polar,
        "(3.4445, -4.7750, 2.0315)",
        "(3.4445, -4.7750, 1.0315)",
        identities.muon_maps_singular_values_by_five_quintics,
        identities.muons_singular_values_are_near_one_for_well_conditioned_gradients,
    ),
]


@over_mutations(MUTATIONS)
def test_a_mutation_breaks_an_identity(monkeypatch, mutation):
    assert unbroken(monkeypatch, mutation) == []


def test_every_identity_can_fail():
    assert never_broken(identities.IDENTITIES, MUTATIONS) == set()
