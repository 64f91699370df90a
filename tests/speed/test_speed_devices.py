"""What devices decompose, counted in made-up and in compiled programs."""

import math

import pytest

from speed import devices
from speed.devices import Call, Counted, CountSetup, calls, check_all_seen, run, shares

PROGRAM = """
  ROOT %custom-call.1 = (f32[2,6,4]{1,2,0}, f32[2,4]{1,0}, /*index=2*/s32[2]{0}) \
custom-call(%copy.3, %x), custom_call_target="lapack_sgeqrf_ffi", operand_layout_constraints={}
  %eigh = (f64[3,4]{0,1}, s32[]) custom-call(%y), custom_call_target="lapack_dsyevd_ffi"
  %solve = f32[2,3,5,4]{2,3,1,0} custom-call(%y, %z), custom_call_target="lapack_strsm_ffi"
  %other = f32[9,4,4]{2,1,0} custom-call(%y), custom_call_target="__onednn$matmul"
  %product = f32[9,4,4]{2,1,0} dot(%y, %z), lhs_batch_dims={0}
"""


def eigh(order: int, *numbers: int) -> list[Call]:
    return [Call("lapack_ssyevd_ffi", order, order, number) for number in numbers]


def test_calls_of_a_program():
    assert calls(PROGRAM) == [
        Call("lapack_sgeqrf_ffi", 6, 4, 2),
        Call("lapack_dsyevd_ffi", 3, 4, 1),
        Call("lapack_strsm_ffi", 5, 4, 6),
    ]


def test_calls_of_one_size_go_by_their_numbers_of_matrices():
    alone = eigh(4, 9, 1, 20) + eigh(6, 9)
    together = eigh(6, 5) + eigh(4, 3, 2, 1)
    assert shares(alone, together) == [[1, 1], [9, 2], [9, 5], [20, 3]]


def test_a_stack_that_is_not_shared_is_noticed_among_others_of_its_size():
    found = Counted(8, shares(eigh(4, 3, 8, 20), eigh(4, 1, 3, 8)))  # 8 should be 1
    assert found.over_share > 2


@pytest.mark.parametrize("together", [[], eigh(4, 2, 2), eigh(5, 2), eigh(4, 2) + eigh(5, 2)])
def test_programs_with_other_calls_cannot_be_compared(together):
    with pytest.raises(ValueError, match="has other decompositions than for one"):
        shares(eigh(4, 9), together)


@pytest.mark.parametrize(
    ("pairs", "over"), [([[9, 2]], 1.0), ([[8, 1], [1, 1]], 1.0), ([[8, 1], [9, 3]], 1.5)]
)
def test_the_largest_share_over_an_even_one(pairs: list[list[int]], over: float):
    assert Counted(8, pairs).over_share == over


def test_nothing_to_count():
    assert math.isnan(Counted(8, []).over_share)


def test_a_stack_that_is_looped_over_is_an_error():
    check_all_seen([(9, 4, 4), (2, 5, 5)], eigh(4, 9) + eigh(5, 2))
    check_all_seen([(9, 4, 4)], [])  # of products alone
    with pytest.raises(ValueError, match="no call of LAPACK decomposes 9 matrices of 4 x 4"):
        check_all_seen([(2, 5, 5), (9, 4, 4)], eigh(4, 1) + eigh(5, 2))


def test_each_device_takes_its_share():
    assert run(CountSetup("soap", "9x6x4", 8)) == Counted(8, [[9, 2]])


def test_a_method_of_products_alone():
    settings = (("root_method", "newton"), ("stagger", False))
    assert run(CountSetup("asgo", "2x4x4", 2, settings)) == Counted(2, [])


def test_without_sharing_every_device_takes_all():
    text, stacks = devices._program(CountSetup("shampoo", "9x6x4", 1), None)
    assert sorted(stacks) == [(9, 4, 4), (9, 6, 6)]
    found = calls(text)
    check_all_seen(stacks, found)
    assert Counted(8, shares(found, found)).over_share == 4.5
