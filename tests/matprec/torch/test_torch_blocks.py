"""Elementwise steps in blocks do what whole steps do; but for the fused kernel to the last bit."""

import pytest
import torch

import matprec.torch
from matprec.torch import blocks, fused

SIZE = 2 * blocks.BLOCK + 17  # two blocks and an odd one


def run(monkeypatch, block, optimizer, grads, shape, *, lr=1e-2, **kwargs):
    """Parameter and state after steps with these gradients."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(fused, "BLOCK", 2 * block)
    start = torch.linspace(-1, 1, SIZE, dtype=grads[0].dtype)
    param = torch.nn.Parameter(start.reshape(shape).clone())
    made = optimizer([param], lr=lr, **kwargs)
    for grad in grads:
        param.grad = grad
        made.step()
    return param.detach(), made.state_dict()["state"][0]


def gradients(shape, steps=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(steps)]


CASES = {
    "a tensor as learning rate": (
        matprec.torch.NAdamW,
        (SIZE,),
        {"lr": torch.tensor(1e-2), "weight_decay": 0.1},
    ),
    "no momentum": (matprec.torch.NAdamW, (1, SIZE), {"beta1": 0.0, "weight_decay": 0.1}),
    "sum of squares": (matprec.torch.NAdamW, (SIZE,), {"beta2": 1.0}),
    "hardly any momentum": (matprec.torch.NAdamW, (SIZE,), {"beta1": 0.01, "weight_decay": 0.1}),
}
FUSED = {
    "nadamw": (matprec.torch.NAdamW, (SIZE,), {"weight_decay": 0.1}),
    "adamw": (matprec.torch.NAdamW, (SIZE,), {"nesterov": False, "weight_decay": 0.1}),
    "large eps": (matprec.torch.NAdamW, (SIZE,), {"eps": 0.1, "beta1": 0.5, "beta2": 0.7}),
    "no decay": (matprec.torch.NAdamW, (SIZE,), {}),
    "no mixing, hardly any momentum": (
        matprec.torch.NAdamW,
        (SIZE,),
        {"nesterov": False, "beta1": 0.01, "weight_decay": 0.1},
    ),
    "embedding": (
        matprec.torch.ASGO,
        (SIZE, 1),
        {"roles": "embedding", "fallback_lr_scale": 0.3, "weight_decay": 0.1},
    ),
    "vector": (matprec.torch.ASGO, (SIZE,), {"weight_decay": 0.1}),
}


def cut_and_whole(monkeypatch, case, dtype=torch.float32):
    optimizer, shape, kwargs = case
    grads = gradients(shape, dtype=dtype)
    cut = run(monkeypatch, blocks.BLOCK, optimizer, grads, shape, **kwargs)
    whole = run(monkeypatch, SIZE, optimizer, grads, shape, **kwargs)
    assert not torch.equal(whole[0].flatten(), torch.linspace(-1, 1, SIZE))
    return cut, whole


@pytest.mark.parametrize("name", CASES)
def test_blocks_give_what_the_whole_gives(monkeypatch, name):
    cut, whole = cut_and_whole(monkeypatch, CASES[name])
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_fused_kernel_gives_what_the_whole_gives(monkeypatch, name, dtype):
    cut, whole = cut_and_whole(monkeypatch, FUSED[name], dtype)
    # After four steps of at most 0.01 on parameters of at most 1; 1.2e-7 is a unit of rounding.
    tolerance = 1e-12 if dtype == torch.float64 else 5e-7
    torch.testing.assert_close(cut, whole, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("beta1", [0.5, 0.9, 0.999])
def test_a_mean_that_is_found_again_and_again_does_not_drift(monkeypatch, beta1):
    grads = gradients((SIZE,), 200)
    _, state = run(monkeypatch, blocks.BLOCK, matprec.torch.NAdamW, grads, (SIZE,), beta1=beta1)
    mean = torch.zeros(SIZE, dtype=torch.float64)
    for grad in grads:
        mean = beta1 * mean + (1 - beta1) * grad.double()
    (found,) = state["mean"]
    torch.testing.assert_close(found.flatten().double(), mean, rtol=0, atol=5e-7)


@pytest.mark.parametrize("name", ["a tensor as learning rate", "nadamw"])
def test_blocks_are_used(monkeypatch, name):
    """Else the tests above would compare the whole with itself."""
    sizes = {blocks._step: [], fused.step: []}

    def noticed(step):
        def call(algorithm, state, grads, *rest):
            sizes[step].append(grads.shape[-1])
            step(algorithm, state, grads, *rest)

        return call

    monkeypatch.setattr(blocks, "_step", noticed(blocks._step))
    monkeypatch.setattr(fused, "step", noticed(fused.step))
    optimizer, shape, kwargs = (CASES | FUSED)[name]
    run(monkeypatch, blocks.BLOCK, optimizer, gradients(shape, 1), shape, **kwargs)
    plain, kernel = sizes.values()
    if name in FUSED:
        assert (plain, kernel) == ([], [2 * blocks.BLOCK, 17])
    else:
        assert (plain, kernel) == ([blocks.BLOCK, blocks.BLOCK, 17], [])


@pytest.mark.parametrize("place", [0, SIZE - 1])
def test_a_gradient_that_is_not_finite_changes_nothing(monkeypatch, place):
    grads = gradients((SIZE,), 3)
    grads[1][place] = torch.inf
    param, state = run(monkeypatch, blocks.BLOCK, matprec.torch.NAdamW, grads, (SIZE,))
    wanted, expected = run(
        monkeypatch, blocks.BLOCK, matprec.torch.NAdamW, [grads[0], grads[2]], (SIZE,)
    )
    assert torch.equal(param, wanted)
    assert state.pop("skipped_updates")[0] == 1
    assert expected.pop("skipped_updates")[0] == 0
    torch.testing.assert_close(state, expected, rtol=0, atol=0)


def test_what_does_not_lie_in_one_piece_is_stepped_whole(monkeypatch):
    """A transposed gradient, another dtype, and a gradient that is missing."""
    shape = (17, 1 + SIZE // 17)
    monkeypatch.setattr(blocks, "step_in_blocks", lambda *_: pytest.fail("in blocks"))
    param = torch.nn.Parameter(torch.zeros(shape))
    optimizer = matprec.torch.NAdamW([param], lr=1.0, nesterov=False)
    param.grad = torch.ones(shape[::-1]).mT
    optimizer.step()
    torch.testing.assert_close(param.detach(), -torch.ones(shape))
    half = torch.nn.Parameter(torch.zeros(SIZE, dtype=torch.bfloat16))
    optimizer = matprec.torch.NAdamW([half], lr=1.0, nesterov=False)
    half.grad = torch.ones_like(half)
    optimizer.step()
    torch.testing.assert_close(half.detach(), -torch.ones_like(half))
    half.grad = None
    optimizer.step()
