"""JAX's own forms of the replaceable functions against the plain ones, and what they are for."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matprec.jax
from matprec import linalg
from matprec.jax.namespace import JAX

SHAPES = [(3, 4, 6), (2, 6, 4), (1, 5, 5), (2, 1, 7), (1, 400, 30), (2, 3, 5000), (2, 5000, 3)]
SHAPES += [(3, 4), (2, 3, 4, 5), (1, 1, 1), (2, 1, 2053), (1, 1, 6144), (1, 2, 1 << 18)]
over_shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


@over_shapes
def test_sums_of_squares(x64, shape):
    x = normal(shape)
    np.testing.assert_allclose(linalg.squares(JAX, x), linalg.squares(jnp, x), rtol=1e-13)
    for axis in (-1, -2, len(shape) - 1):
        found, expected = (linalg.line_squares(xp, x, axis) for xp in (JAX, jnp))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@over_shapes
def test_single_precision_of_sums(shape):
    """Within 1e-5 of double precision: rows are summed without a tree, however long stacks are."""
    x = np.asarray(normal(shape), np.float32)
    exact = np.sum(x.astype(np.float64) ** 2, axis=tuple(range(1, x.ndim)))
    np.testing.assert_allclose(linalg.squares(JAX, jnp.asarray(x)), exact, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1 << 20), (2, 256, 3072), (4, 256, 2048)], ids=str)
def test_squares_are_not_written_down(shape):
    """They are summed as they are computed."""
    x = jnp.ones(shape, jnp.float32)
    for function in (linalg.squares, lambda xp, x: linalg.line_squares(xp, x, -1)):
        compiled = jax.jit(lambda x, function=function: function(JAX, x)).lower(x).compile()
        assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes / 16


@over_shapes
@pytest.mark.parametrize("value", [1.0, -1.0, 1e-30, np.inf, np.nan])
def test_entries_that_are_not_zero(shape, value):
    """Also those whose squares would vanish, and pairs that cancel."""
    x = np.zeros((5, *shape[1:]), np.float32)
    flat = x.reshape(5, -1)
    flat[1, -1] = flat[2, 0] = value
    flat[3, 0], flat[3, -1] = value, -value  # the same one of a scalar
    for xp in (JAX, jnp):
        found = linalg.any_nonzero(xp, jnp.asarray(x))
        np.testing.assert_array_equal(found, [False, True, True, True, False])


def test_a_sum_that_overflows_is_not_zero():
    assert linalg.any_nonzero(JAX, jnp.full((1, 3, 4), 3e38)).tolist() == [True]


def both_kinds(xp, first, second):
    x = jnp.arange(12.0).reshape(4, 3)
    return linalg.either(
        xp,
        jnp.asarray(first),
        jnp.asarray(second),
        lambda: {"rows": x, "number": jnp.arange(4)},
        lambda: {"rows": -x, "number": jnp.arange(4) + 10},
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1, 0, 1, 0], [0, 1, 0, 1]),
        ([1, 0, 0, 0], [0, 1, 0, 0]),
        ([1, 1, 1, 1], [0, 0, 0, 0]),
        ([0, 0, 0, 0], [0, 1, 1, 0]),
    ],
)
def test_rows_of_either_kind(first, second):
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    expected = both_kinds(jnp, first, second)
    found = jax.jit(lambda *flags: both_kinds(JAX, *flags))(first, second)
    assert found.keys() == expected.keys()
    asked = first | second
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key][asked], value[asked])


def test_what_no_row_asks_for_is_not_computed():
    """Of a decomposition that would take for ever, its rows that nobody wants."""
    called = []

    def note(kind):
        jax.debug.callback(lambda: called.append(kind), ordered=True)
        return {"x": jnp.ones((2, 3))}

    @jax.jit
    def run(first, second):
        return linalg.either(JAX, first, second, lambda: note("one"), lambda: note("other"))

    none, some = np.array([False, False]), np.array([True, False])
    for flags in ((some, none), (none, some), (some, ~some), (none, none)):
        jax.block_until_ready(run(*flags))
        jax.effects_barrier()
        called.append("end")
    assert called == ["one", "end", "other", "end", "one", "other", "end", "end"]


@pytest.mark.parametrize("x", [0.0, -np.inf, np.nan])
def test_flags_that_come_after_something_are_what_they_were(x):
    flags = jnp.asarray([True, False])
    stack = jnp.full((2, 3, 4), x)
    for xp in (JAX, jnp):
        assert linalg.after(xp, flags, stack).tolist() == [True, False]


@pytest.mark.parametrize("name", ["shampoo", "soap", "asgo", "adadiag"])
def test_steps_without_a_refresh_copy_no_roots_and_no_bases(name):
    """Twelve matrices of one shape; the program of a step whose state may be written to."""
    params = {str(i): jnp.ones((40, 24)) for i in range(12)}
    optimizer = getattr(matprec.jax, name)(0.1)
    state = jax.eval_shape(optimizer.init, params)
    update = jax.jit(optimizer.update, donate_argnums=1)
    program = update.lower(params, state, params).compile().as_text()
    always = program[program.index("\nENTRY") :]
    squares = re.findall(r"= f32\[12,(?:40,40|24,24)\]\S* (\S+)\(", always)
    assert "get-tuple-element" in squares  # of the refresh
    assert "copy" not in squares
    assert " conditional(" not in always  # XLA copies what one leaves as it is
