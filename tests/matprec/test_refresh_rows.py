"""A refresh of some rows of a stack is those rows of the refresh of all: what sharding rests on."""

import array_api_compat.torch as xp
import optimizers
import pytest
import stacks
import torch

from matprec import step as stepping

SHAPES = [(3, 5), (5, 3), (4, 4), (2, 7)]
MATRICES = 5


def refreshes(algorithm, grads):
    """(refresh, chosen, carry) of every refresh in the steps with these gradients."""
    state = stepping.init(xp, algorithm, grads[0])
    everywhere = torch.ones(MATRICES, dtype=torch.bool)
    found = []
    for count, grad in enumerate(grads, 1):

        def cond(number, due, count=count):
            started = count >= due.algorithm.start_step
            chosen = due.choose(stepping.is_due(due.algorithm, count), started)
            if not chosen.any():
                return due.carry
            found.append((due.refresh, chosen, due.carry))
            return due.refresh(chosen, due.carry)

        _, (state,) = stepping.step(
            xp,
            [algorithm],
            [state],
            [grad],
            owners=[range(MATRICES)],
            live=[everywhere],
            finite=[everywhere],
            decays=[None],
            cond=cond,
        )
    return found


@pytest.mark.parametrize("name", optimizers.REFRESHING_NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_do_not_depend_on_each_other(name, shape):
    """In several refreshes, the first ones at different times because of a zero gradient.

    They come once statistics have full rank: rounding would choose the vectors of a null space.
    """
    algorithm = optimizers.ALGORITHMS[name](**optimizers.quick(name, start_step=4))
    generator = torch.Generator().manual_seed(sum(shape))
    size = (10, MATRICES, *shape)
    grads = list(torch.randn(size, generator=generator, dtype=torch.float64))
    grads[3][1] = 0
    found = refreshes(algorithm, grads)
    assert len(found) >= 4
    assert len({tuple(chosen.tolist()) for _, chosen, _ in found}) >= 2
    for refresh, chosen, carry in found:
        whole = refresh(chosen, carry)
        for rows in (slice(0, 2), slice(2, 5), slice(1, 2), torch.tensor([4, 0, 0])):
            some = {key: value[rows] for key, value in carry.items()}
            part = refresh.on(lambda x, rows=rows: x[rows])(chosen[rows], some)
            assert part.keys() == whole.keys()
            for key, value in part.items():
                stacks.close(value.numpy(), whole[key][rows].numpy(), 1e-12)
        for rows in (chosen, ~chosen):
            changed = [not torch.equal(whole[key][rows], carry[key][rows]) for key in carry]
            assert any(changed) == (rows is chosen)
