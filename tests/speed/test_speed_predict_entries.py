"""What the published entries do, in cases that can be counted by hand."""

import math

import pytest

from speed.predict import entries
from speed.predict.entries import ENTRIES, caspr_adaptive, muon, shampoo
from speed.tensors import Tensor, tensors

MATRIX = Tensor((512, 256), "matrix")


def test_shampoo_of_one_matrix():
    load = shampoo([MATRIX], 1, period=100)
    assert load.products == pytest.approx(
        {
            (512, 256, 512): 1,  # Gram matrices
            (256, 512, 256): 1,
            (256, 512, 512): 1,  # roots times gradient
            (512, 256, 256): 1,
            (512, 512, 512): 0.01,  # roots from eigenvectors
            (256, 256, 256): 0.01,
        }
    )
    assert load.factorised == pytest.approx(9 * (512**3 + 256**3) / 100)
    assert load.gathered == 4 * 512 * 256


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        # Distributed Shampoo's own examples of merging, at 1024.
        ((64, 3, 7, 7), (192, 49)),
        ((512, 512, 3, 3), (512, 512, 9)),
        ((1, 768, 1), (768,)),
    ],
)
def test_shampoo_merges_small_sides(shape: tuple[int, ...], sides: tuple[int, ...]):
    load = shampoo([Tensor(shape, "conv")], 1, period=1)
    assert load.factorised == 9 * sum(side**3 for side in sides)


def test_shampoo_shares_an_embedding_by_blocks():
    table = [Tensor((32_000, 1024), "embedding")]
    one, eight = (shampoo(table, devices) for devices in (1, 8))
    # 31 whole blocks and one of 256 rows; no device has more than four whole ones.
    assert one.launches == 32 * 10
    assert eight.launches == 4 * 10
    assert eight.factorised == pytest.approx(4 * 9 * 2 * 1024**3 / 100)
    assert eight.gathered == one.gathered


def test_shampoo_does_not_precondition_tables():
    load = shampoo([Tensor((1_048_576, 128), "matrix")], 8)
    assert (load.product_flops, load.factorised) == (0, 0)
    assert load.moved > 4 * 1_048_576 * 128


def test_caspr_adaptive_pads_every_root_to_a_block():
    shapes = [Tensor((5, 1, 512), "conv"), Tensor((2048, 512), "matrix")]
    none, some = (caspr_adaptive(shapes, 8, count, period=20) for count in (0.0, 30.0))
    # Two roots of the first and four of the second's two blocks: one a device.
    more = some.products[1024, 1024, 1024] - none.products[1024, 1024, 1024]
    assert more == pytest.approx(3 * 30 / 20)
    assert some.gathered == pytest.approx(6 * 4 * 1024**2 / 20)
    assert none.products[5, 512, 5] == 1
    assert none.products[1024, 512, 1024] == 2


def test_caspr_adaptive_leaves_vectors_and_long_tables_alone():
    shapes = [Tensor((512,), "vector"), Tensor((4_194_304, 128), "embedding")]
    load = caspr_adaptive(shapes, 8, 100.0)
    assert (load.product_flops, load.gathered) == (0, 0)


def test_muon_shares_whole_matrices():
    shapes = [MATRIX] * 5 + [Tensor((32_000, 64), "embedding"), Tensor((64,), "vector")]
    load = muon(shapes, 4)
    # Two of the five on the first device, five iterations of three products.
    assert load.products == {(256, 512, 256): 10, (256, 256, 256): 10, (256, 256, 512): 10}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_moves_at_least_its_parameters(name: str):
    entry = ENTRIES[name]
    shapes = tensors("imagenet_vit", entry.framework)
    size = sum(math.prod(tensor.shape) for tensor in shapes)
    # The parameters written once, by this device or received from another.
    assert entry.load(shapes, 8).moved >= 4 * size / 8


def test_batches_are_the_baselines_unless_an_entry_says_otherwise():
    assert ENTRIES["shampoo"].batch("librispeech_conformer") == 200
    assert ENTRIES["schedule_free_adamw"].batch("fastmri") == 16
    assert entries.same_batch("shampoo", "ademamix", "wmt")
    assert not entries.same_batch("shampoo", "ademamix", "librispeech_deepspeech")
