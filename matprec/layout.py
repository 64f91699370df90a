"""Parameter tensors <-> stacks of same-shaped matrices.

Every tensor is seen as one or more matrices in one orientation, rows = outputs, whatever the
framework, so that "left", "right" and "smaller side" mean the same in JAX and in PyTorch. Matrices
(or blocks of them) of one shape are stacked, in chunks of limited size, and one batched call
serves a chunk. Everything that is not a matrix goes to elementwise stacks of rows (B, 1, k).

A plan depends on shapes, roles and options only; it is computed in Python, once per trace in JAX.
"""

import collections
import dataclasses
import itertools
import math
import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Literal

from matprec import linalg

Array = Any
Shape = tuple[int, ...]
WeightLayout = Literal["in_out", "out_in"]

ROLES = (
    "matrix",
    "conv",
    "embedding",
    "head",
    "attention_in",
    "attention_out",
    "fused_qkv",
    "vector",
)
# Stacking long rows costs copies and saves nothing.
ELEMENTWISE_STACK_BYTES = 1 << 16
TABLE_ROWS = 1_000_000  # a side this long is an embedding table's, whatever the tensor's role
CPU_STACK_BYTES = 3 << 19  # 1.5 MB: larger stacks fall out of a core's cache


@dataclasses.dataclass(frozen=True)
class View:
    """How a tensor becomes a matrix: permute the axes, then reshape to `dims`, (rows, columns).

    `parts` > 1 cuts the rows of a fused tensor into that many matrices. Where tensors are not
    seen as matrices (`merge_dims`), `dims` has any length of at least one.
    """

    shape: Shape
    axes: tuple[int, ...]
    dims: Shape
    parts: int = 1

    def to_matrix(self, xp: Any, x: Array) -> Array:
        return _reshaped(xp, _permuted(xp, x, self.axes), self.dims)

    def from_matrix(self, xp: Any, matrix: Array) -> Array:
        permuted = _reshaped(xp, matrix, tuple(self.shape[axis] for axis in self.axes))
        inverse = tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__))
        return _permuted(xp, permuted, inverse)


# Most tensors lie as their matrices do, and calls that change nothing take time with many of them.


def _permuted(xp: Any, x: Array, axes: tuple[int, ...]) -> Array:
    return x if axes == tuple(range(len(axes))) else xp.permute_dims(x, axes)


def _reshaped(xp: Any, x: Array, shape: Shape) -> Array:
    return x if tuple(x.shape) == shape else xp.reshape(x, shape)


@dataclasses.dataclass(frozen=True)
class Piece:
    """The block from `start` up to `stop`, along every axis, of tensor number `tensor`'s matrix."""

    tensor: int
    start: Shape
    stop: Shape

    @property
    def shape(self) -> Shape:
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    def of(self, matrix: Array) -> Array:
        """The block, which is the matrix itself where it covers it."""
        if self.shape == tuple(matrix.shape):
            return matrix
        return matrix[tuple(map(slice, self.start, self.stop))]


@dataclasses.dataclass(frozen=True)
class Stack:
    """Pieces of one shape (m, n) that are handled together, as an array (B, m, n)."""

    pieces: tuple[Piece, ...]
    elementwise: bool
    decayed: bool

    @property
    def shape(self) -> Shape:
        return self.pieces[0].shape

    @property
    def owners(self) -> tuple[int, ...]:
        """The tensor number of every matrix of the stack."""
        return tuple(piece.tensor for piece in self.pieces)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Views of all tensors, and the stacks that their matrices form."""

    views: tuple[View, ...]
    stacks: tuple[Stack, ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """Tensors of a plan, and stacks of theirs, that have nothing to do with the others.

    Attributes:
      tensors, stacks: their numbers in the whole plan.
      plan: of these alone, its tensors numbered anew.
    """

    tensors: tuple[int, ...]
    stacks: tuple[int, ...]
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Options:
    """What decides how tensors are laid out.

    Attributes:
      weight_layout: `in_out` (flax: kernels are (..., inputs, outputs)) or `out_in` (torch).
      max_dim: a matrix with both sides longer than this goes to the fallback.
      stack_bytes: largest size of a stack in bytes; None for no limit, except on that of long rows.
      elementwise: no tensor is a matrix.
      precondition_head: whether the role `head` counts as a matrix.
      block_size: largest side of a block; None for whole matrices.
      merge_dims: no tensor is a matrix; as the winner of AlgoPerf has it, sides of length 1 are
        dropped, neighbouring ones merged up to `block_size`, and every tensor without a side of a
        million is preconditioned, in blocks of as many dimensions as remain.
    """

    weight_layout: WeightLayout
    max_dim: int = 8192
    stack_bytes: int | None = CPU_STACK_BYTES
    elementwise: bool = False
    precondition_head: bool = True
    block_size: int | None = None
    merge_dims: bool = False


def make_view(shape: Shape, role: str | None, weight_layout: WeightLayout) -> View:
    """The canonical matrix of a tensor of at least two dimensions, rows = outputs.

    Matrices are transposed where the layout is in_out; convolutions become
    (out, in * kernel) with the kernel's axes in order in both layouts; three-dimensional tensors
    are attention kernels, (d, heads, head_dim) or, for the role attention_out,
    (heads, head_dim, d), or, without such a role, merged into the more nearly square matrix.
    """
    axes = tuple(range(len(shape)))
    if role == "conv" or len(shape) > 3:
        split = 1
        if weight_layout == "in_out":
            axes = (axes[-1], axes[-2], *axes[:-2])
    else:
        split = _balanced_split(shape, role)
        if weight_layout == "in_out":
            axes = (*axes[split:], *axes[:split])
            split = len(shape) - split
    rows, columns = _merged([shape[axis] for axis in axes], split)
    fused = role == "fused_qkv" and 0 < rows in (2 * columns, 3 * columns)
    return View(shape, axes, (rows, columns), rows // columns if fused else 1)


def make_merged_view(view: View, limit: int | None) -> View:
    """The view of `merge_dims`: from left to right, dimensions of a product up to `limit`."""
    dims: list[int] = []
    for size in (view.shape[axis] for axis in view.axes if view.shape[axis] != 1):
        if dims and (limit is None or dims[-1] * size <= limit):
            dims[-1] *= size
        else:
            dims.append(size)
    return View(view.shape, view.axes, tuple(dims) or (1,))


def _balanced_split(shape: Shape, role: str | None) -> int:
    """After which axis a tensor of two or three dimensions is cut to become a matrix."""
    if len(shape) == 2 or role == "attention_in":
        return 1
    if role == "attention_out" or _ratio(shape, 2) < _ratio(shape, 1):
        return 2
    return 1


def _merged(shape: Sequence[int], split: int) -> tuple[int, int]:
    return math.prod(shape[:split]), math.prod(shape[split:])


def _ratio(shape: Shape, split: int) -> float:
    """Longer over shorter side after merging the axes before and after `split`."""
    sides = _merged(shape, split)
    return max(sides) / max(min(sides), 1)


def is_matrix(view: View, role: str | None, options: Options) -> bool:
    """The policy for tensors of at least two dimensions: True when preconditioned as a matrix."""
    rows, columns = view.dims
    short, long = sorted((rows // view.parts, columns))
    return not (
        options.elementwise
        or role in ("embedding", "vector")
        or (role == "head" and not options.precondition_head)
        or short <= 1
        or not 1 <= long < TABLE_ROWS
        or short > options.max_dim
    )


def make_plan(
    shapes: Sequence[Shape],
    roles: Sequence[str | None],
    keys: Sequence[tuple[int, Hashable]],
    options: Options,
) -> Plan:
    """Lay tensors out.

    Args:
      shapes: one per tensor.
      roles: one of ROLES per tensor, or None to go by the shape alone.
      keys: per tensor, bytes per element of its state and anything that must be equal within a
        stack (dtype, device).
      options: see Options.

    Raises:
      ValueError: a role is unknown.
    """
    views, groups = [], {}
    for index, (shape, role, key) in enumerate(zip(shapes, roles, keys, strict=True)):
        if role is not None and role not in ROLES:
            raise ValueError(f"role {role!r} is not one of {', '.join(ROLES)}")
        view, matrix = _policy(shape, role, options)
        views.append(view)
        vector = len(shape) <= 1 or role == "vector"
        decayed = options.elementwise or options.merge_dims or not vector
        for piece in _pieces(index, view, options.block_size if matrix else None):
            groups.setdefault((piece.shape, not matrix, decayed, key), []).append(piece)
    stacks = []
    for (size, elementwise, decayed, (itemsize, _)), pieces in groups.items():
        limit, bytes_ = options.stack_bytes, max(math.prod(size) * itemsize, 1)
        if elementwise and (limit is not None or bytes_ > ELEMENTWISE_STACK_BYTES // 2):
            limit = ELEMENTWISE_STACK_BYTES
        room = len(pieces) if limit is None else limit // bytes_
        stacks += [Stack(chunk, elementwise, decayed) for chunk in _chunks(pieces, max(room, 1))]
    return Plan(tuple(views), tuple(stacks))


def _policy(shape: Shape, role: str | None, options: Options) -> tuple[View, bool]:
    """A tensor's view, and whether it is preconditioned; if not, the view is one row."""
    identity = View(shape, tuple(range(len(shape))), (1, math.prod(shape)))
    wide = len(shape) > 1 and role != "vector"
    view = make_view(shape, role, options.weight_layout) if wide else identity
    if options.merge_dims and not options.elementwise:
        merged = make_merged_view(view, options.block_size)
        shortest = min(min(size, options.block_size or size) for size in merged.dims)
        fits = max(merged.dims) < TABLE_ROWS and shortest <= options.max_dim
        return (merged, True) if fits else (identity, False)
    return (view, True) if wide and is_matrix(view, role, options) else (identity, False)


def _pieces(index: int, view: View, block_size: int | None) -> Iterable[Piece]:
    """Row-major pieces of a matrix: its parts, each cut into blocks; none of an empty one."""
    if 0 in view.dims:
        return
    cuts = [_cuts(view.dims[0], view.dims[0] // view.parts, block_size)]
    cuts += [_cuts(size, size, block_size) for size in view.dims[1:]]
    for corners in itertools.product(*cuts):
        yield Piece(index, tuple(start for start, _ in corners), tuple(stop for _, stop in corners))


def _cuts(size: int, part: int, block_size: int | None) -> list[tuple[int, int]]:
    """Where an axis is cut: into parts, and these into blocks, the last one of each smaller."""
    return [
        (start, min(start + (block_size or part), top + part))
        for top in range(0, size, part)
        for start in range(top, top + part, block_size or part)
    ]


def _chunks(pieces: list[Piece], room: int) -> Iterable[tuple[Piece, ...]]:
    for start in range(0, len(pieces), room):
        yield tuple(pieces[start : start + room])


def split(plan: Plan) -> list[Part]:
    """The parts of a plan, as small as can be, in the order of their first stacks."""
    joined: list[tuple[set[int], list[int]]] = []
    for number, stack in enumerate(plan.stacks):
        tensors, stacks = set(stack.owners), [number]
        apart = [other for other in joined if tensors.isdisjoint(other[0])]
        for other in joined:
            if not tensors.isdisjoint(other[0]):
                tensors, stacks = tensors | other[0], other[1] + stacks
        joined = [*apart, (tensors, stacks)]
    parts = [(tuple(sorted(tensors)), tuple(sorted(stacks))) for tensors, stacks in joined]
    return [
        Part(tensors, stacks, _sub_plan(plan, tensors, stacks))
        for tensors, stacks in sorted(parts, key=operator.itemgetter(1))
    ]


def _sub_plan(plan: Plan, tensors: Sequence[int], stacks: Sequence[int]) -> Plan:
    renumbered = {tensor: place for place, tensor in enumerate(tensors)}

    def moved(stack: Stack) -> Stack:
        pieces = (
            dataclasses.replace(piece, tensor=renumbered[piece.tensor]) for piece in stack.pieces
        )
        return dataclasses.replace(stack, pieces=tuple(pieces))

    return Plan(
        tuple(plan.views[tensor] for tensor in tensors),
        tuple(moved(plan.stacks[number]) for number in stacks),
    )


def gather(xp: Any, plan: Plan, tensors: Sequence[Array]) -> list[Array]:
    """The stacks (B, m, n) of a plan, filled from tensors, which they may be views of."""
    matrices = [view.to_matrix(xp, x) for view, x in zip(plan.views, tensors, strict=True)]
    return [
        _stacked(xp, [piece.of(matrices[piece.tensor]) for piece in stack.pieces])
        for stack in plan.stacks
    ]


def _stacked(xp: Any, matrices: list[Array]) -> Array:
    # One alone is not copied where the framework has views.
    return matrices[0][None] if len(matrices) == 1 else xp.stack(matrices)


def finite(xp: Any, plan: Plan, stacks: Sequence[Array]) -> list[Array]:
    """Per stack, (B,) booleans: whether the whole tensor that a matrix belongs to is finite.

    A tensor whose squares overflow when summed counts as not finite: its Gram matrix would be.
    """
    flags = [xp.isfinite(linalg.squares(xp, array)) for array in stacks]
    return per_tensor(xp, [stack.owners for stack in plan.stacks], operator.and_, flags)


def per_tensor(
    xp: Any,
    owners: Sequence[Sequence[int]],
    combine: Callable[[Array, Array], Array],
    values: Sequence[Array],
) -> list[Array]:
    """Per stack, (B,) values combined over all matrices of the tensor that a matrix belongs to.

    Args:
      xp: array namespace.
      owners: per stack, the tensor numbers of its matrices.
      combine: of two values.
      values: per stack, one value (B,) for each matrix.
    """
    pieces = collections.Counter(tensor for stack in owners for tensor in stack)
    cut: dict[int, Array] = {}
    for stack, value in zip(owners, values, strict=True):
        for row, tensor in enumerate(stack):
            if pieces[tensor] > 1:
                cut[tensor] = combine(cut[tensor], value[row]) if tensor in cut else value[row]
    return [
        xp.stack([cut[tensor] if tensor in cut else value[row] for row, tensor in enumerate(stack)])
        if not cut.keys().isdisjoint(stack)
        else value
        for value, stack in zip(values, owners, strict=True)
    ]


def scatter(xp: Any, plan: Plan, stacks: Sequence[Array]) -> list[Array | None]:
    """The tensors of a plan, put together from stacks; None for tensors without elements.

    A tensor that is one piece is a view of its stack where the framework has views.
    """
    found: list[list[tuple[Piece, Array]]] = [[] for _ in plan.views]
    for stack, array in zip(plan.stacks, stacks, strict=True):
        for row, piece in enumerate(stack.pieces):
            found[piece.tensor].append((piece, array[row]))
    return [
        view.from_matrix(xp, _assemble(xp, pieces)) if pieces else None
        for view, pieces in zip(plan.views, found, strict=True)
    ]


def _assemble(xp: Any, pieces: list[tuple[Piece, Array]], axis: int = 0) -> Array:
    if len(pieces) == 1:
        return pieces[0][1]
    bands: dict[int, list[tuple[Piece, Array]]] = {}
    for piece, block in pieces:
        bands.setdefault(piece.start[axis], []).append((piece, block))
    return xp.concat([_assemble(xp, bands[start], axis + 1) for start in sorted(bands)], axis=axis)


def export_state(
    xp: Any, plan: Plan, states: Sequence[dict[str, Array]]
) -> list[dict[str, list[Array | None]]]:
    """Per tensor, every state key's arrays in the order of the tensor's pieces.

    Pieces of one tensor may differ in shape and so in what an algorithm keeps for them: None stands
    where a piece has no such key.
    """
    exported: list[dict[str, list[Array | None]]] = [{} for _ in plan.views]
    places = _places(plan)
    pieces = collections.Counter(piece.tensor for piece in places)
    for stack, state in zip(plan.stacks, states, strict=True):
        for key, array in state.items():
            for row, piece in enumerate(stack.pieces):
                absent = [None] * pieces[piece.tensor]
                arrays = exported[piece.tensor].setdefault(key, absent)
                arrays[places[piece]] = xp.asarray(array[row], copy=True)
    return exported


def import_state(
    xp: Any, plan: Plan, exported: Sequence[dict[str, list[Array | None]]]
) -> list[dict[str, Array]]:
    """The stacks' states from `export_state`'s form, for any chunking.

    Raises:
      ValueError: a tensor's state has another number of matrices than the plan wants.
    """
    places = _places(plan)
    pieces = collections.Counter(piece.tensor for piece in places)
    for tensor, state in enumerate(exported):
        for key, arrays in state.items():
            if len(arrays) != pieces[tensor]:
                raise ValueError(
                    f"state {key!r} of tensor {tensor} has {len(arrays)} matrices where the layout "
                    f"has {pieces[tensor]}: was it saved with another block_size?"
                )
    return [
        {
            key: xp.stack([exported[piece.tensor][key][places[piece]] for piece in stack.pieces])
            for key, arrays in exported[stack.pieces[0].tensor].items()
            if arrays[places[stack.pieces[0]]] is not None
        }
        for stack in plan.stacks
    ]


def _places(plan: Plan) -> dict[Piece, int]:
    """The number of every piece among the pieces of its tensor, from the first corner on."""
    places: dict[Piece, int] = {}
    counts = collections.Counter()
    for piece in sorted((p for s in plan.stacks for p in s.pieces), key=_start):
        places[piece] = counts[piece.tensor]
        counts[piece.tensor] += 1
    return places


def _start(piece: Piece) -> Shape:
    return piece.start
