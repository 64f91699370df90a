"""Parameter tensors <-> stacks of same-shaped matrices.

Every tensor is seen as one or more matrices in one orientation, rows = outputs, whatever the
framework, so that "left", "right" and "smaller side" mean the same in JAX and in PyTorch. Matrices
(or blocks of them) of one shape are stacked, in chunks of limited size, and one batched call
serves a chunk. Everything that is not a matrix goes to elementwise stacks of rows (B, 1, k).

A plan depends on shapes, roles and options only; it is computed in Python, once per trace in JAX.
"""

import collections
import dataclasses
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal

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
ELEMENTWISE_STACK_BYTES = 1 << 16  # beyond this, stacking rows costs copies and saves nothing
CPU_STACK_BYTES = 3 << 19  # 1.5 MB: larger stacks fall out of a core's cache


@dataclasses.dataclass(frozen=True)
class View:
    """How a tensor becomes a matrix: permute the axes, then reshape to (rows, columns).

    `parts` > 1 cuts the rows of a fused tensor into that many matrices.
    """

    shape: Shape
    axes: tuple[int, ...]
    rows: int
    columns: int
    parts: int = 1

    def to_matrix(self, xp: Any, x: Array) -> Array:
        return xp.reshape(xp.permute_dims(x, self.axes), (self.rows, self.columns))

    def from_matrix(self, xp: Any, matrix: Array) -> Array:
        permuted = xp.reshape(matrix, tuple(self.shape[axis] for axis in self.axes))
        inverse = tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__))
        return xp.permute_dims(permuted, inverse)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Rows `top` to `bottom` and columns `left` to `right` of tensor number `tensor`'s matrix."""

    tensor: int
    top: int
    bottom: int
    left: int
    right: int


@dataclasses.dataclass(frozen=True)
class Stack:
    """Pieces of one shape (m, n) that are handled together, as an array (B, m, n)."""

    pieces: tuple[Piece, ...]
    elementwise: bool
    decayed: bool

    @property
    def shape(self) -> tuple[int, int]:
        piece = self.pieces[0]
        return piece.bottom - piece.top, piece.right - piece.left

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
class Options:
    """What decides how tensors are laid out.

    Attributes:
      weight_layout: `in_out` (flax: kernels are (..., inputs, outputs)) or `out_in` (torch).
      max_dim: a matrix with both sides longer than this goes to the fallback.
      stack_bytes: largest size of a stack in bytes; None for no limit.
      elementwise: no tensor is a matrix.
      precondition_head: whether the role `head` counts as a matrix.
      block_size: largest side of a block; None for whole matrices.
    """

    weight_layout: WeightLayout
    max_dim: int = 8192
    stack_bytes: int | None = CPU_STACK_BYTES
    elementwise: bool = False
    precondition_head: bool = True
    block_size: int | None = None


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
    view = View(shape, axes, *_merged([shape[axis] for axis in axes], split))
    if role == "fused_qkv" and 0 < view.rows in (2 * view.columns, 3 * view.columns):
        return dataclasses.replace(view, parts=view.rows // view.columns)
    return view


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
    short, long = sorted((view.rows // view.parts, view.columns))
    return not (
        options.elementwise
        or role in ("embedding", "vector")
        or (role == "head" and not options.precondition_head)
        or short <= 1
        or long < 1
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
        vector = len(shape) <= 1 or role == "vector"
        view = None if vector else make_view(shape, role, options.weight_layout)
        matrix = view is not None and is_matrix(view, role, options)
        if view is None or not matrix:
            view = View(shape, tuple(range(len(shape))), 1, math.prod(shape))
        views.append(view)
        decayed = options.elementwise or not vector
        for piece in _pieces(index, view, options.block_size if matrix else None):
            size = (piece.bottom - piece.top, piece.right - piece.left)
            groups.setdefault((size, not matrix, decayed, key), []).append(piece)
    stacks = []
    for ((rows, columns), elementwise, decayed, (itemsize, _)), pieces in groups.items():
        limit = ELEMENTWISE_STACK_BYTES if elementwise else options.stack_bytes
        room = len(pieces) if limit is None else limit // max(rows * columns * itemsize, 1)
        stacks += [Stack(chunk, elementwise, decayed) for chunk in _chunks(pieces, max(room, 1))]
    return Plan(tuple(views), tuple(stacks))


def _pieces(index: int, view: View, block_size: int | None) -> Iterable[Piece]:
    """Row-major pieces of a matrix: its parts, each cut into blocks; none of an empty one."""
    height = view.rows // view.parts
    step_rows, step_columns = block_size or height, block_size or view.columns
    if height == 0 or view.columns == 0:
        return
    for part in range(view.parts):
        start, stop = part * height, (part + 1) * height
        for top in range(start, stop, step_rows):
            for left in range(0, view.columns, step_columns):
                bottom, right = min(top + step_rows, stop), min(left + step_columns, view.columns)
                yield Piece(index, top, bottom, left, right)


def _chunks(pieces: list[Piece], room: int) -> Iterable[tuple[Piece, ...]]:
    for start in range(0, len(pieces), room):
        yield tuple(pieces[start : start + room])


def gather(xp: Any, plan: Plan, tensors: Sequence[Array]) -> list[Array]:
    """The stacks (B, m, n) of a plan, filled from tensors."""
    matrices = [view.to_matrix(xp, x) for view, x in zip(plan.views, tensors, strict=True)]
    return [
        xp.stack([matrices[p.tensor][p.top : p.bottom, p.left : p.right] for p in stack.pieces])
        for stack in plan.stacks
    ]


def finite(xp: Any, plan: Plan, stacks: Sequence[Array]) -> list[Array]:
    """Per stack, (B,) booleans: whether the whole tensor that a matrix belongs to is finite.

    A tensor whose squares overflow when summed counts as not finite: its Gram matrix would be.
    """
    flags = [xp.isfinite(xp.sum(array * array, axis=(1, 2))) for array in stacks]
    pieces = collections.Counter(tensor for stack in plan.stacks for tensor in stack.owners)
    cut: dict[int, Array] = {}
    for stack, flag in zip(plan.stacks, flags, strict=True):
        for row, tensor in enumerate(stack.owners):
            if pieces[tensor] > 1:
                cut[tensor] = cut[tensor] & flag[row] if tensor in cut else flag[row]
    return [
        xp.stack([cut[tensor] if tensor in cut else flag[row] for row, tensor in enumerate(owners)])
        if not cut.keys().isdisjoint(owners)
        else flag
        for flag, owners in zip(flags, (stack.owners for stack in plan.stacks), strict=True)
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


def _assemble(xp: Any, pieces: list[tuple[Piece, Array]]) -> Array:
    if len(pieces) == 1:
        return pieces[0][1]
    bands: dict[int, list[tuple[int, Array]]] = {}
    for piece, block in pieces:
        bands.setdefault(piece.top, []).append((piece.left, block))
    rows = [
        xp.concat([block for _, block in sorted(bands[top], key=lambda item: item[0])], axis=1)
        for top in sorted(bands)
    ]
    return xp.concat(rows, axis=0)


def export_state(
    xp: Any, plan: Plan, states: Sequence[dict[str, Array]]
) -> list[dict[str, list[Array]]]:
    """Per tensor, every state key's arrays in the order of the tensor's pieces (top, left)."""
    exported: list[dict[str, list[tuple[Piece, Array]]]] = [{} for _ in plan.views]
    for stack, state in zip(plan.stacks, states, strict=True):
        for key, array in state.items():
            for row, piece in enumerate(stack.pieces):
                exported[piece.tensor].setdefault(key, []).append((piece, array[row]))
    return [
        {
            key: [
                xp.asarray(x, copy=True) for _, x in sorted(items, key=lambda item: _place(item[0]))
            ]
            for key, items in tensor.items()
        }
        for tensor in exported
    ]


def import_state(
    xp: Any, plan: Plan, exported: Sequence[dict[str, list[Array]]]
) -> list[dict[str, Array]]:
    """The stacks' states from `export_state`'s form, for any chunking.

    Raises:
      ValueError: a tensor's state has another number of matrices than the plan wants.
    """
    order: dict[Piece, int] = {}
    for tensor in range(len(plan.views)):
        mine = sorted((p for s in plan.stacks for p in s.pieces if p.tensor == tensor), key=_place)
        order.update({piece: place for place, piece in enumerate(mine)})
        for key, arrays in exported[tensor].items():
            if len(arrays) != len(mine):
                raise ValueError(
                    f"state {key!r} of tensor {tensor} has {len(arrays)} matrices where the layout "
                    f"has {len(mine)}: was it saved with another block_size?"
                )
    return [
        {
            key: xp.stack([exported[piece.tensor][key][order[piece]] for piece in stack.pieces])
            for key in exported[stack.pieces[0].tensor]
        }
        for stack in plan.stacks
    ]


def _place(piece: Piece) -> tuple[int, int]:
    return piece.top, piece.left
