"""The identities of `identities_rotated` hold in the library and notice changed formulas."""

import functools
import inspect

import array_api_compat.numpy
import array_api_compat.torch
import identities_rotated as identities
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
from stacks import close, polar, run

from matprec import bases, moments
from matprec import step as stepping
from matprec.algorithms import adadiag, base, galore, nadamw, rotated


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
        identities.without_accumulation_it_is_the_sign_in_the_basis,
        identities.plus_plus_is_equivariant_on_both_sides,
    ],
)
def test_identity_in_jax(x64, identity):
    identity(SHAPES["wide"], functools.partial(run, jnp))


# ---------------------------------------- memory, single precision


@over_shapes
@pytest.mark.parametrize("name", identities.ALL)
def test_state_has_the_size_that_is_told(name, shape):
    algorithm = identities.ALL[name]()
    if name == "adafacdiag without":
        expected = shape[0] + shape[1] + min(shape) ** 2
    else:
        rank = getattr(algorithm, "rank", None)
        sides = {"m": shape[0], "n": shape[1], "d": min(shape), "D": max(shape), "r": rank}
        expected = eval(algorithm.state_size, {"min": min}, sides)
    _, (state,) = run(array_api_compat.numpy, algorithm, [np.ones((1, *shape))])
    sizes = [value.size for key, value in state.items() if key not in stepping.COUNTERS]
    assert sum(sizes) == expected


IN_SINGLE = {"numpy": array_api_compat.numpy, "torch": array_api_compat.torch, "jax": jnp}


@pytest.mark.parametrize("xp", IN_SINGLE.values(), ids=IN_SINGLE)
def test_first_step_of_plus_plus_in_single_precision(xp):
    """P^T G Q is diagonal. Rounding errors beside it, 1e-7 against an eps of 1e-8, are no step."""
    g = np.random.default_rng(0).normal(size=(2, 24, 24)).astype(np.float32)
    (u,), _ = run(xp, adadiag.AdaDiagPlusPlus(), [g])
    assert u.dtype == np.float32
    close(u, polar(g.astype(np.float64)), 1e-4)


@pytest.mark.parametrize("xp", list(IN_SINGLE.values())[:2], ids=list(IN_SINGLE)[:2])
@pytest.mark.parametrize("name", ["adadiag", "adafacdiag", "adafacdiag without"])
@pytest.mark.parametrize("condition", [1.0, 1e3])
def test_dead_units_stay_where_they_are_in_single_precision(xp, name, condition):
    """Rows of zeros; P^T G has rounding errors in them that would be divided by their own size."""
    rng = np.random.default_rng(1)
    spectrum = np.logspace(0, -np.log10(condition), 24)[:, None]
    grads = []
    for _ in range(6):
        g = (np.linalg.qr(rng.normal(size=(24, 24))).Q @ (spectrum * rng.normal(size=(24, 40))))[
            None
        ]
        g[:, ::5] = 0.0
        grads += [g.astype(np.float32)]
    updates, _ = run(xp, identities.ALL[name](refresh_every=4), grads)
    for u in updates:
        assert np.max(np.abs(u[:, ::5])) < 1e-2 * np.max(np.abs(u))


# ---------------------------------------- changed formulas

# Source, original text, mutated text, and the identities that must fail for one of the shapes.
MUTATIONS = [
    (
        bases,
        "products < 0, -1.0",
        "products < 0, 1.0",
        identities.bases_are_singular_vectors_of_the_gradient_of_the_refresh,
        identities.orthogonal_equivariance_on_the_small_side_through_refreshes,
    ),
    (
        bases,
        "products < 0, -1.0",
        "products > 0, -1.0",
        identities.bases_are_singular_vectors_of_the_gradient_of_the_refresh,
    ),
    (
        bases,
        "pairs * signs, rest",
        "pairs, rest",
        identities.bases_are_singular_vectors_of_the_gradient_of_the_refresh,
    ),
    (
        bases,
        "return 2.0 * float",
        "return 0.0 * float",
        identities.constant_gradients,
        identities.without_accumulation_it_is_the_sign_in_the_basis,
        identities.rank_one_gradients,
        identities.plus_plus_is_equivariant_on_both_sides,
    ),
    (
        rotated,
        'xp.matmul(xp.matrix_transpose(state["left_basis"]), rotated)',
        'xp.matmul(state["left_basis"], rotated)',
        identities.without_accumulation_it_is_the_sign_in_the_basis,
        identities.orthogonal_equivariance_on_the_small_side_through_refreshes,
        identities.a_turned_first_moment_is_the_average_of_the_plain_gradients,
    ),
    (
        rotated,
        'xp.matmul(update, xp.matrix_transpose(state["right_basis"]))',
        'xp.matmul(update, state["right_basis"])',
        identities.in_a_fixed_basis_it_is_adam_on_the_rotated_problem,
        identities.transposed_gradients_give_transposed_updates,
        identities.on_the_large_side_only_signed_permutations,
    ),
    (
        rotated,
        'refresh_at: ClassVar = "before"',
        'refresh_at: ClassVar = "after"',
        identities.constant_gradients,
    ),
    (
        rotated,
        "nonzero = linalg.any_nonzero(xp, grads)",
        "nonzero = linalg.any_nonzero(xp, grads + 1)",
        identities.a_zero_gradient_at_a_refresh_keeps_the_basis,
    ),
    (
        rotated,
        "new = {key: basis[..., : state[key].shape[-1]]",
        "new = {key: basis[..., -state[key].shape[-1] :]",
        identities.bases_are_singular_vectors_of_the_gradient_of_the_refresh,
    ),
    (
        rotated,
        "self.fitting_sides(grads) if self.two_sided",
        '("left", "right") if self.two_sided',
        identities.a_side_beyond_max_dim_is_left_out,
    ),
    (
        adadiag,
        "nesterov=self.nesterov)",
        "nesterov=False)",
        identities.before_the_first_refresh_it_is_adam,
        identities.in_a_fixed_basis_it_is_adam_on_the_rotated_problem,
    ),
    (
        rotated,
        'state["rotated"], None',
        "grads, None",
        identities.in_a_fixed_basis_it_is_adam_on_the_rotated_problem,
    ),
    (
        adadiag,
        '(("mean",) if turned else ())',
        "()",
        identities.a_turned_first_moment_is_the_average_of_the_plain_gradients,
    ),
    (
        adadiag,
        'xp.matmul(xp.matrix_transpose(new["left_basis"]), state["left_basis"])',
        'xp.matmul(xp.matrix_transpose(state["left_basis"]), new["left_basis"])',
        identities.a_turned_first_moment_is_the_average_of_the_plain_gradients,
        identities.plus_plus_is_equivariant_on_both_sides,
    ),
    (
        adadiag,
        'xp.matmul(xp.matrix_transpose(state["right_basis"]), new["right_basis"])',
        'xp.matmul(xp.matrix_transpose(new["right_basis"]), state["right_basis"])',
        identities.a_turned_first_moment_is_the_average_of_the_plain_gradients,
        identities.plus_plus_is_equivariant_on_both_sides,
    ),
    (
        galore,
        "return self.scale * update",
        "return self.scale**2 * update",
        identities.galore_has_moments_and_updates_of_its_rank,
        identities.in_a_fixed_basis_it_is_adam_on_the_rotated_problem,
    ),
    (
        galore,
        "return min(self.rank, order)",
        "return order",
        identities.galore_has_moments_and_updates_of_its_rank,
        identities.galore_at_full_rank_is_adadiag_bit_for_bit,
    ),
    (
        base,
        "grads.shape[-2] < grads.shape[-1]",
        "grads.shape[-2] <= grads.shape[-1]",
        identities.the_small_side_is_rotated_and_ties_go_right,
    ),
    (
        nadamw,
        "linalg.is_zero(self.beta1)",
        "linalg.is_zero(self.beta1 - 1)",
        identities.without_momentum_no_first_moment_is_stored,
    ),
    (
        moments,
        "return linalg.quotient(xp, mean, second_moment, bias, eps)",
        "return linalg.quotient(xp, mean, second_moment**2, bias**2, eps)",
        identities.scale_and_sign,
        identities.the_first_step_of_adadiag_has_adams_length,
    ),
    (
        moments,
        "return linalg.quotient(xp, mean, second_moment, bias, eps)",
        "return linalg.quotient(xp, mean, second_moment, bias, eps) + 1",
        identities.zero_gradients_from_the_start,
    ),
    (
        stepping,
        "(count - start) % every",
        "(count + start) % every",
        identities.between_refreshes_the_bases_stay_bit_for_bit,
    ),
]


@over_mutations(MUTATIONS)
def test_a_mutation_breaks_identities(monkeypatch, mutation):
    assert unbroken(monkeypatch, mutation) == []


def test_unchanged_replacements_break_nothing(monkeypatch):
    whole = inspect.getsource(rotated)
    mutation = (rotated, whole, whole, *identities.IDENTITIES)
    assert unbroken(monkeypatch, mutation) == [f.__name__ for f in identities.IDENTITIES]


def test_every_identity_can_fail():
    assert never_broken(identities.IDENTITIES, MUTATIONS) == set()
