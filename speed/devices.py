"""Counts what each of several JAX devices decomposes: `python -m speed.devices SETUP`.

A step is compiled twice, for one device and for several virtual ones of this machine that share its
refreshes, and not run. Both programs tell, call by call, how many matrices LAPACK is given at once;
that of several devices is the program of each of them. XLA's own estimate of a program's cost does
not know of these calls.

SETUP and what is printed are the fields of `CountSetup` and `Counted` as JSON.
"""

import collections
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from speed import race
from speed.contenders import own_settings
from speed.settings import LEARNING_RATE, WEIGHT_DECAY
from speed.tensors import tensors
from speed.work import FROM_REFRESHES

# The shape of the first result, and the name of the function.
CALL = re.compile(r'= \(?f\d+\[([\d,]+)\].* custom-call\(.*custom_call_target="(lapack_\w+)"')


@dataclasses.dataclass(frozen=True)
class CountSetup:
    """contender: one of this project's that refreshes; model: see `tensors`; devices: number of
    them; settings: as in `speed.worker.Setup`."""

    contender: str
    model: str
    devices: int
    settings: Sequence[tuple[str, Any]] = ()


@dataclasses.dataclass(frozen=True)
class Call:
    """LAPACK's `function` is given `matrices` at once, of this many rows and columns."""

    function: str
    rows: int
    columns: int
    matrices: int


@dataclasses.dataclass(frozen=True)
class Counted:
    """devices: number of them; shares: for every decomposition of a stack of B matrices [B, how
    many of them each device decomposes], each pair once; empty where the method has none."""

    devices: int
    shares: Sequence[Sequence[int]]

    @property
    def over_share(self) -> float:
        """The most matrices that a device decomposes / ceil(B / devices), of all stacks; NaN where
        there are none."""
        return max(
            (mine / math.ceil(matrices / self.devices) for matrices, mine in self.shares),
            default=math.nan,
        )


def run(setup: CountSetup) -> Counted:
    """Counts in a process of its own, which has that many devices.

    Raises:
        StepError: the process failed; its last line says why.
    """
    flags = f"--xla_force_host_platform_device_count={setup.devices}"
    # The machine code of a program that is not run need not be fast.
    flags += " --xla_backend_optimization_level=0"
    environment = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}",
    }
    done = subprocess.run(**race.call("speed.devices", setup, environment))
    title = f"{setup.contender} on {setup.model} on {setup.devices} devices"
    return Counted(**race.answer(title, done.returncode, done.stdout, done.stderr))


def calls(text: str) -> list[Call]:
    """All calls of LAPACK in a compiled program."""
    found = []
    for dims, function in CALL.findall(text):
        *batch, rows, columns = map(int, dims.split(","))
        found.append(Call(function, rows, columns, math.prod(batch)))
    return found


def shares(alone: Sequence[Call], together: Sequence[Call]) -> list[list[int]]:
    """`Counted.shares`, from the calls of the program for one device and of that for several.

    Calls of one function and size belong together in the order of their numbers of matrices, which
    sharing keeps.

    Raises:
        ValueError: the programs do not have the same calls.
    """
    kinds, others = _by_kind(alone), _by_kind(together)
    if {kind: len(some) for kind, some in kinds.items()} != {
        kind: len(some) for kind, some in others.items()
    }:
        raise ValueError("the program for several devices has other decompositions than for one")
    pairs = {
        (whole, mine)
        for kind, some in kinds.items()
        for whole, mine in zip(some, others[kind], strict=True)
    }
    return [list(pair) for pair in sorted(pairs)]


def _by_kind(found: Sequence[Call]) -> dict[tuple[str, int, int], list[int]]:
    kinds = collections.defaultdict(list)
    for call in sorted(found, key=lambda call: call.matrices):
        kinds[call.function, call.rows, call.columns].append(call.matrices)
    return dict(kinds)


def check_all_seen(stacks: Sequence[Sequence[int]], alone: Sequence[Call]) -> None:
    """Raise ValueError if the calls of the program for one device leave out a stack, as they would
    if it went through its matrices in a loop.

    Args:
      stacks: shapes (B, k, l) of what refreshes write.
      alone: these calls, none where the method has no decompositions.
    """
    for matrices, *sides in stacks if alone else ():
        if not any(
            call.matrices == matrices and {call.rows, call.columns} & set(sides) for call in alone
        ):
            shape = " x ".join(map(str, sides))
            raise ValueError(f"no call of LAPACK decomposes {matrices} matrices of {shape}")


def count(setup: CountSetup) -> Counted:
    """In this process, which has as many devices.

    Raises:
        ValueError: see `shares` and `check_all_seen`.
    """
    import jax
    from jax.sharding import Mesh

    text, stacks = _program(setup, None)
    alone = calls(text)
    check_all_seen(stacks, alone)
    text, _ = _program(setup, Mesh(jax.devices(), ("batch",)))
    return Counted(len(jax.devices()), shares(alone, calls(text)))


def _program(setup: CountSetup, mesh: Any) -> tuple[str, list[tuple[int, ...]]]:
    """The compiled step, its arguments replicated over `mesh` or on one device; and the shapes of
    what refreshes write."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

    import matprec.jax
    from matprec.jax import rounds

    rounds.ROUND_BYTES = sys.maxsize  # a loop's calls would not tell how often they are made
    found = tensors(setup.model, "jax")
    optimizer = getattr(matprec.jax, setup.contender)(
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        roles=[tensor.role for tensor in found],
        mesh=mesh,
        **own_settings(setup.contender, dict(setup.settings)),
    )
    one = SingleDeviceSharding(jax.devices()[0])
    where = one if mesh is None else NamedSharding(mesh, PartitionSpec())

    def placed(tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)

    parameters = placed([jax.ShapeDtypeStruct(shape, jnp.float32) for shape, _ in found])
    state = placed(jax.eval_shape(optimizer.init, parameters))
    compiled = jax.jit(optimizer.update).lower(parameters, state, parameters).compile()
    stacks = [
        leaf.shape
        for path, leaf in jax.tree.leaves_with_path(state)
        if getattr(path[-1], "key", "").endswith(FROM_REFRESHES) and leaf.ndim == 3
    ]
    return str(compiled.as_text()), stacks


def main() -> None:
    setup = CountSetup(**json.loads(sys.argv[1]))
    print(json.dumps(dataclasses.asdict(count(setup))))


if __name__ == "__main__":
    main()
