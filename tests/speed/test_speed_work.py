"""The work of a step: against explicit products, counted ones of real steps, and written state."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import matprec.torch
from speed.tensors import Tensor
from speed.work import FROM_REFRESHES, of_matrix, work
from submissions.registry import OPTIMIZERS

NAMES = [name for name, optimizer in OPTIMIZERS.items() if optimizer.algorithm is not None]
REFRESHING = [name for name in NAMES if OPTIMIZERS[name].algorithm.refresh_at != "never"]
SHAPES = [(12, 7), (7, 12), (6, 6), (150, 160)]  # the last one beyond GaLore's rank
ELEMENTWISE = 10


def algorithm(name, **hyperparameters):
    return OPTIMIZERS[name].algorithm(**hyperparameters)


# ---------------------------------------- products, written out
def gram(side, m, n):
    return [(m, n, m)] if side == "left" else [(n, m, n)]


def applied(side, m, n):
    return [(m, m, n)] if side == "left" else [(m, n, n)]


def both(products, m, n):
    return products("left", m, n) + products("right", m, n)


def products_of_a_step(name, m, n):
    """(rows, inner, columns) of all matrix products of a step without refresh."""
    d, small = min(m, n), "left" if m < n else "right"
    k = min(128, d)
    two_sided = both(applied, m, n)
    one_sided = applied(small, m, n)
    step = [(d, max(m, n), d), (d, d, d), (d, d, max(m, n))]
    return {
        "shampoo": both(gram, m, n) + two_sided,
        "caspr": both(gram, m, n) + 2 * two_sided,
        "caspr_adaptive": both(gram, m, n) + applied("left", m, n) + two_sided,
        "kl_shampoo": both(gram, m, n) + 2 * two_sided,
        "soap": both(gram, m, n) + 2 * two_sided,
        "asgo": gram(small, m, n) + one_sided,
        "asgo_theory": gram("left", m, n) + applied("left", m, n),
        "adadiag": 2 * one_sided,
        "adafacdiag": 2 * one_sided,
        "hfacdiag": 2 * one_sided,
        "adadiag_plus_plus": 2 * two_sided,
        "adafacdiag_plus_plus": 2 * two_sided,
        "galore": 2 * [(k, d, max(m, n))],
        "muon": 5 * step,
    }.get(name, [])


def product_flops(name, m, n):
    return sum(2 * a * b * c for a, b, c in products_of_a_step(name, m, n))


def elementwise_flops(name, m, n):
    if name in ("asgo", "asgo_theory", "muon"):  # a momentum at most, which the formulas leave out
        return 0
    kept = min(128, m, n) / min(m, n) if name == "galore" else 1
    return ELEMENTWISE * kept * m * n


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_steps_formula_is_the_sum_of_its_products(name, shape):
    expected = product_flops(name, *shape) + elementwise_flops(name, *shape)
    assert of_matrix(algorithm(name), *shape).step_flops == pytest.approx(expected)


def _flops(added, a, b, **more):
    """Of a batch of products, but for sums of squares, products of one row with one column."""
    batch, rows, inner = a
    return 2 * batch * rows * inner * b[2] * (rows * b[2] > 1)


COUNTED = {
    torch.ops.aten.bmm: lambda a, b, **more: _flops(None, a, b),
    torch.ops.aten.baddbmm: _flops,
    torch.ops.aten.baddbmm_: _flops,  # torch's counter knows only the one before
}


@pytest.mark.parametrize("name", NAMES)
def test_a_real_step_makes_these_products(name):
    """What torch counts in a step without refresh, which is all that is a matrix product."""
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape)) for shape in [*SHAPES, (5,)]]
    every = {"refresh_every": 100} if name in REFRESHING else {}
    optimizer = matprec.torch.BY_ALGORITHM[OPTIMIZERS[name].algorithm](params, **every)
    for _ in range(3):  # the first one refreshes
        for param in params:
            param.grad = torch.randn_like(param)
        with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
            optimizer.step()
    expected = sum(product_flops(name, *shape) for shape in SHAPES)
    assert counter.get_total_flops() == expected


def test_a_steps_products_share_its_flops_by_side():
    found = of_matrix(algorithm("soap"), 4, 6)
    left, right = 6 * 4 * 6 * 4, 6 * 4 * 6 * 6
    elementwise = ELEMENTWISE * 4 * 6
    assert sum(found.products.values()) == pytest.approx(left + right + elementwise)
    assert found.products.keys() == {(4, 6, 4), (4, 4, 6), (6, 4, 6), (4, 6, 6)}
    assert found.products[4, 6, 4] / found.products[6, 4, 6] == pytest.approx(left / right)
    assert of_matrix(algorithm("asgo_theory"), 4, 6).products.keys() == {(4, 6, 4), (4, 4, 6)}
    assert of_matrix(algorithm("asgo"), 6, 4).products.keys() == {(4, 6, 4), (6, 4, 4)}
    assert of_matrix(algorithm("dasgo"), 6, 4).products == {}


# ---------------------------------------- refreshes
EIGH, REBUILD, FULL_SVD_SQUARE = 9, 2, 21
QR_STEP = 2 + 4 / 3


@pytest.mark.parametrize(
    ("name", "of_cube"),
    [
        ("nadamw", 0),
        ("muon", 0),
        ("adafactor", 0),
        ("asgo", EIGH + REBUILD),
        ("asgo_theory", EIGH + REBUILD),
        ("shampoo", 2 * (EIGH + REBUILD)),
        ("caspr", 2 * (EIGH + REBUILD)),
        ("kl_shampoo", 2 * (EIGH + REBUILD)),
        ("caspr_adaptive", 2 * (EIGH + REBUILD) + 2),
        # A step of orthogonal iteration and the turn of the moment: Q^T Q_old, and it times M.
        ("soap", 2 * (QR_STEP + 2 + 2)),
        ("adadiag", 2 + EIGH),
        ("galore", 2 + EIGH),
        ("hfacdiag", 2 + EIGH),
        ("adadiag_plus_plus", FULL_SVD_SQUARE),
        ("adafacdiag_plus_plus", FULL_SVD_SQUARE),
    ],
)
def test_the_refresh_of_a_square_matrix(name: str, of_cube: float):
    found = of_matrix(algorithm(name), 6, 6)
    assert found.refresh_flops == pytest.approx(of_cube * 6**3)
    assert sum(found.refresh_products.values()) == pytest.approx(found.refresh_flops)
    assert set(found.refresh_products) <= {(6, 6, 6)}
    assert found.largest_refresh == found.refresh_products


def test_a_refresh_has_the_cube_of_every_side():
    found = of_matrix(algorithm("shampoo"), 4, 6)
    assert found.refresh_products == pytest.approx({(4, 4, 4): 11 * 64, (6, 6, 6): 11 * 216})
    assert of_matrix(algorithm("asgo"), 4, 6).refresh_products == pytest.approx(
        {(4, 4, 4): 11 * 64}
    )


# ---------------------------------------- sides that are left out
@pytest.mark.parametrize(
    ("name", "products_per_side"),
    [("shampoo", 2), ("soap", 3), ("caspr", 2), ("kl_shampoo", 2), ("adadiag_plus_plus", 2)],
)
@pytest.mark.parametrize("shape", [(5, 12), (12, 5)], ids=str)
def test_a_side_that_is_too_long_costs_nothing(name: str, products_per_side: int, shape):
    found = of_matrix(algorithm(name, max_dim=8), *shape)
    expected = products_per_side * 2 * 5 * 5 * 12 + ELEMENTWISE * 60
    assert found.step_flops == pytest.approx(expected)
    assert {max(size) for size in found.refresh_products} == {5}


def test_caspr_adaptive_whitens_only_for_the_right_factor():
    left = of_matrix(algorithm("caspr_adaptive", max_dim=8), 5, 12)
    assert left.step_flops == 2 * 2 * 5 * 5 * 12 + ELEMENTWISE * 60
    assert left.refresh_flops == (EIGH + REBUILD) * 5**3


def test_the_state_without_a_side():
    """Moments, the left factor and its basis, four counters."""
    found = of_matrix(algorithm("soap", max_dim=8), 5, 12)
    assert found.state_bytes == 4 * (2 * 60 + 2 * 25 + 4)


# ---------------------------------------- bytes
def test_the_bytes_of_shampoo():
    """Read: gradient, parameter, two moments, factors, roots; written: the same but for the first
    and the last."""
    found = of_matrix(algorithm("shampoo"), 3, 5)
    moments, factors, roots = 2 * 15, 9 + 25, 9 + 25
    read = 15 + 15 + moments + factors + roots
    assert found.step_bytes == 4 * (read + 15 + moments + factors)
    assert found.refresh_bytes == 4 * roots
    assert found.state_bytes == 4 * (moments + factors + roots + 4)
    assert found.largest_stack_bytes == 4 * (15 + moments + factors + roots)


@pytest.mark.parametrize("name", NAMES)
def test_what_only_refreshes_write(name):
    """Told by its name, and by what a real plain step leaves as it was."""
    torch.manual_seed(0)
    param = torch.nn.Parameter(torch.randn(12, 7))
    every = {"refresh_every": 100} if name in REFRESHING else {}
    optimizer = matprec.torch.BY_ALGORITHM[OPTIMIZERS[name].algorithm]([param], **every)
    states = []
    for _ in range(4):
        param.grad = torch.randn_like(param)
        optimizer.step()
        states.append(optimizer.state_dict()["state"][0])
    old, new = states[-2:]
    arrays = [key for key, (value,) in new.items() if value.ndim == 2]
    unchanged = {key for key in arrays if torch.equal(old[key][0], new[key][0])}
    assert unchanged == {key for key in arrays if key.endswith(FROM_REFRESHES)}


# ---------------------------------------- models
VECTOR = Tensor((9,), "vector")
EMBEDDING = Tensor((50, 4), "embedding")
HEAD = Tensor((6, 4), "head")


def test_what_is_no_matrix_is_nadamws():
    rest = [VECTOR, EMBEDDING, HEAD]
    found = work("muon", [Tensor((4, 6), "matrix"), *rest], "pytorch")
    elements = 9 + 200 + 24
    assert found.step_flops == product_flops("muon", 4, 6) + ELEMENTWISE * elements
    # Muon keeps a momentum; the rest two moments, and counters for each of three rows.
    assert found.state_bytes == 4 * (24 + 4 + 2 * elements + 3 * 4)
    assert found.step_bytes == 4 * (24 * 5 + elements * 7)


def test_soap_takes_heads_for_matrices():
    assert work("soap", [HEAD], "pytorch") == work("soap", [Tensor((6, 4), "matrix")], "pytorch")


def test_fused_weights_count_as_their_parts():
    fused = work("shampoo", [Tensor((12, 4), "fused_qkv")], "pytorch")
    apart = work("shampoo", [Tensor((4, 4), "matrix")] * 3, "pytorch")
    assert fused == apart


def test_blocks():
    whole = work("shampoo", [Tensor((2048, 1024), "matrix")], "pytorch")
    one = of_matrix(algorithm("shampoo"), 1024, 1024)
    assert whole.step_flops == 2 * one.step_flops
    assert whole.products == {size: 2 * flops for size, flops in one.products.items()}
    assert whole.largest_refresh == one.refresh_products


def test_kernels_of_flax_have_their_outputs_in_rows():
    found = work("asgo_theory", [Tensor((4, 6), "matrix")], "jax")
    assert found == work("asgo_theory", [Tensor((6, 4), "matrix")], "pytorch")


def test_the_largest_of_several():
    found = work("shampoo", [Tensor((4, 4), "matrix"), Tensor((8, 8), "matrix")], "pytorch")
    eight = of_matrix(algorithm("shampoo"), 8, 8)
    assert found.largest_refresh == eight.refresh_products
    assert found.largest_stack_bytes == eight.largest_stack_bytes
    assert found.refresh_products.keys() == {(4, 4, 4), (8, 8, 8)}
