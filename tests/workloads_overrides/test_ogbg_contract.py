"""What AlgoPerf asks of a workload, in both frameworks."""

import functools
import inspect
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from algoperf_api import own_spec, spec
from workloads_overrides import import_workload
from workloads_overrides.small.ogbg import workload as base
from workloads_overrides.small.ogbg.source import CHEMICALS

TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL
ABSTRACT = sorted(own_spec.Workload.__abstractmethods__)
METHODS = [n for n in ABSTRACT if not isinstance(getattr(own_spec.Workload, n), property)]


def framework_of(workload):
    return "jax" if "jax" in type(workload).__module__ else "pytorch"


def initial(workload):
    rng = jax.random.PRNGKey(0) if framework_of(workload) == "jax" else np.array([1, 2])
    return workload.init_model_fn(rng)[0]


def train_batch(workload, data_dir, size=16):
    return next(workload._build_input_queue(np.array([1, 2]), "train", str(data_dir), size))


@functools.partial(jax.jit, static_argnums=(0, 3))
def jitted_logits(workload, params, batch, mode, rng, rate):
    return workload.model_fn(params, batch, None, mode, rng, False, rate)


def logits_of(workload, params, batch, mode=EVAL, rate=0.1, seed=0):
    if framework_of(workload) == "jax":
        rng = jax.random.PRNGKey(seed)
        logits, state = jitted_logits(workload, params, batch, mode, rng, rate)
    else:
        logits, state = workload.model_fn(params, batch, None, mode, None, False, rate)
    assert state is None
    return logits


def array(values, like):
    values = np.asarray(values, np.float32)
    return torch.tensor(values) if isinstance(like, torch.Tensor) else jax.numpy.asarray(values)


def test_everything_abstract_is_implemented(any_workload):
    assert not type(any_workload).__abstractmethods__
    assert isinstance(any_workload, spec.Workload)
    assert type(any_workload).__name__ == "OgbgSmallWorkload"


@pytest.mark.parametrize("name", METHODS)
def test_signatures_are_algoperfs(any_workload, name):
    ours = inspect.signature(getattr(type(any_workload), name)).parameters
    theirs = inspect.signature(getattr(own_spec.Workload, name)).parameters
    assert list(ours) == list(theirs)
    for parameter in theirs.values():
        if parameter.default is not parameter.empty:
            assert ours[parameter.name].default == parameter.default


def test_dropout_rate_has_algoperfs_default(any_workload):
    parameters = inspect.signature(type(any_workload).model_fn).parameters
    assert parameters["dropout_rate"].default is None
    assert any_workload.default_dropout_rate == 0.1


def test_constants(any_workload):
    w = any_workload
    assert w.target_metric_name == "mean_average_precision"
    assert w.loss_type == spec.LossType.SOFTMAX_CROSS_ENTROPY
    assert w.num_train_examples == CHEMICALS.num_train
    assert w.num_validation_examples == CHEMICALS.num_validation
    assert w.num_test_examples == CHEMICALS.num_test
    assert 900 <= w.num_eval_train_examples <= 1100
    for devices in (1, 2, 4, 8):
        assert w.eval_batch_size % devices == 0
    for name in ("train_mean", "train_stddev"):
        with pytest.raises(NotImplementedError):
            getattr(w, name)


def test_targets_and_budget_come_from_the_file(any_workload):
    path = Path(base.__file__).parent / "targets.json"
    targets = json.loads(path.read_text())
    assert targets["status"] in ("provisional", "measured")
    for name in ("validation_target_value", "test_target_value"):
        assert 0 < targets[name] < 1
        assert getattr(any_workload, name) == targets[name]
    for name in ("max_allowed_runtime_sec", "eval_period_time_sec", "step_hint"):
        assert targets[name] > 0
        assert getattr(any_workload, name) == targets[name]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_targets_are_reached_at_the_value_itself(any_workload, split):
    target = getattr(any_workload, f"{split}_target_value")
    reached = getattr(any_workload, f"has_reached_{split}_target")
    key = f"{split}/mean_average_precision"
    assert reached({key: target}) is True
    assert reached({key: target + 0.1}) is True
    assert reached({key: float(np.nextafter(target, 0))}) is False
    assert reached({key: float("nan")}) is False


def test_output_parameters(any_workload):
    params = initial(any_workload)
    if framework_of(any_workload) == "jax":
        outputs = [name for name in params if any_workload.is_output_params(name)]
        assert outputs == ["decoder"]
        assert any_workload.is_output_params("decoder/kernel")
    else:
        names = [name for name, _ in params.named_parameters()]
        outputs = [name for name in names if any_workload.is_output_params(name)]
        assert outputs == ["decoder.weight", "decoder.bias"]
        assert any_workload.is_output_params("module._orig_mod.decoder.weight")


def test_shapes_are_known_after_initialisation_only(any_workload):
    workload = import_workload("ogbg_small", framework_of(any_workload))
    with pytest.raises(ValueError, match="init_model_fn"):
        _ = workload.param_shapes
    initial(workload)
    assert workload.param_shapes
    assert workload.model_params_types


def test_batches_have_one_shape(any_workload, data_dir):
    queue = any_workload._build_input_queue(np.array([1, 2]), "train", str(data_dir), 16)
    shapes = {
        tuple((tuple(x.shape), str(x.dtype)) for x in jax.tree.leaves(next(queue)))
        for _ in range(30)
    }
    assert len(shapes) == 1
    batch = next(queue)
    assert set(batch) == {"inputs", "targets", "weights"}
    assert batch["targets"].shape == batch["weights"].shape == (17, 30)
    assert batch["inputs"].nodes.shape[1:] == (9,)


def test_evaluation_queues_repeat_their_split(any_workload, data_dir):
    args = (np.array([1, 2]), "validation", str(data_dir), 1024)
    queue = any_workload._build_input_queue(*args)
    weights = [np.asarray(next(queue)["weights"]) for _ in range(6)]
    graphs = [int(w.any(axis=1).sum()) for w in weights]
    assert sum(graphs[:3]) == CHEMICALS.num_validation
    assert graphs[:3] == graphs[3:]
    for first, second in zip(weights[:3], weights[3:], strict=True):
        np.testing.assert_array_equal(first, second)


def test_unknown_split_and_indivisible_batch_fail_at_once(any_workload, data_dir):
    with pytest.raises(ValueError, match="'dev'; allowed: train, validation, test"):
        any_workload._build_input_queue(None, "dev", str(data_dir), 16)
    with pytest.raises(ValueError, match="batch size 0"):
        any_workload._build_input_queue(np.array([1, 2]), "train", str(data_dir), 0)


def reference_loss(labels, logits, mask, smoothing):
    """Label by label, from the definition."""
    losses = np.zeros_like(logits, dtype=np.float64)
    for i in np.ndindex(logits.shape):
        y = (1 - smoothing) * labels[i] + smoothing / logits.shape[1]
        p = 1 / (1 + np.exp(-np.float64(logits[i])))
        losses[i] = mask[i] * -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss(any_workload, data_dir, smoothing):
    like = train_batch(any_workload, data_dir)["targets"]
    rng = np.random.default_rng(0)
    labels, mask = rng.integers(0, 2, (2, 7, 30))
    logits = 3 * rng.normal(size=(7, 30)).astype(np.float32)
    expected = reference_loss(labels, logits, mask, smoothing)
    args = [array(x, like) for x in (labels, logits, mask)]
    result = any_workload.loss_fn(*args, label_smoothing=smoothing)
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    np.testing.assert_allclose(result["per_example"], expected, atol=1e-5)
    np.testing.assert_allclose(result["summed"], expected.sum(), rtol=1e-5)
    assert result["n_valid_examples"] == mask.sum()
    assert "float32" in str(result["n_valid_examples"].dtype)
    everything = any_workload.loss_fn(*args[:2], label_smoothing=smoothing)
    assert everything["n_valid_examples"] == 7 * 30
    full = reference_loss(labels, logits, np.ones((7, 30)), smoothing)
    np.testing.assert_allclose(everything["summed"], full.sum(), rtol=1e-5)


def test_loss_of_extreme_logits_and_unmeasured_labels(any_workload, data_dir):
    like = train_batch(any_workload, data_dir)["targets"]
    labels = array([[0.0, 1.0, np.nan]], like)
    logits = array([[1e4, 1e4, 5.0]], like)
    result = any_workload.loss_fn(labels, logits, array([[1.0, 1.0, 0.0]], like))
    np.testing.assert_allclose(result["per_example"], [[1e4, 0.0, 0.0]], rtol=1e-6)


def test_loss_rejects_shapes_that_differ(any_workload, data_dir):
    like = train_batch(any_workload, data_dir)["targets"]
    with pytest.raises(ValueError, match=r"\(2, 30\), \(3, 30\), \(2, 30\)"):
        any_workload.loss_fn(*(array(np.zeros((n, 30)), like) for n in (2, 3, 2)))


def test_dropout_is_for_training_only_and_follows_its_rate(any_workload, data_dir):
    params, batch = initial(any_workload), train_batch(any_workload, data_dir)

    def logits(**kwargs):
        values = logits_of(any_workload, params, batch, **kwargs)
        return np.asarray(values.detach() if isinstance(values, torch.Tensor) else values)

    plain = logits()
    np.testing.assert_array_equal(plain, logits(rate=0.5))
    np.testing.assert_allclose(logits(mode=TRAIN, rate=0.0), plain, atol=1e-6)
    torch.manual_seed(0)
    first = logits(mode=TRAIN, seed=1)
    assert not np.allclose(first, plain, atol=1e-3)
    assert not np.allclose(first, logits(mode=TRAIN, seed=2), atol=1e-3)
    torch.manual_seed(0)
    np.testing.assert_array_equal(first, logits(mode=TRAIN, seed=1))
    # With everything dropped, only the decoder's bias (0 at first) is left.
    np.testing.assert_array_equal(logits(mode=TRAIN, rate=1.0), np.zeros_like(plain))


def test_metrics_do_not_depend_on_the_batch_size(any_workload, data_dir):
    params = initial(any_workload)
    results = [
        any_workload._eval_model_on_split(
            "validation", CHEMICALS.num_validation, size, params, None, None, str(data_dir)
        )
        for size in (64, 2048)
    ]
    assert results[1] == pytest.approx(results[0], rel=1e-6)
    assert 0.1 < results[0]["mean_average_precision"] < 0.5


def test_eval_model_reports_every_split(any_workload, data_dir):
    rng = jax.random.PRNGKey(0) if framework_of(any_workload) == "jax" else np.array([1, 2])
    params = initial(any_workload)
    results = any_workload.eval_model(256, params, None, rng, str(data_dir), None, 0)
    metrics = {"loss", "accuracy", "mean_average_precision"}
    expected = {f"{split}/{name}" for split in ("train", "validation", "test") for name in metrics}
    expected |= {"validation/num_examples", "test/num_examples"}
    assert set(results) == expected
    assert all(np.isfinite(value) for value in results.values())


def test_train_evaluation_is_of_training_molecules(any_workload, data_dir, molecules):
    queue = any_workload._build_input_queue(None, "eval_train", str(data_dir), 2048)
    targets = np.asarray(next(queue)["targets"])
    count = any_workload.num_eval_train_examples
    expected = np.nan_to_num(molecules.labels[molecules.split_range("train")[:count]])
    np.testing.assert_array_equal(targets[:count], expected)
    assert not targets[count:].any()


def test_jax_compiles_once_for_a_whole_training(jax_workload, data_dir, data_rng):
    params = initial(jax_workload)
    traces = []

    @jax.jit
    def loss(batch, rng, dropout_rate, label_smoothing):
        traces.append(1)
        logits, _ = jax_workload.model_fn(params, batch, None, TRAIN, rng, False, dropout_rate)
        args = (batch["targets"], logits, batch["weights"], label_smoothing)
        return jax_workload.loss_fn(*args)["summed"]

    queue = jax_workload._build_input_queue(data_rng, "train", str(data_dir), 16)
    # The rates are traced, as AlgoPerf's baselines do.
    losses = [loss(next(queue), jax.random.PRNGKey(i), 0.1 * i, 0.01 * i) for i in range(5)]
    assert len(traces) == 1
    assert np.isfinite(losses).all()


def test_jax_workload_is_a_static_argument(jax_workload, data_dir):
    assert hash(jax_workload) == hash(jax_workload)
    params = initial(jax_workload)
    before = jax_workload._eval_batch._cache_size()
    for _ in range(2):
        jax_workload._eval_model_on_split("test", 96, 32, params, None, None, str(data_dir))
    assert jax_workload._eval_batch._cache_size() == before + 1


def test_torch_evaluates_without_gradients_in_eval_mode(torch_workload, data_dir):
    model, batch = initial(torch_workload), train_batch(torch_workload, data_dir)
    assert not logits_of(torch_workload, model, batch).requires_grad
    assert not model.training
    assert logits_of(torch_workload, model, batch, TRAIN).requires_grad
    assert model.training
    torch_workload._eval_model_on_split("test", 32, 32, model, None, None, str(data_dir))
    assert all(p.grad is None for p in model.parameters())


def test_torch_model_compiles_without_a_graph_break(torch_workload, data_dir):
    model, batch = initial(torch_workload), train_batch(torch_workload, data_dir)
    expected = logits_of(torch_workload, model, batch)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(logits_of(torch_workload, compiled, batch), expected)


@pytest.mark.parametrize(
    ("framework", "other", "library"), [("jax", "pytorch", "torch"), ("pytorch", "jax", "jax")]
)
def test_one_framework_does_not_import_the_other(framework, other, library, data_dir, request):
    code = f"""
import sys
import numpy as np
from workloads_overrides import import_workload
workload = import_workload("ogbg_small", {framework!r})
next(workload._build_input_queue(np.array([1, 2]), "train", {str(data_dir)!r}, 16))
modules = [m for m in sys.modules if m.startswith("workloads_overrides") and {other!r} in m]
assert not modules, modules
assert {library!r} not in sys.modules
assert "rdkit" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=request.config.rootpath)


def test_instances_share_nothing(data_dir):
    first, second = (import_workload("ogbg_small", "pytorch") for _ in range(2))
    first._build_input_queue(None, "test", str(data_dir), 512)
    assert first._eval_batches
    assert not second._eval_batches
