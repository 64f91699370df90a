"""What is traced of an algorithm, against its formulas and against a run that is watched."""

import collections

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from matprec import algorithms
from matprec import step as stepping
from matprec.torch import namespace
from matprec.torch.namespace import Namespace
from speed.predict.roofline import flops
from speed.predict.tracing import Recorder, trace
from speed.work import of_matrix

B, M, N = 3, 48, 20


# FLOPs per element that the formulas add for elementwise work.
ELEMENTWISE: dict[algorithms.Algorithm, int] = {
    algorithms.Shampoo(): 10,
    algorithms.CASPR(): 10,
    algorithms.ASGO(): 0,
    algorithms.SOAP(): 10,
    algorithms.AdaDiag(): 10,
    algorithms.AdaDiagPlusPlus(): 10,
}


@pytest.mark.parametrize("algorithm", ELEMENTWISE, ids=lambda algorithm: type(algorithm).__name__)
def test_products_of_a_step_are_the_formulas(algorithm: algorithms.Algorithm):
    step, _ = trace(algorithm, B, M, N)
    # Norms are products with one row and one column.
    traced = sum(flops(size) * number for size, number in step.products.items() if size[0] > 1)
    assert traced == B * (of_matrix(algorithm, M, N).step_flops - ELEMENTWISE[algorithm] * M * N)


def test_products_of_muon_are_the_formula():
    step, _ = trace(algorithms.Muon(), B, M, N)
    assert step.product_flops == B * 5 * (4 * N**2 * M + 2 * N**3)


def test_a_refresh_by_eigh_factorises_both_sides():
    _, refresh = trace(algorithms.Shampoo(), B, M, N)
    assert refresh.factorised == B * 9 * (M**3 + N**3)
    # Roots are put together from eigenvectors: one product a side.
    assert refresh.products == {(M, M, M): B, (N, N, N): B}


def test_a_refresh_by_products_factorises_nothing():
    _, refresh = trace(algorithms.Shampoo(root_method="newton"), B, M, N)
    assert refresh.factorised == 0
    assert set(refresh.products) == {(M, M, M), (N, N, N)}
    assert refresh.products[M, M, M] > 20 * B


def test_elementwise_methods_have_neither():
    step, refresh = trace(algorithms.NAdamW(), 1, 1, 1000)
    assert (step.product_flops, step.factorised) == (0, 0)
    # Gradient and two moments read, an update and two moments written, at the very least.
    assert step.moved >= 4 * 6 * 1000
    assert (refresh.launches, refresh.moved) == (0, 0)


def test_loads_grow_with_the_stack_and_launches_do_not():
    one, ten = (trace(algorithms.SOAP(), number, M, N) for number in (2, 20))
    for small, large in zip(one, ten, strict=True):
        assert large.launches == small.launches
        assert large.product_flops == 10 * small.product_flops
        assert large.factorised == pytest.approx(10 * small.factorised)
        assert large.moved == pytest.approx(10 * small.moved, rel=0.01)


class Watch(TorchDispatchMode):
    """Sizes of batched products, and names of factorisations."""

    def __init__(self) -> None:
        super().__init__()
        self.products: collections.Counter = collections.Counter()
        self.factorised: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if "bmm" in name:
            left, right = args[-2:]
            self.products[left.shape[1], left.shape[2], right.shape[2]] += left.shape[0]
        elif "linalg_" in name and "norm" not in name:
            self.factorised.append(name)
        return func(*args, **(kwargs or {}))


def test_a_run_with_data_asks_for_the_same_products(monkeypatch):
    monkeypatch.setattr(namespace, "is_host", lambda x: False)  # as on an accelerator
    algorithm, xp = algorithms.SOAP(), Namespace()
    grads = torch.randn(B, M, N, generator=torch.Generator().manual_seed(1))
    state = stepping.init(xp, algorithm, grads)
    state = algorithm.accumulate(xp, state, grads)
    state |= algorithm.decompose(xp, state, grads, first=True)
    state = algorithm.refresh(xp, state, grads)
    with torch.no_grad(), Watch() as step:
        state = algorithm.accumulate(xp, state, grads)
        _, state = algorithm.direction(xp, state, grads, None)
    with torch.no_grad(), Watch() as refresh:
        state |= algorithm.decompose(xp, state, grads, first=False)
        algorithm.refresh(xp, state, grads)
    traced_step, traced_refresh = trace(algorithm, B, M, N)
    assert traced_step.products == step.products
    assert traced_refresh.products == refresh.products
    assert refresh.factorised == ["aten::linalg_qr"] * 2
    assert traced_refresh.factorised == pytest.approx(B * 8 / 3 * (M**3 + N**3))


def test_every_way_to_multiply_is_counted_alike():
    left, right, out = (
        torch.empty(shape, device="meta") for shape in ((B, M, N), (B, N, 7), (B, M, 7))
    )
    loads = []
    for multiply in (
        lambda: torch.bmm(left, right),
        lambda: torch.bmm(left, right, out=out),
        lambda: torch.baddbmm(out, left, right, beta=0.9, alpha=0.1),
        lambda: out.baddbmm_(left, right),
        lambda: left @ right,
    ):
        with torch.no_grad(), Recorder() as recorder:
            multiply()
        loads.append(recorder.load())
    assert [load.products for load in loads] == [{(M, N, 7): B}] * 5
    assert [load.launches for load in loads] == [1] * 5


def test_what_is_read_and_written_is_moved_once():
    x, y, out = (torch.empty((100,), device="meta") for _ in range(3))
    for call, arrays in (
        (lambda: x + y, 3),
        (lambda: torch.add(x, y, out=out), 3),
        (lambda: x.mul_(2.0), 2),
        (lambda: x.reshape(10, 10), 0),
        (lambda: torch.empty_like(x), 0),
    ):
        with torch.no_grad(), Recorder() as recorder:
            call()
        assert recorder.load().moved == 4 * 100 * arrays
