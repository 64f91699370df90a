"""The optax adapter: any algorithm as a gradient transformation over a pytree.

What belongs to every optimizer lives here once: the layout, the fallback for tensors that are not
matrices, weight decay, the refresh schedule, promotion of half-precision gradients, gradients that
are not finite. The learning rate is chained behind it by the aliases.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from matprec import balance, layout, settings
from matprec import step as stepping
from matprec.algorithms.base import Algorithm
from matprec.algorithms.nadamw import NAdamW
from matprec.jax.sharding import sharded

Roles = Callable[[str, Any], str | None] | Any | None


class PreconditionState(NamedTuple):
    """Number of steps taken, an int32 scalar, and one dict of arrays per stack."""

    count: jax.Array
    stacks: tuple[dict[str, jax.Array], ...]


@dataclasses.dataclass(frozen=True)
class Adapter:
    """An algorithm, its fallback, and how a pytree is laid out; see `precondition`."""

    algorithm: Algorithm
    fallback: Algorithm
    weight_decay: Any
    fallback_lr_scale: Any
    roles: Roles
    options: layout.Options
    state_dtype: Any
    mesh: jax.sharding.Mesh | None = None

    def plan(self, tree: Any) -> layout.Plan:
        paths_and_leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        shapes, keys = [], []
        for path, leaf in paths_and_leaves:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(
                    f"gradient of {_name(path)} has dtype {leaf.dtype}: only real, dense, "
                    "floating-point gradients are supported"
                )
            dtype = self.dtype_of(leaf)
            shapes.append(tuple(leaf.shape))
            keys.append((dtype.itemsize, dtype.name))
        return layout.make_plan(shapes, self._roles(tree, paths_and_leaves), keys, self.options)

    def _roles(self, tree: Any, paths_and_leaves: list) -> list[Any]:
        if self.roles is None:
            return [None] * len(paths_and_leaves)
        if callable(self.roles):
            return [self.roles(_name(path), leaf) for path, leaf in paths_and_leaves]
        # Under optax.masked the roles still cover what is masked out.
        nodes, treedef = jax.tree.flatten(tree, is_leaf=_is_masked)
        roles = zip(nodes, treedef.flatten_up_to(self.roles), strict=True)
        return [role for node, role in roles if not _is_masked(node)]

    def dtype_of(self, leaf: Any) -> jnp.dtype:
        """State dtype of a leaf: float32 for half precision, else the leaf's, unless given."""
        if self.state_dtype is not None:
            return jnp.dtype(self.state_dtype)
        return jnp.promote_types(leaf.dtype, jnp.float32)

    def algorithm_of(self, stack: layout.Stack) -> Algorithm:
        return self.fallback if stack.elementwise else self.algorithm

    def init(self, params: optax.Params) -> PreconditionState:
        plan = self.plan(params)
        zeros = [jnp.zeros(x.shape, self.dtype_of(x)) for x in jax.tree.leaves(params)]
        states = [
            stepping.init(jnp, _cast(self.algorithm_of(stack), array.dtype), array)
            for stack, array in zip(plan.stacks, layout.gather(jnp, plan, zeros), strict=True)
        ]
        return PreconditionState(jnp.zeros((), jnp.int32), tuple(states))

    def update(
        self, updates: optax.Updates, state: PreconditionState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, PreconditionState]:
        # TF32 or bf16 products would spoil Gram matrices and roots on accelerators.
        with jax.default_matmul_precision("highest"):
            return self._update(updates, state, params)

    def _update(self, updates: Any, state: PreconditionState, params: Any) -> Any:
        plan = self.plan(updates)
        leaves, treedef = jax.tree.flatten(updates)
        grads = [g.astype(self.dtype_of(g)) for g in leaves]
        decays = self._decays(plan, params)
        count = state.count + 1
        arrays = layout.gather(jnp, plan, grads)
        finite = layout.finite(jnp, plan, arrays)
        algorithms = [
            _cast(self.algorithm_of(s), x.dtype) for s, x in zip(plan.stacks, arrays, strict=True)
        ]
        outputs, states = stepping.step(
            jnp,
            algorithms,
            state.stacks,
            arrays,
            owners=[stack.owners for stack in plan.stacks],
            live=finite,
            finite=finite,
            decays=decays,
            cond=functools.partial(_conditional, count, self.mesh, self._phases(plan, state)),
        )
        for number, stack in enumerate(plan.stacks):
            if stack.elementwise and not self.options.elementwise:
                scaled = outputs[number] * self.fallback_lr_scale
                outputs[number] = scaled.astype(outputs[number].dtype)
        directions = [
            jnp.zeros_like(leaf) if x is None else x.astype(leaf.dtype)
            for x, leaf in zip(layout.scatter(jnp, plan, outputs), leaves, strict=True)
        ]
        return treedef.unflatten(directions), PreconditionState(count, tuple(states))

    def _phases(self, plan: layout.Plan, state: PreconditionState) -> list[list[int]] | None:
        """See `balance.phases`; None where all matrices are refreshed at once."""
        algorithm: Any = self.algorithm
        if not getattr(algorithm, "stagger", False):
            return None
        costs = [
            balance.cost(self.algorithm_of(stack), mine)
            for stack, mine in zip(plan.stacks, state.stacks, strict=True)
        ]
        sizes = [len(stack.pieces) for stack in plan.stacks]
        return balance.phases(costs, sizes, algorithm.refresh_every)

    def _decays(self, plan: layout.Plan, params: Any) -> list[Any]:
        """weight_decay * parameters per stack; None where there is no decay."""
        if isinstance(self.weight_decay, (int, float)) and self.weight_decay == 0:
            return [None] * len(plan.stacks)
        if params is None:
            raise ValueError("weight decay needs params: call update(grads, state, params)")
        tensors = [p.astype(self.dtype_of(p)) for p in jax.tree.leaves(params)]
        return [
            (self.weight_decay * array).astype(array.dtype) if stack.decayed else None
            for stack, array in zip(plan.stacks, layout.gather(jnp, plan, tensors), strict=True)
        ]


def _conditional(
    count: jax.Array,
    mesh: jax.sharding.Mesh | None,
    phases: list[list[int]] | None,
    number: int,
    due: stepping.Due,
) -> Any:
    algorithm: Any = due.algorithm
    started = count >= algorithm.start_step
    run = due.refresh if mesh is None else sharded(due.refresh, mesh)
    if phases is not None and not due.firsts_only:
        firsts = due.choose(False, started)
        carry = jax.lax.cond(jnp.any(firsts), run, _keep, firsts, due.carry)
        return _staggered(count, phases[number], dataclasses.replace(due, carry=carry), mesh)
    chosen = due.choose(stepping.is_due(algorithm, count), started)
    if algorithm.refresh_every == 1 and algorithm.start_step == 1 and not due.firsts_only:
        return run(chosen, due.carry)
    return jax.lax.cond(jnp.any(chosen), run, _keep, chosen, due.carry)


def _keep(chosen: jax.Array, carry: Any) -> Any:
    return carry


def _staggered(
    count: jax.Array, phases: list[int], due: stepping.Due, mesh: jax.sharding.Mesh | None
) -> Any:
    """The carry after the refresh of the rows whose step this is, and of no others.

    As many rows as there are in the step with most of them are taken in every step, some of them
    not chosen; so the program is one for all steps.
    """
    algorithm: Any = due.algorithm
    slots = [
        [row for row, phase in enumerate(phases) if phase == slot]
        for slot in range(algorithm.refresh_every)
    ]
    most = max(map(len, slots))
    spare = [[row for row in range(len(phases)) if row not in rows] for rows in slots]
    table = jnp.asarray([(rows + more)[:most] for rows, more in zip(slots, spare, strict=True)])
    rows = table[(count - algorithm.start_step) % algorithm.refresh_every]
    chosen = due.choose(stepping.is_due(algorithm, count, jnp.asarray(phases)), False)[rows]
    refresh = due.refresh.on(lambda x: x[rows])
    run = refresh if mesh is None else sharded(refresh, mesh)
    some = {key: value[rows] for key, value in due.carry.items()}
    some = jax.lax.cond(jnp.any(chosen), run, _keep, chosen, some)
    return {key: value.at[rows].set(some[key]) for key, value in due.carry.items()}


def _cast(algorithm: Algorithm, dtype: Any) -> Algorithm:
    """Traced hyperparameters in the state's dtype, so that they never promote the state."""
    values = {field.name: getattr(algorithm, field.name) for field in dataclasses.fields(algorithm)}
    traced = {k: jnp.asarray(v, dtype) for k, v in values.items() if isinstance(v, jax.Array)}
    return dataclasses.replace(algorithm, **traced) if traced else algorithm


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _name(path: Any) -> str:
    return "/".join(
        str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry))))
        for entry in path
    )


def precondition(
    algorithm: Algorithm,
    *,
    weight_decay: Any = 0.0,
    fallback: Algorithm | None = None,
    fallback_lr_scale: Any = 1.0,
    roles: Roles = None,
    weight_layout: layout.WeightLayout = "in_out",
    stack_bytes: int | str | None = "auto",
    state_dtype: Any = None,
    mesh: jax.sharding.Mesh | None = None,
) -> optax.GradientTransformation:
    """An algorithm as an optax transformation, without learning rate and sign.

    Args:
      algorithm: see `matprec.algorithms`.
      weight_decay: decoupled; lambda * W joins the direction, except for the vectors of a matrix
        algorithm.
      fallback: for tensors that are not matrices; None is `NAdamW()`.
      fallback_lr_scale: factor on the fallback's direction and decay.
      roles: a pytree of role names (`matprec.layout.ROLES`) like the parameters, or a callable
        (path such as "Dense_0/kernel", leaf) -> role; None goes by shapes alone.
      weight_layout: `in_out` for flax kernels, `out_in` for kernels laid out as torch's.
      stack_bytes: largest stack; "auto" is no limit.
      state_dtype: of all state; None is float32 for half precision, else the parameter's.
      mesh: devices that share the refreshes of every stack, see `matprec.jax.sharding`. Parameters,
        gradients and state must be replicated over them. None: every device refreshes everything.

    Returns:
      A gradient transformation with state `PreconditionState`. Its `update` raises TypeError for
      gradients that are not real floating-point arrays. A tensor whose gradient is not finite
      (or whose squared norm overflows) gets a zero update and keeps its state.
    """
    if stack_bytes == "auto":
        # Compilation takes as long as there are stacks, and fused loops need no caches.
        stack_bytes = None
    settings.check_state_dtype(state_dtype and jnp.dtype(state_dtype).name)
    options = settings.layout_options(algorithm, weight_layout, stack_bytes)  # type: ignore[arg-type]
    adapter = Adapter(
        algorithm=algorithm,
        fallback=algorithm if algorithm.elementwise else fallback or NAdamW(),
        weight_decay=weight_decay,
        fallback_lr_scale=fallback_lr_scale,
        roles=roles,
        options=options,
        state_dtype=state_dtype,
        mesh=mesh,
    )
    return optax.GradientTransformation(adapter.init, adapter.update)  # type: ignore[arg-type]


def counters(state: Any) -> dict[str, jax.Array]:
    """Totals of `failed_roots` and `skipped_updates` in any optimizer state that holds ours."""
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, PreconditionState))
    stacks = [s for node in nodes if isinstance(node, PreconditionState) for s in node.stacks]
    return stepping.totals(stacks)
