"""What AlgoPerf asks of a workload: members, constants, parameters. Every one is tried."""

import inspect
import json
import math
import re
from collections import Counter

import flax
import jax
import numpy as np
import pytest
import torch
import workload_cases as cases
from scipy import stats
from workload_cases import each_case, each_workload

from algoperf_api import own_spec, spec
from submissions.common.data import BATCH_SIZES, get_batch_size
from workloads_overrides import FRAMEWORKS, WORKLOADS, DataError, import_workload
from workloads_overrides.base import param_map

ABSTRACT = sorted(own_spec.Workload.__abstractmethods__)
METHODS = [n for n in ABSTRACT if not isinstance(getattr(own_spec.Workload, n), property)]
SIZES = ("train", "eval_train", "validation", "test")
LOWER_IS_BETTER = ("loss", "perplexity", "ppl", "error_rate", "wer")


@each_case
def test_everything_abstract_is_implemented(name, framework):
    w = cases.workload(name, framework)
    assert not type(w).__abstractmethods__
    assert isinstance(w, spec.Workload)
    assert type(w).__name__ == WORKLOADS[name]["workload_class_name"]


@each_case
def test_signatures_are_algoperfs(name, framework):
    w = cases.workload(name, framework)
    for method in METHODS:
        ours = inspect.signature(getattr(type(w), method)).parameters
        theirs = inspect.signature(getattr(own_spec.Workload, method)).parameters
        assert list(ours) == list(theirs), method
        for parameter in theirs.values():
            if parameter.default is not parameter.empty:
                assert ours[parameter.name].default == parameter.default, method


@each_workload
def test_constants(name):
    first, second = (cases.workload(name, framework) for framework in FRAMEWORKS)
    for split in SIZES:
        count = getattr(first, f"num_{split}_examples")
        assert count == getattr(second, f"num_{split}_examples")
        assert count > 0
    assert first.num_eval_train_examples <= first.num_train_examples
    assert first.eval_batch_size == second.eval_batch_size
    assert first.eval_batch_size % 8 == 0  # devices
    assert first.target_metric_name == second.target_metric_name
    assert first.loss_type == second.loss_type
    assert first.default_dropout_rate == second.default_dropout_rate
    assert 0 <= first.default_dropout_rate < 1
    for constant in ("train_mean", "train_stddev"):
        values = [constant_or_none(w, constant) for w in (first, second)]
        assert values[0] == values[1]


def constant_or_none(w, name):
    """Data that are no images have no mean; AlgoPerf's workloads raise then."""
    try:
        value = getattr(w, name)
    except NotImplementedError:
        return None
    assert np.isfinite(value).all()
    return np.asarray(value).tolist()


@each_workload
def test_the_batch_size_is_named(name):
    assert name in BATCH_SIZES  # not found by falling back to an official name
    assert get_batch_size(name) % 8 == 0
    assert get_batch_size(name) < cases.workload(name, "jax").num_train_examples


@each_case
def test_targets_and_budget_come_from_the_file(name, framework):
    w = cases.workload(name, framework)
    targets = json.loads(w.targets_path.read_text())
    assert targets["status"] in ("provisional", "measured")
    for value in ("validation_target_value", "test_target_value"):
        assert 0 < targets[value] < math.inf
        assert getattr(w, value) == targets[value]
    assert 0 < w.eval_period_time_sec < w.max_allowed_runtime_sec
    for value in ("max_allowed_runtime_sec", "eval_period_time_sec", "step_hint"):
        assert getattr(w, value) == targets[value]
        assert targets[value] == int(targets[value]) > 0
    assert w.higher_is_better == (w.target_metric_name not in LOWER_IS_BETTER)


@each_case
def test_data_that_is_missing_is_told_before_training(name, framework, tmp_path):
    w = cases.workload(name, framework)
    # Workloads may share their data: preparing one of them is enough.
    line = rf"--workloads=({'|'.join(cases.NAMES)}) --data_dir={re.escape(str(tmp_path))}"
    for split in SIZES:
        with pytest.raises(DataError, match=line):
            w._build_input_queue(cases.DATA_RNG, split, str(tmp_path), 16)
    with pytest.raises(DataError, match=line):
        w._eval_model_on_split("validation", 8, 8, None, None, None, str(tmp_path))


@each_case
def test_parameters_are_known_after_initialisation_only(name, framework):
    w = import_workload(name, framework)
    for what in ("param_shapes", "model_params_types"):
        with pytest.raises(ValueError, match="init_model_fn"):
            getattr(w, what)


def flattened(tree):
    return flax.traverse_util.flatten_dict(tree, sep="/")


@each_workload
def test_shapes_and_types_match_the_parameters_in_jax(name):
    params, _ = cases.initial(name, "jax")
    w = cases.workload(name, "jax")
    shapes = jax.tree.map(lambda shape: tuple(shape.shape_tuple), w.param_shapes)
    assert shapes == jax.tree.map(lambda p: p.shape, params)
    paths = [path.lower() for path in flattened(params)]
    assert sorted(paths) == sorted(flattened(w.model_params_types))
    assert len(set(paths)) == len(paths)
    assert {p.dtype for p in jax.tree.leaves(params)} == {np.dtype(np.float32)}


@each_workload
def test_shapes_and_types_match_the_parameters_in_pytorch(name):
    model, state = cases.initial(name, "pytorch")
    w = cases.workload(name, "pytorch")
    assert state is None
    shapes = {tensor: tuple(p.shape) for tensor, p in model.named_parameters()}
    assert {n: tuple(s.shape_tuple) for n, s in w.param_shapes.items()} == shapes
    assert set(w.model_params_types) == set(shapes)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in model.parameters())


def path_by_tensor(name):
    """{PyTorch's name: flax path}."""
    params, _ = cases.initial(name, "jax")
    paths = list(flattened(params))
    numbered = {path: np.full(p.shape, paths.index(path)) for path, p in flattened(params).items()}
    tree = flax.traverse_util.unflatten_dict(numbered, sep="/")
    return {n: paths[int(a.flat[0])] for n, a in cases.flat(name, tree).items()}


@each_workload
def test_both_frameworks_have_the_same_parameters_and_types(name):
    """As param_map pairs them, which is one to one."""
    params, _ = cases.initial(name, "jax")
    model, _ = cases.initial(name, "pytorch")
    pairs = path_by_tensor(name)
    theirs = {tensor: p.shape for tensor, p in model.named_parameters()}
    assert {tensor: a.shape for tensor, a in cases.flat(name, params).items()} == theirs
    assert len(pairs) == len(jax.tree.leaves(params))
    jax_types = flattened(cases.workload(name, "jax").model_params_types)
    torch_types = cases.workload(name, "pytorch").model_params_types
    assert {n: jax_types[path.lower()] for n, path in pairs.items()} == torch_types
    assert Counter(jax_types.values()) == Counter(torch_types.values())
    back = param_map.to_flax(
        cases.flat(name, params), params, cases.workload(name, "jax").pytorch_name
    )
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, jax.device_get(params))


@each_workload
def test_the_output_parameters_are_the_same_and_make_the_logits(name):
    pairs = path_by_tensor(name)
    w = {framework: cases.workload(name, framework) for framework in FRAMEWORKS}
    # Submissions ask for the top-level module in JAX and for the whole name in PyTorch.
    ours = {n for n, path in pairs.items() if w["jax"].is_output_params(path.split("/")[0])}
    theirs = {n for n in pairs if w["pytorch"].is_output_params(n)}
    assert ours == theirs
    assert 0 < len(ours) <= 2
    batch = cases.train_batches(name, "pytorch")[0]
    model, state = cases.initial(name, "pytorch")
    logits, _ = w["pytorch"].model_fn(model, batch, state, cases.EVAL, None, False)
    weights = [p for n, p in model.named_parameters() if n in ours and p.ndim == 2]
    assert [p.shape[0] for p in weights] == [logits.shape[-1]]


@each_case
def test_initial_parameters_depend_on_the_seed_only(name, framework):
    w = cases.workload(name, framework)

    def init(seed):
        return cases.flat(name, w.init_model_fn(cases.key(framework, seed))[0])

    first = init(1)
    np.random.seed(5)
    torch.manual_seed(5)
    again, other = init(1), init(2)
    for tensor, array in first.items():
        np.testing.assert_array_equal(array, again[tensor])
    random = [tensor for tensor, array in first.items() if array.std() > 0]
    assert random
    for tensor in random:
        assert (first[tensor] != other[tensor]).any(), tensor


@each_workload
def test_both_frameworks_draw_from_the_same_distributions(name):
    """Constants are equal; of the others mean, spread and distribution, as far as samples tell."""
    ours, theirs = (
        [cases.flat(name, cases.initial(name, framework, seed)[0]) for seed in (0, 1)]
        for framework in FRAMEWORKS
    )
    for tensor in ours[0]:
        a, b = (np.stack([draw[tensor] for draw in draws]).ravel() for draws in (ours, theirs))
        if a.std() == 0 or b.std() == 0:
            np.testing.assert_array_equal(a, b, err_msg=tensor)
            continue
        spread = np.sqrt((a.var() + b.var()) / a.size)
        assert abs(a.mean() - b.mean()) < 5 * spread, tensor
        # The relative error of a standard deviation, for a fourth moment up to a normal one's.
        assert abs(np.log(a.std() / b.std())) < 5 / np.sqrt(a.size), tensor
        assert stats.ks_2samp(a[:4000], b[:4000]).pvalue > 1e-6, tensor


@each_workload
def test_model_states_start_alike(name):
    ours = cases.flat_state(name, *cases.initial(name, "jax"))
    theirs = cases.flat_state(name, *cases.initial(name, "pytorch"))
    assert ours.keys() == theirs.keys()
    for tensor, array in ours.items():
        np.testing.assert_array_equal(array, theirs[tensor], err_msg=tensor)
