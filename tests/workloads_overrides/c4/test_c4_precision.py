"""Which devices compute in bfloat16, and that losses are in single precision, in few copies."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from c4_cases import EVAL, TINY, TRAIN, random_params, torch_container
from c4_large_cases import LargeJax, LargeTorch, workload
from torch.utils._python_dispatch import TorchDispatchMode
from torch_peak import peak_bytes
from workload_fakes import concrete

from workloads_overrides import FRAMEWORKS
from workloads_overrides.base import softmax_pytorch
from workloads_overrides.base.softmax_jax import cross_entropy as jax_cross_entropy
from workloads_overrides.base.softmax_pytorch import PytorchSoftmaxWorkload
from workloads_overrides.c4.c4_jax import workload as jax_workload
from workloads_overrides.c4.c4_jax.models import Llama as JaxLlama
from workloads_overrides.c4.c4_pytorch import workload as pytorch_workload


@pytest.mark.parametrize(
    ("platform", "capability", "expected"),
    [
        ("cpu", None, False),
        ("tpu", None, True),
        ("gpu", "7.0", False),
        ("gpu", "7.5", False),
        ("gpu", "8.0", True),
        ("gpu", "8.9", True),
        ("gpu", "9.0", True),
        ("gpu", "12.0", True),
        ("gpu", "gfx90a", False),
        ("gpu", None, False),
        ("metal", "8.0", False),
    ],
)
def test_jax_devices_with_bfloat16(platform, capability, expected):
    device = SimpleNamespace(platform=platform)
    if capability is not None:
        device.compute_capability = capability
    assert jax_workload.has_bfloat16(device) is expected


@pytest.mark.parametrize(
    ("kind", "capability", "expected"),
    [
        ("cpu", (9, 0), False),
        ("cuda", (7, 0), False),
        ("cuda", (7, 5), False),
        ("cuda", (8, 0), True),
        ("cuda", (8, 6), True),
        ("cuda", (12, 0), True),
    ],
)
def test_pytorch_devices_with_bfloat16(monkeypatch, kind, capability, expected):
    device = torch.device(kind, 1) if kind == "cuda" else torch.device(kind)
    asked = []

    def of(which):
        asked.append(which)
        return capability

    monkeypatch.setattr(torch.cuda, "get_device_capability", of)
    assert pytorch_workload.has_bfloat16(device) is expected
    assert asked == ([device] if kind == "cuda" else [])


def model_dtype(w, framework):
    """What the model multiplies matrices in; None: the parameters' precision."""
    model = w._make_model()
    return model.dtype if framework == "jax" else model.lm_head.compute_dtype


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_large_ones_take_what_the_device_has(monkeypatch, framework, has):
    module = jax_workload if framework == "jax" else pytorch_workload
    monkeypatch.setattr(module, "has_bfloat16", lambda device: has)
    half = jnp.dtype("bfloat16") if framework == "jax" else torch.bfloat16
    w = (LargeJax if framework == "jax" else LargeTorch)()
    assert model_dtype(w, framework) == (half if has else None)
    small = workload("c4_small", framework)
    assert model_dtype(small, framework) is None, "its targets were measured in single precision"
    w.compute_dtype = "float32"
    assert model_dtype(w, framework) is None
    w.compute_dtype = "bfloat16"
    assert model_dtype(w, framework) == half


def test_the_residual_stream_is_in_single_precision():
    """What enters a layer and what leaves it, also where matrices are multiplied in half."""
    w = LargeTorch()
    w.compute_dtype = "bfloat16"
    model, _ = w.init_model_fn(np.array([1, 2]))
    kinds = {}

    def watch(name):
        def hook(module, inputs, output):
            kinds[name] = (inputs[0].dtype, output.dtype)

        return hook

    for name in ("layers.0", "layers.1", "final_rms_ln", "lm_head", "layers.1.mlp.up_proj"):
        model.get_submodule(name).register_forward_hook(watch(name))
    tokens = torch.randint(0, TINY.vocab, (2, 16))
    w.model_fn(model, {"inputs": tokens}, None, EVAL, None, False)
    single, half = torch.float32, torch.bfloat16
    stream = dict.fromkeys(("layers.0", "layers.1", "final_rms_ln"), (single, single))
    assert kinds == stream | dict.fromkeys(("lm_head", "layers.1.mlp.up_proj"), (single, half))
    ours = LargeJax()
    ours.compute_dtype = "bfloat16"
    params = jax.eval_shape(
        lambda: ours._model.init({"params": jax.random.PRNGKey(0)}, jnp.zeros((1, 1), int), 0, 0)
    )["params"]
    _, state = jax.eval_shape(
        lambda p: ours._model.apply(
            {"params": p}, jnp.zeros((2, 16), int), False, 0.0, capture_intermediates=True
        ),
        params,
    )
    seen = state["intermediates"]
    for name in ("layers_0", "layers_1", "final_rms_ln"):
        assert seen[name]["__call__"][0].dtype == jnp.float32
    assert seen["lm_head"]["__call__"][0].dtype == jnp.bfloat16
    assert seen["layers_1"]["mlp"]["up_proj"]["__call__"][0].dtype == jnp.bfloat16


SIZE, CLASSES = 24, 50


def half_example(seed=0):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(8 * rng.normal(size=(SIZE, CLASSES))).bfloat16()
    return logits, torch.tensor(rng.integers(0, CLASSES, SIZE))


def value_and_gradient(logits, labels, smoothing):
    logits = logits.clone().requires_grad_()
    losses = softmax_pytorch.cross_entropy(logits, labels, smoothing)
    (losses * torch.linspace(0.5, 2, len(losses))).sum().backward()
    return losses.detach(), logits.grad


@pytest.mark.parametrize("entries", [1, CLASSES, 7 * CLASSES, 8 * CLASSES + 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_parts_of_large_logits_change_nothing(monkeypatch, entries, smoothing, dtype):
    logits, labels = half_example()
    whole = value_and_gradient(logits.to(dtype), labels, smoothing)
    monkeypatch.setattr(softmax_pytorch, "_PART_ENTRIES", entries)
    parts = value_and_gradient(logits.to(dtype), labels, smoothing)
    for one, other in zip(whole, parts, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert whole[0].dtype == torch.promote_types(dtype, torch.float32)
    with torch.no_grad():
        evaluated = softmax_pytorch.cross_entropy(logits.to(dtype), labels, smoothing)
    assert torch.equal(evaluated, whole[0])


def test_large_logits_are_not_copied_in_single_precision(monkeypatch):
    """But for a part of them at a time: besides the gradient, one copy of it is made."""
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(4096, 128))).bfloat16().requires_grad_()
    labels = torch.tensor(rng.integers(0, 128, 4096))
    size = 2 * logits.numel()  # bytes

    def compute():
        softmax_pytorch.cross_entropy(logits, labels, 0.0).sum().backward()
        logits.grad = None

    whole = peak_bytes(compute, [logits, labels])
    monkeypatch.setattr(softmax_pytorch, "_PART_ENTRIES", logits.numel() // 32)
    parts = peak_bytes(compute, [logits, labels])
    assert whole > 4 * size
    assert parts < 2.5 * size


class Waits(TorchDispatchMode):
    """Fails where a number is read out of a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.name() not in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("entries", [1 << 26, 8 * CLASSES])
def test_nothing_waits_for_the_device(monkeypatch, entries):
    monkeypatch.setattr(softmax_pytorch, "_PART_ENTRIES", entries)
    logits, labels = half_example()
    logits = logits.view(4, 6, CLASSES).requires_grad_()
    w = concrete(PytorchSoftmaxWorkload)
    mask = torch.ones(4, 6)
    with Waits():
        result = w.loss_fn(labels.view(4, 6), logits, mask, 0.1)
        result["summed"].backward()
    assert result["per_example"].dtype == torch.float32


def test_the_gradient_in_jax_is_not_scattered():
    """A scatter needs zeros as large as the logits, in single precision, to add to."""
    logits, labels = jnp.zeros((4, 6, 50), jnp.bfloat16), jnp.zeros((4, 6), jnp.int32)
    program = str(
        jax.make_jaxpr(jax.grad(lambda x: jax_cross_entropy(labels, x, 0.1).sum()))(logits)
    )
    assert "exp" in program
    assert "scatter" not in program
    assert "gather" not in program


@pytest.mark.parametrize("half", [False, True])
def test_with_a_compute_dtype_jax_keeps_no_scores_of_attention(half):
    model = JaxLlama(TINY, jnp.bfloat16 if half else None)
    tokens = jnp.zeros((2, 8), jnp.int32)
    key = jax.random.PRNGKey(0)
    params = jax.eval_shape(lambda: model.init(key, tokens, True, 0.0))
    program = str(jax.make_jaxpr(lambda params: model.apply(params, tokens, True, 0.0))(params))
    assert program.count("remat2[") == TINY.layers * half


@pytest.mark.parametrize("half", [False, True])
def test_the_pytorch_model_compiles_without_a_graph_break(half):
    w = LargeTorch()
    w.compute_dtype = "bfloat16" if half else "float32"
    model = torch_container(w, random_params(TINY))
    batch = {"inputs": torch.randint(0, TINY.vocab, (2, 16), generator=torch.manual_seed(0))}
    expected, _ = w.model_fn(model, batch, None, TRAIN, None, True)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    logits, _ = w.model_fn(compiled, batch, None, TRAIN, None, True)
    assert logits.dtype == (torch.bfloat16 if half else torch.float32)
    torch.testing.assert_close(
        logits, expected, rtol=2e-2 if half else 1e-5, atol=2e-2 if half else 1e-5
    )
    logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    # The names that optimizers see, under which the workload knows the head and the types.
    names = [name for name, _ in compiled.named_parameters()]
    assert all(name.startswith("_orig_mod.") for name in names)
    assert {name.removeprefix("_orig_mod.") for name in names} == set(w.model_params_types)
    heads = [name for name in names if w.is_output_params(name)]
    assert heads == ["_orig_mod.lm_head.weight"]
