"""Estimate what an entry needs per device beside activations, and whether the device has it.

Example: python scripts/memory_check.py --hardware=8xV100_16GB --optimizers=asgo,shampoo --workloads=wmt,c4_350m

Counted: parameters, gradients, the optimizer's state, averaged weights if asked for, and what a
step holds at its height. Not counted: activations, which grow with the batch per device, and what
the framework itself takes. Nothing is allocated to find out.
"""  # noqa: E501

import collections
import functools
import itertools
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.choices import choose
from benchmark.errors import run_main
from workloads_overrides import shapes
from workloads_overrides.c4.sizes import SIZES

FLAGS = flags.FLAGS

GIB = 1 << 30
FLOAT_BYTES = 4  # parameters, gradients and state are float32 in every official workload


class Hardware(NamedTuple):
    devices: int
    gib: int  # of each


HARDWARE = {"8xV100_16GB": Hardware(8, 16), "4xA100_40GB": Hardware(4, 40)}
FRAMEWORKS = ("jax", "pytorch")
WORKLOADS = [*shapes.workloads(), *SIZES]

flags.DEFINE_enum("hardware", "8xV100_16GB", list(HARDWARE), "Devices of the rule set's target.")
flags.DEFINE_list("optimizers", ["all"], "Names of scripts/list_optimizers.py, or all.")
flags.DEFINE_list("workloads", ["all"], f"Of {', '.join(WORKLOADS)}, or all.")
flags.DEFINE_list("frameworks", ["all"], "jax, pytorch or all.")
flags.DEFINE_boolean("average", False, "Count averaged weights for evaluation too.")


class Need(NamedTuple):
    """Bytes per device. All is replicated: sharing refreshes divides work, not memory."""

    parameters: int
    gradients: int
    state: int
    average: int
    step: int

    @property
    def total(self) -> int:
        return sum(self)


# See `need`: XLA keeps more of what a step computes than PyTorch, which goes line by line.
INSIDE = {"jax": 7, "pytorch": 4}

Tensors = tuple[tuple[tuple[int, ...], str], ...]  # (shape, role) of every parameter


def main() -> int:
    from benchmark.progress import reporter
    from submissions.registry import OPTIMIZERS

    chosen = [
        choose("workloads", FLAGS.workloads, WORKLOADS),
        choose("frameworks", FLAGS.frameworks, FRAMEWORKS),
        choose("optimizers", FLAGS.optimizers, OPTIMIZERS),
    ]
    cases = list(itertools.product(*chosen))
    needs: dict[tuple[str, str, str], Need] = {}
    with reporter(stream=sys.stderr) as progress:
        for number, (workload, framework, optimizer) in enumerate(cases):
            progress.update("memory", number / len(cases), f"{workload} {framework} {optimizer}")
            found = tensors(workload, framework)
            needs[workload, framework, optimizer] = need(optimizer, found, framework, FLAGS.average)
        progress.end("memory", f"{len(cases)} cases")
    return _print(needs, HARDWARE[FLAGS.hardware])


def tensors(workload: str, framework: str) -> Tensors:
    """Shapes and roles of a workload's parameters, as the submissions see them."""
    from speed.tensors import llama, official

    if workload in SIZES:
        return llama(SIZES[workload].model, framework)
    return official(workload, framework)


def need(
    optimizer: str, tensors: Tensors, framework: str, average: bool, *, shared: bool = True
) -> Need:
    """What parameters of these shapes need with an optimizer at its default hyperparameters.

    What a step holds at its height is this project's own bound on what it was measured to allocate,
    by PyTorch and by XLA's compiler:

    * the state once more: the new one is whole before the old one is let go;
    * four times the gradients: gathered into stacks, the weight decay, directions old and new;
    * inside the largest stack, INSIDE times its gradients, and three times its state without two
      moments: the factors and roots of a refresh; twice its gradients where it is elementwise.

    PyTorch goes through the parts of the parameters that have no stack in common one after the
    other, and holds what is said above of one of them, unless refreshes are `shared` by several
    ranks: then all parts wait for each other. Its first step makes the state, of zeros like the
    parameters and their stacks.

    JAX updates a large elementwise tensor, a stack of its own, in place and takes its gradient
    twice, as the frameworks' own optimizers do at most.
    """
    parameters = sum(_bytes(shape) for shape, _ in tensors)
    stacks = _stacks(optimizer, tensors, framework)
    if stacks is None:
        state = sum(_own_state(optimizer, shape) for shape, _ in tensors)
        step = 2 * parameters
    else:
        state = sum(stack.state for stack in stacks)
        in_place = [stack for stack in stacks if stack.is_row and framework == "jax"]
        others = [stack for stack in stacks if stack not in in_place]
        step = 2 * sum(stack.gradients for stack in in_place)
        parts: dict[int, int] = collections.defaultdict(int)
        for stack in others:
            parts[stack.part] += stack.state + 4 * stack.gradients
        one_by_one = framework == "pytorch" and not shared
        step += max(parts.values(), default=0) if one_by_one else sum(parts.values())
        step += max((stack.inside(framework) for stack in others), default=0)
        if one_by_one:
            step = max(step, state + 2 * parameters)
    return Need(
        parameters=parameters,
        gradients=parameters,
        state=state,
        average=parameters if average else 0,
        step=step,
    )


class Stack(NamedTuple):
    """Bytes of a stack's gradients and of its state."""

    gradients: int
    state: int
    elementwise: bool
    is_row: bool  # elementwise, and of one tensor
    part: int  # number of the part of the plan that it belongs to

    def inside(self, framework: str) -> int:
        """What a step holds while it is in this stack."""
        if self.elementwise:
            return 2 * self.gradients
        return INSIDE[framework] * self.gradients + 3 * max(self.state - 2 * self.gradients, 0)


def _stacks(optimizer: str, tensors: Tensors, framework: str) -> list[Stack] | None:
    """The stacks as laid out on a GPU, without a limit on their size; None where the frameworks
    bring the optimizer."""
    from matprec import layout, settings
    from submissions.common.hyperparameters import make_run
    from submissions.registry import OPTIMIZERS

    algorithm_class = OPTIMIZERS[optimizer].algorithm
    if algorithm_class is None:
        return None
    algorithm, fallback = settings.build(algorithm_class, dict(make_run(optimizer, None).values))
    plan = layout.make_plan(
        [shape for shape, _ in tensors],
        [role for _, role in tensors],
        [(FLOAT_BYTES, "float32")] * len(tensors),
        settings.layout_options(algorithm, "in_out" if framework == "jax" else "out_in", None),
    )
    parts = {stack: part for part, place in enumerate(layout.split(plan)) for stack in place.stacks}
    found = []
    for place, stack in enumerate(plan.stacks):
        number = len(stack.pieces)
        is_row = stack.elementwise and number == 1
        state = _state(fallback if stack.elementwise else algorithm, stack.shape)
        sizes = number * _bytes(stack.shape), number * state
        found.append(Stack(*sizes, stack.elementwise, is_row, parts[place]))
    return found


def _bytes(shape: Sequence[int]) -> int:
    return FLOAT_BYTES * math.prod(shape)


@functools.cache
def _state(algorithm: Any, shape: tuple[int, ...]) -> int:
    """Bytes of an algorithm's state and counters for one matrix."""
    import jax
    import jax.numpy as jnp

    from matprec import step

    like = jax.ShapeDtypeStruct((1, *shape), "float32")
    state = jax.eval_shape(lambda grads: step.init(jnp, algorithm, grads), like)
    return sum(array.size * array.dtype.itemsize for array in state.values())


@functools.cache
def _own_state(optimizer: str, shape: tuple[int, ...]) -> int:
    """Bytes that a framework's own optimizer keeps for one tensor."""
    import jax

    from matprec.jax.memory import state_size
    from submissions.common.hyperparameters import make_run
    from submissions.common.jax import make_optimizer

    like = {"tensor": jax.ShapeDtypeStruct(shape, "float32")}
    return state_size(make_optimizer(make_run(optimizer, None)), like).bytes


def _print(needs: dict[tuple[str, str, str], Need], hardware: Hardware) -> int:
    from benchmark.tables import Heading, print_rows
    from submissions.common.data import BATCH_SIZES

    parts = Need._fields
    headings = [Heading("workload"), Heading("batch per\ndevice", True)]
    headings += [Heading("framework"), Heading("optimizer")]
    headings += [Heading(part, True) for part in (*parts, "total", "left")]
    rows, over = [], 0
    for (workload, framework, optimizer), found in needs.items():
        left = hardware.gib * GIB - found.total
        over += left < 0
        figures = [f"{number / GIB:.2f}" for number in (*found, found.total, left)]
        batch = BATCH_SIZES.get(workload)
        share = "-" if batch is None else f"{batch / hardware.devices:g}"
        rows.append(
            [workload, share, framework, optimizer, *figures, "" if left >= 0 else "DOES NOT FIT"]
        )
    print(f"GiB per device of {hardware.gib} GiB; activations and the framework are not counted.")
    print_rows([*headings, Heading("")], rows)
    print(f"{over} of {len(needs)} do not fit {hardware.gib} GiB")
    return 1 if over else 0


if __name__ == "__main__":
    run_main(main)
