"""Elementwise steps in blocks do what whole steps do, to the last bit."""

import pytest
import torch

import matprec.torch
from matprec.torch import blocks

SIZE = 2 * blocks.BLOCK + 17  # two blocks and an odd one


def run(monkeypatch, block, optimizer, grads, shape, **kwargs):
    """Parameter and state after steps with these gradients."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    param = torch.nn.Parameter(torch.linspace(-1, 1, SIZE).reshape(shape).clone())
    made = optimizer([param], lr=1e-2, **kwargs)
    for grad in grads:
        param.grad = grad
        made.step()
    return param.detach(), made.state_dict()["state"][0]


def gradients(shape, steps=4):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


CASES = {
    "nadamw": (matprec.torch.NAdamW, (SIZE,), {}),
    "adamw": (matprec.torch.NAdamW, (SIZE,), {"nesterov": False, "weight_decay": 0.1}),
    "no momentum": (matprec.torch.NAdamW, (1, SIZE), {"beta1": 0.0, "weight_decay": 0.1}),
    "embedding": (
        matprec.torch.ASGO,
        (SIZE, 1),
        {"roles": "embedding", "fallback_lr_scale": 0.3, "weight_decay": 0.1},
    ),
    "vector": (matprec.torch.ASGO, (SIZE,), {"weight_decay": 0.1}),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_give_what_the_whole_gives(monkeypatch, name):
    optimizer, shape, kwargs = CASES[name]
    grads = gradients(shape)
    cut = run(monkeypatch, blocks.BLOCK, optimizer, grads, shape, **kwargs)
    whole = run(monkeypatch, SIZE, optimizer, grads, shape, **kwargs)
    assert not torch.equal(whole[0].flatten(), torch.linspace(-1, 1, SIZE))
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)


def test_blocks_are_used(monkeypatch):
    """Else the test above would compare the whole with itself."""
    sizes = []
    algorithm = matprec.torch.NAdamW.algorithm_class
    direction = algorithm.direction

    def noticed(self, xp, state, grads, decay):
        sizes.append(grads.shape[-1])
        return direction(self, xp, state, grads, decay)

    monkeypatch.setattr(algorithm, "direction", noticed)
    run(monkeypatch, blocks.BLOCK, matprec.torch.NAdamW, gradients((SIZE,), 1), (SIZE,))
    assert sizes == [blocks.BLOCK, blocks.BLOCK, 17]


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
