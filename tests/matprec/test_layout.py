"""Tensors to stacks of matrices and back: nothing lost, one orientation, one policy."""

import math

import array_api_compat.numpy as xp
import array_api_compat.torch as torch_xp
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matprec import layout
from matprec.layout import ELEMENTWISE_STACK_BYTES, Options, make_plan, make_view

QUICK = settings(max_examples=80, deadline=None, derandomize=True)
KEY = (8, "float64")

shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)
tensors = st.lists(
    st.tuples(
        st.one_of(shapes, st.sampled_from([(9, 3), (3, 9), (6, 3), (12, 4), (4, 8), (5, 5)])),
        st.sampled_from([None, *layout.ROLES]),
    ),
    max_size=8,
)
options = st.builds(
    Options,
    weight_layout=st.sampled_from(["in_out", "out_in"]),
    max_dim=st.sampled_from([2, 4, 8192]),
    stack_bytes=st.sampled_from([None, 1, 100, 1000]),
    elementwise=st.sampled_from([False, False, True]),
    precondition_head=st.booleans(),
    block_size=st.sampled_from([None, 1, 2, 3]),
    merge_dims=st.sampled_from([False, False, True]),
)


def plan_of(specs, opts, keys=None):
    keys = keys or [KEY] * len(specs)
    return make_plan([shape for shape, _ in specs], [role for _, role in specs], keys, opts)


def numbered(specs):
    """Arrays of the given shapes in which every element of all of them is another number."""
    start, arrays = 0, []
    for shape, _ in specs:
        arrays.append(np.arange(start, start + math.prod(shape), dtype=float).reshape(shape))
        start += arrays[-1].size
    return arrays


# ---------------------------------------- round trips


@QUICK
@given(tensors, options)
def test_gather_and_scatter(specs, opts):
    plan, arrays = plan_of(specs, opts), numbered(specs)
    stacks = layout.gather(xp, plan, arrays)
    elements = np.concatenate([np.ravel(x) for x in [*stacks, []]])
    np.testing.assert_array_equal(np.sort(elements), np.arange(sum(x.size for x in arrays)))
    for array, found in zip(arrays, layout.scatter(xp, plan, stacks), strict=True):
        if array.size == 0:
            assert found is None
        else:
            np.testing.assert_array_equal(found, array)


@QUICK
@given(tensors, options)
def test_stacks(specs, opts):
    plan = plan_of(specs, opts)
    for stack, array in zip(plan.stacks, layout.gather(xp, plan, numbered(specs)), strict=True):
        assert array.shape == (len(stack.pieces), *stack.shape)
        assert stack.owners == tuple(piece.tensor for piece in stack.pieces)
        limit = ELEMENTWISE_STACK_BYTES if stack.elementwise else opts.stack_bytes
        assert limit is None or array.nbytes <= limit or len(array) == 1
        if stack.elementwise:
            assert stack.shape[0] == 1
        else:
            assert not opts.elementwise
            assert max(stack.shape) <= (opts.block_size or math.inf)
        for owner in stack.owners:
            shape, role = specs[owner]
            decayed = opts.elementwise or opts.merge_dims or (len(shape) > 1 and role != "vector")
            assert stack.decayed == decayed


@QUICK
@given(tensors, options, st.data())
def test_a_tensor_is_finite_as_a_whole(specs, opts, data):
    """One bad entry marks all matrices of its tensor, in whatever stacks they are."""
    plan, arrays = plan_of(specs, opts), numbered(specs)
    full = [index for index, array in enumerate(arrays) if array.size]
    bad = set()
    if full:
        bad = data.draw(st.sets(st.sampled_from(full), max_size=3))
    for index in bad:
        place = data.draw(st.integers(0, arrays[index].size - 1))
        arrays[index].flat[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e200]))
    with np.errstate(over="ignore"):
        flags = layout.finite(xp, plan, layout.gather(xp, plan, arrays))
    for stack, flag in zip(plan.stacks, flags, strict=True):
        np.testing.assert_array_equal(flag, [owner not in bad for owner in stack.owners])


@QUICK
@given(tensors, options, st.sampled_from([None, 1, 50, 300]), st.sampled_from(["f4", "f8"]))
def test_exported_state_survives_other_chunks(specs, opts, stack_bytes, dtype):
    rng = np.random.default_rng(0)
    plan = plan_of(specs, opts)
    states = [
        {
            "moment": rng.normal(size=(len(stack.pieces), *stack.shape)).astype(dtype),
            "t": rng.normal(size=len(stack.pieces)).astype(dtype),
        }
        for stack in plan.stacks
    ]
    exported = layout.export_state(xp, plan, states)
    other = plan_of(specs, Options(**{**vars(opts), "stack_bytes": stack_bytes}))
    imported = layout.import_state(xp, other, exported)
    for stack, state in zip(other.stacks, imported, strict=True):
        assert state["moment"].shape == (len(stack.pieces), *stack.shape)
        assert state["t"].shape == (len(stack.pieces),)
        assert state["moment"].dtype == state["t"].dtype == dtype
    again = layout.export_state(xp, other, imported)
    for tensor, same in zip(exported, again, strict=True):
        assert tensor.keys() == same.keys()
        for key in tensor:
            for x, y in zip(tensor[key], same[key], strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("namespace", [jnp, torch_xp], ids=["jax", "torch"])
def test_round_trip_in_other_namespaces(namespace):
    specs = [((5, 7), None), ((2, 3, 4), None), ((3,), None), ((), None), ((6, 2), "fused_qkv")]
    plan = plan_of(specs, Options("in_out", block_size=4))
    arrays = [namespace.asarray(x.astype(np.float32)) for x in numbered(specs)]
    stacks = layout.gather(namespace, plan, arrays)
    for array, found in zip(arrays, layout.scatter(namespace, plan, stacks), strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(array))
    exported = layout.export_state(namespace, plan, [{"x": x} for x in stacks])
    for x, state in zip(stacks, layout.import_state(namespace, plan, exported), strict=True):
        np.testing.assert_array_equal(np.asarray(state["x"]), np.asarray(x))


def test_updates_are_views_and_exports_are_copies():
    specs = [((5, 7), None), ((5, 7), None)]
    plan = plan_of(specs, Options("out_in"))
    (stack,) = layout.gather(torch_xp, plan, [torch_xp.asarray(x) for x in numbered(specs)])
    for found in layout.scatter(torch_xp, plan, [stack]):
        assert found is not None
        assert found.untyped_storage().data_ptr() == stack.untyped_storage().data_ptr()
    for tensor in layout.export_state(torch_xp, plan, [{"x": stack}]):
        (copy,) = tensor["x"]
        assert copy.untyped_storage().nbytes() == copy.numel() * 8
        assert copy.untyped_storage().data_ptr() != stack.untyped_storage().data_ptr()


def test_another_number_of_matrices_is_an_error():
    specs = [((6, 6), None)]
    small = plan_of(specs, Options("out_in", block_size=3))
    whole = plan_of(specs, Options("out_in"))
    exported = layout.export_state(xp, small, [{"t": np.zeros(4)}])
    with pytest.raises(ValueError, match="'t' of tensor 0 has 4 matrices where the layout has 1"):
        layout.import_state(xp, whole, exported)


# ---------------------------------------- one orientation for both frameworks


def matrix(x, role, weight_layout):
    return make_view(x.shape, role, weight_layout).to_matrix(xp, x)


def test_dense_and_convolutional_kernels_give_the_same_matrix():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(5, 3))
    np.testing.assert_array_equal(matrix(dense, None, "out_in"), dense)
    np.testing.assert_array_equal(matrix(dense.T, None, "in_out"), dense)
    conv = rng.normal(size=(5, 3, 2, 4))  # (out, in, height, width)
    for role in (None, "conv"):
        np.testing.assert_array_equal(matrix(conv, role, "out_in"), conv.reshape(5, -1))
        flax = conv.transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(matrix(flax, role, "in_out"), conv.reshape(5, -1))
    conv1d = rng.normal(size=(5, 3, 2))
    np.testing.assert_array_equal(matrix(conv1d, "conv", "out_in"), conv1d.reshape(5, -1))
    flax = conv1d.transpose(2, 1, 0)
    np.testing.assert_array_equal(matrix(flax, "conv", "in_out"), conv1d.reshape(5, -1))
    conv3d = rng.normal(size=(5, 3, 2, 4, 2))
    flax = conv3d.transpose(2, 3, 4, 1, 0)
    np.testing.assert_array_equal(matrix(flax, None, "in_out"), conv3d.reshape(5, -1))


# The last two would be merged the other way, nearer to a square, if it were not for the role.
@pytest.mark.parametrize(("d", "heads", "head_dim"), [(10, 2, 3), (2, 3, 6), (3, 6, 2)])
def test_attention_kernels_give_the_same_matrix(d, heads, head_dim):
    rng = np.random.default_rng(0)
    inner = rng.normal(size=(heads * head_dim, d))  # torch's linear layer, (out, in)
    flax = inner.T.reshape(d, heads, head_dim)
    np.testing.assert_array_equal(matrix(inner, "attention_in", "out_in"), inner)
    np.testing.assert_array_equal(matrix(flax, "attention_in", "in_out"), inner)
    outer = rng.normal(size=(d, heads * head_dim))
    flax = outer.T.reshape(heads, head_dim, d)
    np.testing.assert_array_equal(matrix(outer, "attention_out", "out_in"), outer)
    np.testing.assert_array_equal(matrix(flax, "attention_out", "in_out"), outer)


@pytest.mark.parametrize("parts", [2, 3])
def test_fused_projections_are_split(parts):
    d = 4
    pieces = [np.random.default_rng(i).normal(size=(d, d)) for i in range(parts)]
    fused = np.concatenate(pieces)
    for opts, x in ((Options("out_in"), fused), (Options("in_out"), fused.T)):
        plan = plan_of([(x.shape, "fused_qkv")], opts)
        (stack,) = layout.gather(xp, plan, [x])
        np.testing.assert_array_equal(stack, pieces)
    blocks = plan_of([(fused.shape, "fused_qkv")], Options("out_in", block_size=3))
    separate = plan_of([((d, d), None)] * parts, Options("out_in", block_size=3))
    for one, many in zip(
        layout.gather(xp, blocks, [fused]), layout.gather(xp, separate, pieces), strict=True
    ):
        np.testing.assert_array_equal(one, many)
    # Without the role, or in other proportions, it is one matrix.
    assert make_view((parts * d, d), None, "out_in").parts == 1
    assert make_view((4 * d, d), "fused_qkv", "out_in").parts == 1


def test_three_dimensions_without_a_role_become_nearly_square():
    for shape, sides in (((2, 3, 4), (6, 4)), ((8, 3, 2), (8, 6)), ((2, 5, 2), (2, 10))):
        view = make_view(shape, None, "out_in")
        assert view.dims == sides


@QUICK
@given(shapes.filter(lambda s: 2 <= len(s) <= 3), st.sampled_from([None, "attention_in", "head"]))
def test_layouts_are_transposes_of_each_other(shape, role):
    x = numbered([(shape, role)])[0]
    np.testing.assert_array_equal(matrix(x, role, "in_out"), matrix(x, role, "out_in").T)


# ---------------------------------------- what is a matrix


@pytest.mark.parametrize(
    ("shape", "role", "changes", "expected"),
    [
        ((4, 5), None, {}, True),
        ((4, 5), "matrix", {}, True),
        ((4, 5), "embedding", {}, False),
        ((4, 5), "vector", {}, False),
        ((4, 5), "head", {}, True),
        ((4, 5), "head", {"precondition_head": False}, False),
        ((4, 5), "matrix", {"precondition_head": False}, True),
        ((4, 5), None, {"elementwise": True}, False),
        ((4,), None, {}, False),
        ((4,), "matrix", {}, False),
        ((), None, {}, False),
        ((1, 5), None, {}, False),
        ((5, 1), None, {}, False),
        ((1, 1), None, {}, False),
        ((1, 1, 5), None, {}, False),
        ((1, 3, 2, 2), "conv", {}, False),
        ((2, 1, 1, 2), "conv", {}, True),
        ((3, 1), "fused_qkv", {}, False),
        ((4, 5), None, {"max_dim": 4}, True),
        ((4, 5), None, {"max_dim": 3}, False),
        ((30, 4), None, {"max_dim": 4}, True),
        # AlgoPerf calls the tables of its PyTorch criteo1tb weights.
        ((1_048_576, 128), "matrix", {}, False),
        ((128, 1_000_000), "head", {"block_size": 1024}, False),
        ((999_999, 2), "matrix", {}, True),
        ((12, 4), "fused_qkv", {"max_dim": 4}, True),
        ((0, 5), None, {}, False),
        ((5, 0), None, {}, False),
    ],
)
@pytest.mark.parametrize("weight_layout", ["in_out", "out_in"])
def test_policy(shape, role, changes, expected, weight_layout):
    if weight_layout == "in_out" and role in ("conv", "fused_qkv"):
        shape = (*shape[2:], *shape[1::-1])
    plan = plan_of([(shape, role)], Options(weight_layout, **changes))
    assert all(stack.elementwise != expected for stack in plan.stacks)
    assert bool(plan.stacks) == (math.prod(shape) > 0)


def test_tensors_are_stacked_by_shape_kind_and_key():
    specs = [((4, 5), None), ((4, 5), None), ((5, 4), None), ((4, 5), None), ((3,), None)]
    specs += [((3,), None), ((1, 3), None)]
    keys = [KEY, KEY, KEY, (4, "float32"), KEY, KEY, KEY]
    plan = plan_of(specs, Options("out_in"), keys)
    # A row of a matrix decays, a vector of the same length does not.
    assert [stack.owners for stack in plan.stacks] == [(0, 1), (2,), (3,), (4, 5), (6,)]
    everything = plan_of(specs, Options("out_in", elementwise=True), keys)
    assert [stack.owners for stack in everything.stacks] == [(0, 1, 2), (3,), (4, 5, 6)]


def test_chunks():
    specs = [((4, 4), None)] * 7  # 128 bytes each
    for limit, sizes in ((None, [7]), (1, [1] * 7), (300, [2, 2, 2, 1]), (10**6, [7])):
        plan = plan_of(specs, Options("out_in", stack_bytes=limit))
        assert [len(stack.pieces) for stack in plan.stacks] == sizes
    rows = plan_of([((ELEMENTWISE_STACK_BYTES // 8 // 2,), None)] * 3, Options("out_in"))
    assert [len(stack.pieces) for stack in rows.stacks] == [2, 1]


def test_blocks_are_row_major():
    plan = plan_of([((5, 4), None)], Options("out_in", block_size=3))
    assert {stack.shape for stack in plan.stacks} == {(3, 3), (3, 1), (2, 3), (2, 1)}
    (state,) = layout.export_state(xp, plan, [{"x": np.zeros((1, *s.shape))} for s in plan.stacks])
    assert [x.shape for x in state["x"]] == [(3, 3), (3, 1), (2, 3), (2, 1)]


def test_unknown_roles():
    with pytest.raises(ValueError, match="'kernel' is not one of matrix, conv, embedding, head, "):
        plan_of([((4, 5), "kernel")], Options("out_in"))
    with pytest.raises(ValueError, match="'kernel'"):
        plan_of([((4,), "kernel")], Options("out_in"))


# ---------------------------------------- dimensions merged as the AlgoPerf winner does


@pytest.mark.parametrize(
    ("shape", "limit", "dims"),
    [
        ((64, 3, 7, 7), 1024, (192, 49)),
        ((512, 512, 3, 3), 1024, (512, 512, 9)),
        ((1000, 2048), 1024, (1000, 2048)),
        ((768,), 1024, (768,)),
        ((16, 32), 1024, (512,)),
        ((1, 5, 1, 6), 4, (5, 6)),
        ((1, 1), 4, (1,)),
        ((), 4, (1,)),
        ((2, 3, 4), None, (24,)),
    ],
)
def test_merged_dimensions(shape, limit, dims):
    plan = plan_of([(shape, None)], Options("out_in", block_size=limit, merge_dims=True))
    assert plan.views[0].dims == dims
    assert not any(stack.elementwise for stack in plan.stacks)


def test_merging_sees_outputs_first_in_both_layouts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 2, 5))
    found = []
    for weight_layout, tensor in (("out_in", x), ("in_out", x.transpose(2, 3, 1, 0))):
        opts = Options(weight_layout, block_size=6, merge_dims=True)
        plan = make_plan([tensor.shape], ["conv"], [KEY], opts)
        found.append(layout.gather(xp, plan, [tensor]))
        assert plan.views[0].dims == (4, 6, 5)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_side_of_a_million_is_never_merged():
    specs = [((1_000_000, 1), None), ((999_999,), None)]
    opts = Options("out_in", max_dim=10**6, block_size=10**6, merge_dims=True)
    plan = plan_of(specs, opts)
    assert {stack.owners[0]: stack.elementwise for stack in plan.stacks} == {0: True, 1: False}


def test_values_are_combined_over_all_blocks_of_a_tensor():
    owners = [(0, 1, 0), (2, 0), (1,)]
    values = [np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0]), np.array([7.0])]
    sums = layout.per_tensor(xp, owners, np.add, values)
    assert [list(x) for x in sums] == [[9, 9, 9], [4, 9], [9]]
    (same,) = layout.per_tensor(xp, [(0, 1)], np.add, [values[1]])
    assert same is values[1]


# ---------------------------------------- parts


def test_parts_are_as_small_as_can_be():
    """Blocks of one tensor lie in several stacks, and these have other tensors' blocks too."""
    shapes = [(4, 4), (7, 4), (5,), (3, 4), (9, 2), (0, 3)]

    def parts(**more):
        plan = plan_of([(shape, None) for shape in shapes], Options("out_in", **more))
        return [part.tensors for part in layout.split(plan)]

    assert parts() == [(0,), (1,), (2,), (3,), (4,)]
    assert parts(block_size=4) == [(0, 1, 3), (2,), (4,)]
    assert parts(elementwise=True) == [(0,), (1,), (2,), (3,), (4,)]


@QUICK
@given(tensors, options)
def test_parts_together_are_the_plan(specs, opts):
    plan = plan_of(specs, opts)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape, _ in specs]
    whole = layout.gather(xp, plan, arrays)
    parts = layout.split(plan)
    assert sorted(n for part in parts for n in part.stacks) == list(range(len(plan.stacks)))
    numbers = [i for part in parts for i in part.tensors]
    assert sorted(numbers) == [i for i, array in enumerate(arrays) if array.size]
    for part in parts:
        mine = [arrays[i] for i in part.tensors]
        stacks = layout.gather(xp, part.plan, mine)
        for number, stack in zip(part.stacks, stacks, strict=True):
            np.testing.assert_array_equal(stack, whole[number])
        for x, y in zip(layout.scatter(xp, part.plan, stacks), mine, strict=True):
            np.testing.assert_array_equal(x, y)
