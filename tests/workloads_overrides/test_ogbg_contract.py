"""What is special to `ogbg_small` of AlgoPerf's contract; the rest is in `test_workload_*`."""

import jax
import numpy as np
import pytest
import torch
import workload_cases as cases

from algoperf_api import spec
from workloads_overrides import FRAMEWORKS, import_workload
from workloads_overrides.small.ogbg.source import CHEMICALS

EVAL = spec.ForwardPassMode.EVAL


def framework_of(workload):
    return "jax" if "jax" in type(workload).__module__ else "pytorch"


def initial(workload):
    rng = jax.random.PRNGKey(0) if framework_of(workload) == "jax" else np.array([1, 2])
    return workload.init_model_fn(rng)[0]


def train_batch(workload, data_dir, size=16):
    return next(workload._build_input_queue(np.array([1, 2]), "train", str(data_dir), size))


def array(values, like):
    values = np.asarray(values, np.float32)
    return torch.tensor(values) if isinstance(like, torch.Tensor) else jax.numpy.asarray(values)


def test_constants(any_workload):
    w = any_workload
    assert w.target_metric_name == "mean_average_precision"
    assert w.loss_type == spec.LossType.SOFTMAX_CROSS_ENTROPY
    assert w.default_dropout_rate == 0.1
    assert w.num_train_examples == CHEMICALS.num_train
    assert w.num_validation_examples == CHEMICALS.num_validation
    assert w.num_test_examples == CHEMICALS.num_test
    assert 900 <= w.num_eval_train_examples <= 1100
    for target in (w.validation_target_value, w.test_target_value):
        assert 0 < target < 1


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


def test_a_batch_has_a_graph_of_padding(any_workload, data_dir):
    batch = train_batch(any_workload, data_dir)
    assert batch["targets"].shape == batch["weights"].shape == (17, 30)
    assert batch["inputs"].n_node.shape == (17,)
    assert batch["inputs"].nodes.shape[1:] == (9,)


def test_an_evaluation_queue_has_every_molecule(any_workload, data_dir):
    queue = any_workload._build_input_queue(np.array([1, 2]), "validation", str(data_dir), 1024)
    graphs = [int(np.asarray(next(queue)["weights"]).any(axis=1).sum()) for _ in range(3)]
    assert sum(graphs) == CHEMICALS.num_validation


def test_an_unknown_split_is_told_with_the_known_ones(any_workload, data_dir):
    with pytest.raises(ValueError, match="'dev'; allowed: train, validation, test"):
        any_workload._build_input_queue(None, "dev", str(data_dir), 16)


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


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_with_everything_dropped_only_the_last_bias_is_left(framework):
    params, state = cases.initial("ogbg_small", framework)
    batch = cases.train_batches("ogbg_small", framework)[0]
    _, logits, _, _ = cases.step("ogbg_small", framework, params, state, batch, rate=1.0)
    np.testing.assert_array_equal(logits, np.zeros((17, 30)))


def test_metrics_are_algoperfs(torch_workload, data_dir):
    args = (initial(torch_workload), None, None, str(data_dir))
    metrics = torch_workload._eval_model_on_split("test", 32, 32, *args)
    assert set(metrics) == {"loss", "accuracy", "mean_average_precision"}


def test_train_evaluation_is_of_training_molecules(any_workload, data_dir, molecules):
    queue = any_workload._build_input_queue(None, "eval_train", str(data_dir), 2048)
    targets = np.asarray(next(queue)["targets"])
    count = any_workload.num_eval_train_examples
    expected = np.nan_to_num(molecules.labels[molecules.split_range("train")[:count]])
    np.testing.assert_array_equal(targets[:count], expected)
    assert not targets[count:].any()


def test_torch_model_compiles_without_a_graph_break(torch_workload, data_dir):
    model, batch = initial(torch_workload), train_batch(torch_workload, data_dir)
    expected, _ = torch_workload.model_fn(model, batch, None, EVAL, None, False)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    logits, _ = torch_workload.model_fn(compiled, batch, None, EVAL, None, False)
    torch.testing.assert_close(logits, expected)


def test_instances_share_nothing(data_dir):
    first, second = (import_workload("ogbg_small", "pytorch") for _ in range(2))
    first._build_input_queue(None, "test", str(data_dir), 512)
    assert first._eval_batches
    assert not second._eval_batches
