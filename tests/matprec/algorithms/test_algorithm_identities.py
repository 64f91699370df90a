"""The identities of `identities` hold in the library, and each group notices a changed formula.

The mutations at the end are changed signs and exponents in the library's source. The changed
source is executed into a fresh module, whose functions and classes take the place of the
library's for one test; no file is touched.
"""

import functools
import inspect
import types

import array_api_compat.numpy
import array_api_compat.torch
import identities
import jax.numpy as jnp
import pytest
from stacks import run

from matprec import linalg, moments, transfer
from matprec import step as stepping
from matprec.algorithms import asgo, nadamw, shampoo

SHAPES = {"wide": (4, 7), "tall": (7, 4), "square": (5, 5)}
RUN_IN_TORCH = functools.partial(run, array_api_compat.torch)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("identity", identities.IDENTITIES, ids=lambda f: f.__name__)
def test_identity(identity, shape):
    identity(shape, RUN_IN_TORCH)


@pytest.mark.parametrize("identity", identities.IDENTITIES, ids=lambda f: f.__name__)
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
        'return "left" if rows < columns',
        'return "left" if rows <= columns',
        identities.ties_go_to_the_right_side,
    ),
    (
        shampoo,
        "exponent: float = 0.25",
        "exponent: float = 0.5",
        identities.without_accumulation_shampoo_is_the_polar_factor,
        identities.scale,
    ),
    (
        shampoo,
        "xp, factor, self.exponent, eps",
        'xp, factor, self.exponent * (1 + (side == "left")), eps',
        identities.transposed_gradients_give_transposed_updates,
        identities.damping_is_inside_the_root,
    ),
    (
        shampoo,
        'state["left"], linalg.gram',
        'state["left"], -linalg.gram',
        identities.one_sided_shampoo_is_asgo_on_the_left,
        identities.statistics_grow_or_average,
    ),
    (
        linalg,
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
        linalg,
        "eigenvalues + ridge,",
        "eigenvalues - ridge,",
        identities.damping_is_inside_the_root,
    ),
    (
        linalg,
        "xp.where(smallest < 0, smallest, 0.0) + eps",
        "xp.where(smallest < 0, smallest, 0.0) - eps",
        identities.damping_is_inside_the_root,
    ),
    (
        linalg,
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
    ),
    (
        stepping,
        'state["t"] + 1.0',
        'state["t"] - 1.0',
        identities.adam_without_momentum_divides_by_the_running_root_mean_square,
    ),
    (
        nadamw,
        'linalg.ema(xp, state["second_moment"], grads * grads, self.beta2)',
        'linalg.ema(xp, state["second_moment"], grads**4, self.beta2)',
        identities.scale,
    ),
    (
        moments,
        "return mean / (xp.sqrt(linalg.debias(xp, second_moment, beta2, t)) + eps)",
        "return -mean / (xp.sqrt(linalg.debias(xp, second_moment, beta2, t)) - eps)",
        identities.adam_without_momentum_divides_by_the_running_root_mean_square,
    ),
    # lengths
    (
        transfer,
        "length = rms * (rows * columns) ** 0.5",
        "length = rms * (rows * columns) ** 0.25",
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
        "return mean / (xp.sqrt(linalg.debias(xp, second_moment, beta2, t)) + eps)",
        "return mean / (linalg.debias(xp, second_moment, beta2, t) + eps)",
        identities.scale,
    ),
    (
        linalg,
        "xp.sqrt(xp.sum(x * x, axis",
        "xp.sqrt(xp.sum(x**4, axis",
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
        shampoo,
        "grafted = moments.adam(",
        "grafted = -moments.adam(",
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
        identities.amortised_refreshes_change_nothing_under_constant_gradients,
    ),
]


def mutate(monkeypatch, module, original, mutated):
    """Put what `module`'s source defines after the change in the place of what it defines now."""
    source = inspect.getsource(module)
    assert source.count(original) == 1
    fresh = types.ModuleType(module.__name__)
    exec(compile(source.replace(original, mutated), "mutated", "exec"), fresh.__dict__)
    for name, value in vars(fresh).items():
        if getattr(value, "__module__", None) == module.__name__:
            monkeypatch.setattr(module, name, value)


def holds(identity):
    try:
        for shape in SHAPES.values():
            identity(shape, RUN_IN_TORCH)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[f"{m[0].__name__}: {m[2]}" for m in MUTATIONS])
def test_a_mutation_breaks_an_identity(monkeypatch, mutation):
    module, original, mutated, *must_fail = mutation
    mutate(monkeypatch, module, original, mutated)
    assert [identity.__name__ for identity in must_fail if holds(identity)] == []


MODULES = [asgo, linalg, moments, nadamw, shampoo, stepping, transfer]


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
    broken = {identity for _, _, _, *must_fail in MUTATIONS for identity in must_fail}
    assert broken == set(identities.IDENTITIES) - absences
