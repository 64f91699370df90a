"""state_size: what optimizers say of themselves, what they really allocate, what is left out."""

import doctest

import jax
import jax.numpy as jnp
import optax
import pytest

import matprec.jax
from matprec import settings
from matprec.algorithms import MatrixAlgorithm
from matprec.jax import memory
from matprec.step import COUNTERS

ALIASES = list(matprec.jax.BY_ALGORITHM.values())
MATRIX_ALIASES = [alias for alias in ALIASES if issubclass(alias.algorithm_class, MatrixAlgorithm)]
PARAMS = {
    "wide": jnp.ones((12, 5)),
    "another": jnp.ones((12, 5)),
    "square": jnp.ones((4, 4)),
    "bias": jnp.ones(7),
    "head": jnp.ones((5, 9)),
    "scalar": jnp.ones(()),
}
ROLES = dict.fromkeys(PARAMS) | {"head": "head"}


def name_of(alias) -> str:
    return alias.__name__


def optimizer(alias, **values):
    return alias(1e-3, roles=lambda path, leaf: ROLES[path], **values)


def size_of_matrix(alias, rows: int, columns: int, **values) -> memory.StateSize:
    kernel = jax.ShapeDtypeStruct((columns, rows), jnp.float32)
    return memory.state_size(alias(1e-3, **values), {"kernel": kernel})


@pytest.mark.parametrize("alias", ALIASES, ids=name_of)
def test_counts_what_is_really_allocated(alias):
    state = optimizer(alias).init(PARAMS)
    arrays = [array for array in jax.tree.leaves(state) if array.ndim > 0]
    size = memory.state_size(optimizer(alias), PARAMS)
    assert size.elements + size.counters == sum(array.size for array in arrays)
    assert size.bytes == sum(array.nbytes for array in arrays)
    assert size.counters % len(COUNTERS) == 0


@pytest.mark.parametrize(("rows", "columns"), [(6, 10), (10, 6), (7, 7), (150, 140)])
@pytest.mark.parametrize("alias", ALIASES, ids=name_of)
def test_the_formula_of_an_algorithm_is_its_state(alias, rows, columns):
    short, long = sorted((rows, columns))
    values = settings.hyperparameters(alias.algorithm_class)
    sizes = {"m": rows, "n": columns, "d": short, "D": long, "r": values.get("rank")}
    size = size_of_matrix(alias, rows, columns)
    assert size.elements == eval(alias.algorithm_class.state_size, {"min": min} | sizes)
    assert size.counters == len(COUNTERS)


def test_galores_formula_with_a_rank_below_the_shorter_side():
    assert size_of_matrix(matprec.jax.galore, 10, 6, rank=2).elements == 6 * 2 + 2 * 10 * 2
    assert size_of_matrix(matprec.jax.galore, 6, 10, rank=2).elements == 6 * 2 + 2 * 10 * 2


@pytest.mark.parametrize(
    "name", ["adadiag", "adafactor", "adafacdiag", "adafacdiag_plus_plus", "asgo", "nadamw"]
)
def test_without_momentum_one_number_less_for_each_of_the_matrix(name):
    alias = getattr(matprec.jax, name)
    saved = size_of_matrix(alias, 6, 10).elements - size_of_matrix(alias, 6, 10, beta1=0.0).elements
    assert saved == 60


@pytest.mark.parametrize("alias", ALIASES, ids=name_of)
def test_a_tensors_state_does_not_depend_on_the_others(alias):
    alone = [memory.state_size(optimizer(alias, stack_bytes=None), {k: PARAMS[k]}) for k in PARAMS]
    together = memory.state_size(optimizer(alias, stack_bytes=100), PARAMS)
    assert tuple(map(sum, zip(*alone, strict=True))) == together


@pytest.mark.parametrize("alias", MATRIX_ALIASES, ids=name_of)
def test_half_precision_parameters_have_state_of_four_bytes(alias):
    halved = {name: array.astype(jnp.bfloat16) for name, array in PARAMS.items()}
    size = memory.state_size(optimizer(alias), halved)
    assert size == memory.state_size(optimizer(alias), PARAMS)
    assert size.bytes == 4 * (size.elements + size.counters)


def test_double_precision_state(x64):
    size = memory.state_size(matprec.jax.asgo(1e-3, state_dtype=jnp.float64), PARAMS)
    assert size.bytes == 8 * (size.elements + size.counters)


def test_nothing_is_allocated():
    side = 8192
    layers = [jax.ShapeDtypeStruct((side, side), jnp.float32)] * 400  # 107 GB
    size = memory.state_size(matprec.jax.adadiag(1e-3, stack_bytes=None), layers)
    assert size.elements == 400 * 3 * side**2
    assert isinstance(size.bytes, int)
    assert size.bytes == 4 * (size.elements + 4 * 400)


def test_other_optimizers_of_optax():
    params = {"t": jnp.ones((3, 5)), "last_refresh": jnp.ones(4)}
    chained = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    assert memory.state_size(chained, params) == (2 * 19, 0, 4 * 2 * 19)
    assert memory.state_size(optax.sgd(1e-3), params) == (0, 0, 0)


def test_our_state_inside_of_others():
    plain = matprec.jax.adadiag(1e-3)
    masked = optax.masked(plain, {name: name == "wide" for name in PARAMS})
    averaged = optax.chain(masked, optax.ema(0.9))
    wide = memory.state_size(plain, {"wide": PARAMS["wide"]})
    total = sum(array.size for array in PARAMS.values())
    size = memory.state_size(averaged, PARAMS)
    # A scalar's average is a scalar, and those are left out.
    assert size.elements == wide.elements + total - 1
    assert size.counters == wide.counters == len(COUNTERS)


def test_the_schedules_step_is_left_out():
    size = memory.state_size(matprec.jax.asgo(optax.constant_schedule(1e-3)), PARAMS)
    assert size == memory.state_size(matprec.jax.asgo(1e-3), PARAMS)


def test_blocks_have_a_state_each():
    whole = size_of_matrix(matprec.jax.shampoo, 6, 10)
    cut = size_of_matrix(matprec.jax.shampoo, 6, 10, block_size=5)
    assert whole.elements == 2 * 60 + 2 * (36 + 100)
    assert cut.elements == 2 * 60 + 2 * (2 * (25 + 25) + 2 * (1 + 25))
    assert cut.counters == 4 * whole.counters


def test_roles_decide():
    def size(role: str | None) -> int:
        asgo = matprec.jax.asgo(1e-3, roles=lambda path, leaf: role)
        return memory.state_size(asgo, {"x": jnp.ones((6, 10))}).elements

    assert size(None) == 60 + 2 * 36
    assert size("head") == size("embedding") == size("vector") == 2 * 60


def test_the_example():
    assert doctest.testmod(memory) == (0, 3)
