"""The optax adapter: any algorithm as a gradient transformation over a pytree.

What belongs to every optimizer lives here once: the layout, the fallback for tensors that are not
matrices, weight decay, the refresh schedule, promotion of half-precision gradients, gradients that
are not finite. The learning rate is chained behind it by the aliases.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from matprec import balance, layout, linalg, settings
from matprec import step as stepping
from matprec.algorithms.base import Algorithm, State
from matprec.algorithms.nadamw import NAdamW
from matprec.jax import ownership
from matprec.jax.conditional import Slots, conditional, make_slots
from matprec.jax.namespace import JAX
from matprec.jax.ownership import Cut

Shard = Literal["refresh", "all"]
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
    shard: Shard = "refresh"

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
        leaves = jax.tree.leaves(params)
        grads = [
            jax.ShapeDtypeStruct(
                (len(stack.pieces), *stack.shape), self.dtype_of(leaves[stack.owners[0]])
            )
            for stack in plan.stacks
        ]
        algorithms = self._algorithms(plan, grads)
        if (mesh := self._cut_over) is None:
            states = tuple(
                stepping.init(JAX, algorithm, jnp.zeros(x.shape, x.dtype))
                for algorithm, x in zip(algorithms, grads, strict=True)
            )
        else:
            states = ownership.init(mesh, self._cuts(plan, mesh), algorithms, grads)
        return PreconditionState(jnp.zeros((), jnp.int32), states)

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
        values = self._values(params)
        count = state.count + 1
        arrays = layout.gather(jnp, plan, grads)
        finite = layout.finite(JAX, plan, arrays)
        outputs, states = self._step(plan, count, state.stacks, arrays, finite, values)
        for number, stack in enumerate(plan.stacks):
            if self._falls_back(stack):
                scaled = outputs[number] * self.fallback_lr_scale
                outputs[number] = scaled.astype(outputs[number].dtype)
        tensors = layout.scatter(jnp, plan, outputs)
        if values is not None:
            for number, factor in self._decays_outside(plan, arrays, finite).items():
                tensors[number] = tensors[number] + factor * values[number]
        directions = [
            jnp.zeros_like(leaf) if x is None else x.astype(leaf.dtype)
            for x, leaf in zip(tensors, leaves, strict=True)
        ]
        return treedef.unflatten(directions), PreconditionState(count, tuple(states))

    def _step(
        self,
        plan: layout.Plan,
        count: jax.Array,
        states: Sequence[State],
        grads: Sequence[jax.Array],
        finite: Sequence[jax.Array],
        values: Sequence[jax.Array] | None,
    ) -> tuple[list[jax.Array], Sequence[State]]:
        """As `matprec.step.step`, the devices sharing what they are to share."""
        algorithms, slots = self._algorithms(plan, grads), self._slots(plan, states)
        decays = self._decays_inside(plan, algorithms, values)
        last: Any = {"owners": [stack.owners for stack in plan.stacks], "live": finite}
        arguments = (algorithms, states, grads)
        mesh = self._cut_over

        def answer(count: Any, device: Any, number: int, due: stepping.Due) -> State:
            mine = slots[number]
            shared = self.mesh if mesh is None else None
            return conditional(count, shared, mine and mine.of(device), due)

        if mesh is None:
            cond = functools.partial(answer, count, 0)
            return stepping.step(JAX, *arguments, **last, finite=finite, decays=decays, cond=cond)
        cuts = self._cuts(plan, mesh)
        updates, states = ownership.advance(mesh, cuts, count, *arguments, finite, decays, answer)
        return stepping.finish(JAX, updates, **last), states

    def _algorithms(self, plan: layout.Plan, arrays: Sequence[Any]) -> list[Algorithm]:
        """Per stack, for arrays of its dtype."""
        return [
            _cast(self.algorithm_of(stack), x.dtype)
            for stack, x in zip(plan.stacks, arrays, strict=True)
        ]

    @property
    def _cut_over(self) -> jax.sharding.Mesh | None:
        """The devices that the state is cut over; None where it is not."""
        several = self.mesh is not None and self.mesh.size > 1
        return self.mesh if several and self.shard == "all" else None

    def _cuts(self, plan: layout.Plan, mesh: jax.sharding.Mesh) -> list[Cut]:
        return [ownership.make_cut(stack, self.algorithm_of(stack), mesh) for stack in plan.stacks]

    def _slots(self, plan: layout.Plan, states: Sequence[State]) -> list[Slots | None]:
        """Per stack; None where all matrices are refreshed at once."""
        algorithm: Any = self.algorithm
        if not getattr(algorithm, "stagger", False):
            return [None] * len(plan.stacks)
        costs = [
            balance.cost(self.algorithm_of(stack), mine)
            for stack, mine in zip(plan.stacks, states, strict=True)
        ]
        period, sizes = algorithm.refresh_every, [len(stack.pieces) for stack in plan.stacks]
        phases = balance.phases(costs, sizes, period)
        devices = [1] * len(sizes)
        if (mesh := self._cut_over) is not None:
            devices = [mesh.size if cut.axis == 0 else 1 for cut in self._cuts(plan, mesh)]
        return [make_slots(rows, period, n) for rows, n in zip(phases, devices, strict=True)]

    def _falls_back(self, stack: layout.Stack) -> bool:
        return stack.elementwise and not self.options.elementwise

    def _values(self, params: Any) -> list[jax.Array] | None:
        """The parameters in the state's dtype; None where none of them decays."""
        if linalg.is_zero(self.weight_decay):
            return None
        if params is None:
            raise ValueError("weight decay needs params: call update(grads, state, params)")
        return [p.astype(self.dtype_of(p)) for p in jax.tree.leaves(params)]

    def _decays_inside(
        self,
        plan: layout.Plan,
        algorithms: Sequence[Algorithm],
        values: Sequence[jax.Array] | None,
    ) -> list[Any]:
        """weight_decay * parameters for the stacks whose algorithms see them."""
        inside = [
            stack.decayed and algorithm.decay_inside
            for stack, algorithm in zip(plan.stacks, algorithms, strict=True)
        ]
        if values is None or not any(inside):
            return [None] * len(plan.stacks)
        return [
            (self.weight_decay * array).astype(array.dtype) if mine else None
            for array, mine in zip(layout.gather(jnp, plan, values), inside, strict=True)
        ]

    def _decays_outside(
        self, plan: layout.Plan, grads: Sequence[jax.Array], finite: Sequence[jax.Array]
    ) -> dict[int, jax.Array]:
        """By number the factors on the other parameters that decay."""
        return stepping.decay_factors(
            jnp,
            plan.stacks,
            self._algorithms(plan, grads),
            finite,
            [
                self.weight_decay * (self.fallback_lr_scale if self._falls_back(stack) else 1)
                for stack in plan.stacks
            ],
            [x.dtype for x in grads],
        )


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
    shard: Shard = "refresh",
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
      mesh: devices that share the work. Parameters and gradients must be replicated over them.
        None: every device does everything.
      shard: what they share. `refresh`: the refreshes of every stack, see `matprec.jax.sharding`;
        the state must be replicated too. `all`: the matrices of every stack, of which each device
        keeps the state of its own and steps them, see `matprec.jax.ownership`; so `init` gives the
        state, with rows of padding that `layout.export_state` leaves out, and so `update` keeps it.

    Returns:
      A gradient transformation with state `PreconditionState`. Its `update` raises TypeError for
      gradients that are not real floating-point arrays. A tensor whose gradient is not finite
      (or whose squared norm overflows) gets a zero update and keeps its state. Refreshes are loops
      of one round or none, which JAX does not differentiate in reverse mode.
    """
    if stack_bytes == "auto":
        # Compilation takes as long as there are stacks, and fused loops need no caches.
        stack_bytes = None
    if shard not in get_args(Shard):
        raise ValueError(f"shard={shard!r} is not one of {', '.join(get_args(Shard))}")
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
        shard=shard,
    )
    return optax.GradientTransformation(adapter.init, adapter.update)  # type: ignore[arg-type]


def counters(state: Any) -> dict[str, jax.Array]:
    """Totals of `failed_roots` and `skipped_updates` in any optimizer state that holds ours."""
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, PreconditionState))
    stacks = [s for node in nodes if isinstance(node, PreconditionState) for s in node.stacks]
    return stepping.totals(stacks)
