"""scripts/memory_check.py: its figures against the real optimizers and what they allocate."""

import functools
import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import torch
from torch_peak import peak_bytes

import submissions.common.jax
import submissions.common.pytorch
from matprec.jax.alias import make_alias
from matprec.jax.memory import state_size
from matprec.torch import namespace
from submissions.common.hyperparameters import make_run
from submissions.registry import OPTIMIZERS, TRAINING
from workloads_overrides import shapes
from workloads_overrides.c4.sizes import SIZES

SCRIPT = Path(__file__).parents[2] / "scripts" / "memory_check.py"


def _load():
    spec = importlib.util.spec_from_file_location("memory_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _load()
GIB = 1 << 30

# Stacks of several sizes, rows of numbers, a table that is no matrix, one large enough for blocks.
MIXED = (
    *[((96, 192), "matrix")] * 6,
    *[((64, 64), "matrix")] * 3,
    *[((96,), "vector")] * 20,
    ((1500, 40), "embedding"),
    ((48, 16, 3, 3), "conv"),
)
ONE_STACK = (((128, 256), "matrix"),) * 6
TALL_STACK = (((256, 16), "matrix"),) * 6  # factors far larger than the gradients
ONE_TABLE = (((1500, 40), "embedding"),)
CASES = {"mixed": MIXED, "one_stack": ONE_STACK, "tall_stack": TALL_STACK, "one_table": ONE_TABLE}


def memory_check(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def table(done) -> list[list[str]]:
    lines = done.stdout.splitlines()
    rule = next(number for number, line in enumerate(lines) if line.startswith("──"))
    return [line.split() for line in lines[rule + 1 : -1]]


def abstract(tensors) -> dict[str, jax.ShapeDtypeStruct]:
    """The parameters, by names in their order."""
    return {
        f"{number:03}": jax.ShapeDtypeStruct(shape, "float32")
        for number, (shape, _) in enumerate(tensors)
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("workload", ["ogbg", "imagenet_vit", "c4_60m"])
def test_the_state_is_that_of_the_real_optimizer(name, workload):
    tensors = script.tensors(workload, "jax")
    roles = {f"{number:03}": role for number, (_, role) in enumerate(tensors)}
    like = abstract(tensors)
    optimizer = submissions.common.jax.make_optimizer(
        make_run(name, None), lambda path, leaf: roles[path]
    )
    assert script.need(name, tensors, "jax", False).state == state_size(optimizer, like).bytes


def torch_peak(name: str, tensors) -> int:
    """Bytes that PyTorch holds at the height of steps with and without a refresh."""
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape)) for shape, _ in tensors]
    optimizer = submissions.common.pytorch.make_optimizer(
        make_run(name, None), params, [role for _, role in tensors]
    )
    for group in optimizer.param_groups:
        if "stack_bytes" in group:
            group["stack_bytes"] = None  # as on a GPU
        if "refresh_every" in group:
            group["refresh_every"] = 2
    peaks = []
    for _ in range(5):
        for param in params:
            param.grad = torch.randn_like(param)
        # The first step makes the state as well.
        peaks.append(peak_bytes(optimizer.step, [*params, *(param.grad for param in params)]))
    return max(peaks[1:])


@functools.cache
def jax_height(name: str, case: str) -> int:
    """Bytes of temporary memory that XLA's compiler plans for a step with donated buffers."""
    tensors = CASES[case]
    like = abstract(tensors)
    roles = {f"{number:03}": role for number, (_, role) in enumerate(tensors)}
    run = make_run(name, None)
    algorithm = OPTIMIZERS[name].algorithm
    own = {key: value for key, value in run.values if key not in TRAINING}
    if algorithm is None:
        optimizer = submissions.common.jax.make_optimizer(run)
    else:
        optimizer = make_alias(name, algorithm)(
            1.0, run["weight_decay"], roles=lambda path, leaf: roles[path], stack_bytes=None, **own
        )

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    state = jax.eval_shape(optimizer.init, like)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(like, state, like).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pytorch_s_step_stays_below_the_bound_and_near_it(name, case, monkeypatch):
    monkeypatch.setattr(namespace, "is_host", lambda x: False)  # as on an accelerator
    bound = script.need(name, CASES[case], "pytorch", False, shared=False).step
    assert bound <= script.need(name, CASES[case], "pytorch", False).step
    height = torch_peak(name, CASES[case])
    assert height <= bound
    if OPTIMIZERS[name].algorithm is not None:
        assert height >= bound / 3


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one_stack", "tall_stack", "one_table"])
@pytest.mark.parametrize("name", ["nadamw", "asgo", "shampoo", "soap", "adadiag", "muon", "galore"])
def test_what_jax_plans_stays_below_the_bound(name, case):
    assert jax_height(name, case) <= script.need(name, CASES[case], "jax", False).step


def test_the_parts_of_a_need():
    found = script.need("nadamw", (((3, 5), "matrix"), ((7,), "vector")), "pytorch", True)
    assert found.parameters == found.gradients == found.average == 4 * 22
    assert found.total == sum(found)
    without = script.need("nadamw", (((3, 5), "matrix"), ((7,), "vector")), "pytorch", False)
    assert without.average == 0
    assert found.total - without.total == 4 * 22


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("c4_60m", 58_073_600), ("c4", 134_105_856), ("c4_350m", 367_969_280)],
)
def test_c4_has_its_models_parameters(name, parameters, framework):
    tensors = script.tensors(name, framework)
    assert sum(math.prod(shape) for shape, _ in tensors) == parameters
    table = next(shape for shape, role in tensors if role == "embedding")
    head = next(shape for shape, role in tensors if role == "head")
    assert table[0] == 32_000
    assert head.index(32_000) == {"jax": 1, "pytorch": 0}[framework]


def test_no_factor_of_criteo_s_table():
    """In JAX, where it is one table: its state is Adam's."""
    tensors = script.tensors("criteo1tb", "jax")
    table = math.prod(shape := (4_194_304, 128))
    assert (shape, "embedding") in tensors
    for name in OPTIMIZERS:
        state = script.need(name, tensors, "jax", False).state
        assert state < 4 * (2 * table + 30 * 2**20), name


def test_a_run(tmp_path):
    done = memory_check("--optimizers=nadamw,asgo", "--workloads=ogbg,c4_350m", "--average")
    found = table(done)
    assert [row[:1] + row[2:4] for row in found] == [
        [workload, framework, optimizer]
        for workload in ("ogbg", "c4_350m")
        for framework in ("jax", "pytorch")
        for optimizer in ("nadamw", "asgo")
    ]
    for workload, _, framework, optimizer, *figures in found:
        need = script.need(optimizer, script.tensors(workload, framework), framework, True)
        expected = [*need, need.total, 16 * GIB - need.total]
        assert figures[:7] == [f"{number / GIB:.2f}" for number in expected]
        assert figures[7:] == (["DOES", "NOT", "FIT"] if need.total > 16 * GIB else [])
    over = sum(len(row) > 11 for row in found)
    assert 0 < over < len(found)
    assert done.stdout.splitlines()[-1] == f"{over} of {len(found)} do not fit 16 GiB"
    assert "activations and the framework are not counted" in done.stdout
    assert done.returncode == 1


def test_a_run_in_which_everything_fits():
    flags = ["--optimizers=nadamw,asgo", "--workloads=ogbg,c4_350m", "--frameworks=jax"]
    done = memory_check("--hardware=4xA100_40GB", *flags)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "0 of 4 do not fit 40 GiB"
    assert table(done)[0][1] == str(512 // 4)  # rows of ogbg's batch per device


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--optimizers=sgd", "--optimizers: 'sgd' is unknown; allowed: all, adamw, "),
        ("--workloads=cats", "--workloads: 'cats' is unknown; allowed: all, criteo1tb, "),
        ("--frameworks=tf", "--frameworks: 'tf' is unknown; allowed: all, jax, pytorch"),
        ("--workloads=", "--workloads: '' is unknown"),
        ("--hardware=1xT4", "1xT4"),
    ],
)
def test_mistakes_are_told_in_one_line(flag, told):
    done = memory_check(flag)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_every_official_workload_can_be_asked_for():
    assert set(shapes.workloads()) < set(script.WORKLOADS)
    assert set(SIZES) < set(script.WORKLOADS)
