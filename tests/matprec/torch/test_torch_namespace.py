"""PyTorch's own forms of the replaceable functions against the plain ones, in float64."""

import array_api_compat.torch as plain
import pytest
import torch

from matprec import linalg
from matprec.torch.namespace import IN_PLACE, PLAIN

SHAPES = [(3, 4, 6), (2, 6, 4), (1, 5, 5), (2, 1, 7), (1, 400, 30), (2, 30, 450), (1, 768, 5)]
both = pytest.mark.parametrize("xp", [PLAIN, IN_PLACE], ids=["plain", "in place"])
over_shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
over_betas = pytest.mark.parametrize("beta", [0.0, 0.3, 0.999, 1.0])


def normal(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def close(actual, desired):
    torch.testing.assert_close(actual, desired, rtol=1e-12, atol=1e-13)


def assert_symmetric(x):
    """To the last bit where it is computed in strips."""
    if x.shape[-1] >= 384:
        assert torch.equal(x[..., 192:, :192], x[..., :192, 192:].mT)


def consumed(xp, function, old, *arguments):
    """The result; `old` is its memory in place, and as it was otherwise."""
    before = old.clone()
    result = function(xp, old, *arguments)
    assert (result is old) == (xp is IN_PLACE)
    assert xp is IN_PLACE or torch.equal(old, before)
    return result, before


@both
@over_shapes
@over_betas
def test_averages(xp, shape, beta):
    old, new = normal(shape, 1), normal(shape, 2)
    for function in (linalg.ema, linalg.ema_squares):
        result, before = consumed(xp, function, old.clone(), new, beta)
        close(result, function(plain, before, new, beta))
    close(linalg.blend(xp, old, new, beta), linalg.blend(plain, old, new, beta))


@both
@over_shapes
@over_betas
@pytest.mark.parametrize("side", ["left", "right"])
def test_averages_of_gram_matrices(xp, shape, beta, side):
    """Exactly symmetric where both operands are; large ones are computed in strips."""
    x = normal(shape, 1)
    order = shape[1] if side == "left" else shape[2]
    start = linalg.gram(plain, normal((shape[0], order, 2), 2), "left")
    start = (start + start.mT) / 2
    result, before = consumed(xp, linalg.ema_gram, start, x, side, beta)
    close(result, linalg.ema_gram(plain, before, x, side, beta))
    assert_symmetric(result)


@over_shapes
@pytest.mark.parametrize("side", ["left", "right"])
def test_symmetric_products(shape, side):
    x = normal(shape, 1)
    gram = linalg.gram(PLAIN, x, side)
    close(gram, linalg.gram(plain, x, side))
    assert_symmetric(gram)
    several = linalg.gram(PLAIN, torch.stack([x, 2 * x]), side)
    close(several, torch.stack([gram, 4 * gram]))
    gram = gram / gram.abs().max()
    before = gram.clone()
    square = linalg.add_square(PLAIN, gram, -3.0, 2.0)
    assert torch.equal(gram, before)
    close(square, linalg.add_square(plain, gram, -3.0, 2.0))
    assert_symmetric(square)


def test_symmetric_products_of_any_layout_and_of_nothing():
    x = normal((2, 3, 4, 4))
    turned = (x + x.mT).transpose(0, 1)
    assert not turned.is_contiguous()
    close(linalg.add_square(PLAIN, turned, 2.0, 0.5), linalg.add_square(plain, turned, 2.0, 0.5))
    assert linalg.gram(PLAIN, torch.zeros(2, 0, 3), "left").shape == (2, 0, 0)


@over_shapes
def test_functions_of_eigenvalues(shape):
    basis = torch.linalg.qr(normal((shape[0], shape[1], shape[1])))[0]
    values = normal(shape[:2], 1) ** 2
    values[:, 0] = 0
    result = linalg.spectral(PLAIN, basis.clone(), values)
    close(result, linalg.spectral(plain, basis, values))
    assert_symmetric(result)


@over_shapes
def test_products_added_to_a_matrix(shape):
    x, y = normal(shape, 1), normal((shape[0], shape[1], 5), 2)
    z = normal((shape[0], 5, shape[2]), 3)
    expected = linalg.add_product(plain, x, y, z, 0.3)
    close(linalg.add_product(PLAIN, x, y, z, 0.3), expected)
    close(linalg.add_product(PLAIN, x[None], y[None], z[None], 0.3), expected[None])
    assert torch.equal(x, normal(shape, 1))


@both
@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        ([1, 0, 0], [0, 1, 0], ["one", "other"]),
        ([1, 0, 1], [0, 0, 0], ["one"]),
        ([0, 0, 0], [0, 1, 0], ["other"]),
        ([0, 0, 0], [0, 0, 0], ["other"]),
    ],
)
def test_rows_of_either_kind(xp, first, second, asked):
    first, second = torch.tensor(first).bool(), torch.tensor(second).bool()
    x, called = normal((3, 2, 4)), []

    def answer(kind, value):
        called.append(kind)
        return {"x": value, "rows": torch.arange(3)}

    def found(xp):
        one, other = lambda: answer("one", x), lambda: answer("other", -x)
        return linalg.either(xp, first, second, one, other)

    expected = found(plain)
    called.clear()
    result = found(xp)
    assert called == asked
    chosen = first | second
    for key, value in expected.items():
        assert torch.equal(result[key][chosen], value[chosen])


@both
@over_shapes
def test_an_approach_has_a_weight_for_every_matrix(xp, shape):
    weight = torch.linspace(0, 1, shape[0], dtype=torch.float64).reshape(-1, 1, 1)
    result, before = consumed(xp, linalg.approach, normal(shape, 1), normal(shape, 2), weight)
    close(result, linalg.approach(plain, before, normal(shape, 2), weight))


@over_shapes
def test_the_two_give_the_same_bits(shape):
    old, new = normal(shape, 1).float(), normal(shape, 2).float()
    for function, more in (
        (linalg.ema, (0.9,)),
        (linalg.ema_squares, (0.9,)),
        (linalg.approach, (torch.full((shape[0], 1, 1), 0.3),)),
    ):
        assert torch.equal(
            function(PLAIN, old.clone(), new, *more), function(IN_PLACE, old.clone(), new, *more)
        )


@over_shapes
def test_quotients_and_squares(shape):
    x, y = normal(shape, 1), normal(shape, 2) ** 2
    scale = torch.linspace(0.1, 1, shape[0], dtype=torch.float64).reshape(-1, 1, 1)
    result = linalg.quotient(PLAIN, x, y, scale, 1e-3)
    close(result, linalg.quotient(plain, x, y, scale, 1e-3))
    assert torch.equal(x, normal(shape, 1))
    close(linalg.squares(PLAIN, x), linalg.squares(plain, x))
    close(linalg.squares(PLAIN, x.mT), linalg.squares(plain, x))


@pytest.mark.parametrize("flags", [[True, True], [True, False], [False, False]])
def test_whole_matrices_are_chosen_and_not_copied_without_need(flags):
    new, old, flags = normal((2, 3, 4), 1), normal((2, 3, 4), 2), torch.tensor(flags)
    result = linalg.choose(PLAIN, flags, new, old)
    assert torch.equal(result, linalg.choose(plain, flags, new, old))
    assert (result is new) == bool(flags.all())
    assert (result is old) == (not flags.any())
    for pair in ((new, 0.0), (0.0, old)):
        expected = linalg.choose(plain, flags, *pair)
        assert torch.equal(linalg.choose(PLAIN, flags, *pair), expected)
    counts = torch.tensor([1.0, 2.0])
    assert torch.equal(
        linalg.choose(PLAIN, flags, counts, 5.0), torch.where(flags, counts, torch.tensor(5.0))
    )


@over_shapes
@pytest.mark.parametrize("axes", [-1, -2, (-2, -1)], ids=str)
def test_what_is_below_a_floor_is_zero(shape, axes):
    x = normal(shape, 1)
    floor = 0.5 * torch.amax(x.abs(), dim=axes, keepdim=True)
    floor[0] = 0.0
    floor[-1] *= 4
    for floors in (floor, torch.where(floor > floor.median(), torch.inf, floor)):
        result = linalg.drop_below(PLAIN, x, floors)
        assert torch.equal(result, linalg.drop_below(plain, x, floors))
    assert not linalg.drop_below(PLAIN, x[-1:], 4 * floor[-1:] + 10).any()


@pytest.mark.parametrize("keep", ["all", "rows", "entries"])
def test_what_is_masked_is_zero(keep):
    x = normal((2, 3, 4))
    mask = {"all": x < 9, "rows": normal((2, 3, 1), 1) > 0, "entries": x > 0}[keep]
    result = linalg.masked(PLAIN, x, mask)
    assert torch.equal(result, linalg.masked(plain, x, mask))
    assert (result is x) == (keep == "all")


def test_rows_are_taken_from_every_matrix_in_its_own_order():
    x = normal((3, 5, 2))
    order = torch.tensor([[4, 0, 1, 3, 2], [0, 1, 2, 3, 4], [2, 4, 0, 1, 3]])
    for stack in (x, normal((3, 2, 5)).mT):
        result = linalg.take_rows(PLAIN, stack, order)
        assert torch.equal(result, linalg.take_rows(plain, stack, order))


@pytest.mark.parametrize("shape", [(2, 6, 4), (3, 5, 5)])
def test_orthonormal_columns(shape):
    """Those of the QR decomposition, signs included, of rows and of columns in memory."""
    for x in (normal(shape), normal((shape[0], shape[2], shape[1])).mT):
        close(linalg.orthonormal(PLAIN, x), linalg.orthonormal(plain, x))


def test_everything_else_is_the_array_api():
    assert PLAIN.matmul is plain.matmul
    assert PLAIN.linalg is plain.linalg
    with pytest.raises(AttributeError):
        PLAIN.no_such_function  # noqa: B018
