"""Bases of singular vectors, their signs fixed, and what rounding leaves of a rotated gradient.

G = P S Q^T over stacks (B, m, n), singular values descending. Eigenvectors of G G^T would be
cheaper, but squaring costs them the weak directions: in float32, at a condition number of 1e4, rows
of P^T G that should be orthogonal are then far from it (the tests compare both). Bases are
refreshed every few hundred steps, so accuracy decides. A matrix at least twice as long as wide is
first reduced to its triangular factor, as accurately and in less time: if G^T = Q_0 R, then G and
R^T have the same left singular vectors.

Signs. A decomposition leaves the sign of every pair (p_i, q_i) open, and moments that outlive a
refresh must not depend on what a library happens to return. With r_j = cos j, the vectors of the
small side (rows if m < n, else columns) get the sign that makes

    <p_i, G r> >= 0  (rows),    <q_i, G^T r> >= 0  (columns),

and their partners follow, so that P^T G Q keeps its non-negative diagonal. The rule is equivariant
on the small side: if A is orthogonal, A G has the basis A P. No rule can be so on both sides: for
A = P D P^T and B = Q D Q^T with D diagonal of signs A G B^T = G, yet A p_i = -p_i where D_ii = -1.

Rounding. An entry of P^T G is an inner product of a unit vector with a column g_j. What is zero in
exact arithmetic (rows of null vectors, as units that are not active have them; off the diagonal of
P^T G Q at a refresh) comes out as a few units u of rounding times ||g_j||, and methods that divide
every entry by its own root mean square blow that up to full size. See `drop_rounding`.
"""

from typing import Any

from matprec import linalg

Array = Any
Side = linalg.Side


def singular_bases(
    xp: Any, grads: Array, small: Side, *, both: bool = False
) -> tuple[dict[Side, Array], Array]:
    """Orthogonal bases of singular vectors, as columns, in the order of descending values.

    Args:
      xp: array namespace.
      grads: (B, m, n).
      small: the side whose length is not the larger one: `left` for m, `right` for n.
      both: the bases of both sides, or that of the small one alone.

    Returns:
      (bases, ok): per side (B, m, m) or (B, n, n), and (B,) booleans that are False where the
      gradient or a basis is not finite. Such a gradient is replaced by zeros before the
      decomposition, because torch raises on NaN. Vectors that belong to no singular value of the
      small side are as the decomposition leaves them.
    """
    finite = linalg.all_finite(xp, grads)
    safe = xp.where(finite[:, None, None], grads, 0.0)
    wide = safe if small == "left" else xp.matrix_transpose(safe)
    rows, columns = wide.shape[-2:]
    large: Side = "right" if small == "left" else "left"
    bases: dict[Side, Array] = {}
    if both:
        bases[small], _, partners = xp.linalg.svd(wide, full_matrices=True)
        bases[large] = xp.matrix_transpose(partners)
    else:
        core = wide
        if columns >= 2 * rows:
            core = xp.matrix_transpose(xp.linalg.qr(xp.matrix_transpose(wide))[1])
        bases[small] = xp.linalg.svd(core, full_matrices=False)[0]
    seen = xp.matmul(wide, generic_vector(xp, wide, columns)[:, None])
    products = xp.matmul(xp.matrix_transpose(bases[small]), seen)[..., 0]
    signs = xp.where(products < 0, -1.0, xp.ones_like(products))[:, None, :]
    bases[small] = bases[small] * signs
    if both:
        pairs, rest = bases[large][..., :rows], bases[large][..., rows:]
        bases[large] = xp.concat([pairs * signs, rest], axis=-1)
    ok = finite
    for basis in bases.values():
        ok = ok & linalg.all_finite(xp, basis)
    return bases, ok


def generic_vector(xp: Any, like: Array, length: int) -> Array:
    """(cos 1, ..., cos length) in the dtype and on the device of `like`."""
    numbers = xp.arange(1, length + 1, dtype=like.dtype, device=linalg.device(like))
    return xp.cos(numbers)


def drop_rounding(
    xp: Any, rotated: Array, grads: Array, axes: tuple[int, ...], where: Array, fresh: Array
) -> Array:
    """The rotated gradient with zeros where its entries are not above their rounding errors.

    Args:
      xp: array namespace.
      rotated: P^T G, G Q or P^T G Q, (B, m', n').
      grads: G, (B, m, n).
      axes: the axes of G that have been rotated, -2 and -1.
      where: (B,) booleans; elsewhere nothing is dropped. A basis that is still the identity makes
        no rounding errors.
      fresh: (B,) booleans, True where the bases were made from this very gradient.

    An entry of P^T G is a sum over a column of G and its error is proportional to that column's
    norm. With both bases the error is proportional to the norm of all of G where they are the
    gradient's own, since a decomposition errs by that much. For any other gradient rows and columns
    of P^T G Q that are as short as that are null directions, and in the others an entry's error is
    proportional to the norms of its row and column: what is small in both of them is signal.
    """
    tolerance = rounding(xp, rotated.dtype)
    if len(axes) == 1:
        floor = tolerance * xp.sqrt(linalg.line_squares(xp, grads, axes[0]))
    else:
        floor = tolerance * linalg.norm(xp, grads)
        lines = [xp.sqrt(linalg.line_squares(xp, rotated, axis)) for axis in axes]
        null = (lines[0] < floor) | (lines[1] < floor)
        other = xp.where(null, float("inf"), tolerance * xp.maximum(*lines))
        floor = xp.where(linalg.per_matrix(xp, fresh, floor), floor, other)
    floor = xp.where(linalg.per_matrix(xp, where, floor), floor, 0.0)
    return linalg.drop_below(xp, rotated, floor)


def rounding(xp: Any, dtype: Any) -> float:
    """2 u^(7/8), 15 u in float32 and 180 u in float64.

    LAPACK's decomposition stops at off-diagonal entries of u^(7/8), 7 u and 90 u, times their
    diagonal neighbours. The tests measure what is left of exact zeros.
    """
    return 2.0 * float(xp.finfo(dtype).eps) ** 0.875
