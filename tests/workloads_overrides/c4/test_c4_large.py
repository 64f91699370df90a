"""The C4 workloads of full size: constants, targets, parameters, and which data they accept."""

import importlib
import inspect
import json
import logging
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from c4_cases import BYTES, DATA_RNG, write_corpus
from c4_large_cases import COUNTS, NAMES, TINY_CLASSES, with_targets, workload

from algoperf_api import own_spec, param_utils, spec
from workloads_overrides import FRAMEWORKS, WORKLOADS, DataError, budgets
from workloads_overrides.c4 import constants
from workloads_overrides.c4.sizes import SIZES

BUDGET = ("max_allowed_runtime_sec", "eval_period_time_sec", "step_hint")
FILES = {"c4_60m": "targets_60m.json", "c4": "targets_130m.json", "c4_350m": "targets_350m.json"}
OTHER_SHA = "f00" * 21 + "d"

each_name = pytest.mark.parametrize("name", NAMES)
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.fixture(autouse=True)
def _nothing_has_been_told():
    constants._warn_once.cache_clear()


@each_name
@each_framework
def test_constants_are_those_of_the_table(name, framework):
    w, size = workload(name, framework), SIZES[name]
    assert isinstance(w, spec.Workload)
    assert not type(w).__abstractmethods__
    assert type(w).__name__ == WORKLOADS[name]["workload_class_name"]
    counts = {split: getattr(w, f"num_{split}_examples") for split in size.rows}
    assert counts == size.rows
    assert w.num_eval_train_examples == 10_240 <= counts["train"]
    assert w.eval_batch_size == size.eval_batch_size
    assert w.model_config == size.model
    assert w.context_length == 256
    assert w.target_metric_name == "loss"
    assert not w.has_reached_validation_target({"validation/loss": 0.0})  # none is measured yet
    assert w.compute_dtype == "auto"
    assert w.prefetched_batches == 2
    assert w.targets_path.name == FILES[name]


@each_name
def test_evaluation_splits_are_whole_batches(name):
    w = workload(name, "jax")
    for split in ("eval_train", "validation", "test"):
        assert getattr(w, f"num_{split}_examples") % w.eval_batch_size == 0


def test_the_small_workload_shares_none_of_it():
    for framework in FRAMEWORKS:
        w = workload("c4_small", framework)
        assert not isinstance(w, constants.LargeC4Workload)
        assert (w.compute_dtype, w.prefetched_batches) == ("float32", 0)


@each_framework
def test_signatures_are_algoperfs(framework):
    w = workload("c4", framework)
    for name in own_spec.Workload.__abstractmethods__:
        theirs = getattr(own_spec.Workload, name)
        if not isinstance(theirs, property):
            ours = inspect.signature(getattr(type(w), name)).parameters
            assert list(ours) == list(inspect.signature(theirs).parameters), name


@each_name
@each_framework
def test_budgets_are_the_rule_sets_while_targets_are_provisional(name, framework):
    w = workload(name, framework)
    content = json.loads(w.targets_path.read_text())
    assert content["status"] == w.target_status == "provisional"
    assert not set(BUDGET) & set(content)
    expected = budgets.load("2026_4xA100").workloads[name].properties
    assert {member: getattr(w, member) for member in BUDGET} == expected
    assert w.validation_target_value == content["validation_target_value"]
    assert w.test_target_value == content["test_target_value"]
    assert w.step_hint * 512 == w.num_train_examples


@each_framework
def test_measured_targets_bring_a_budget(tmp_path, framework):
    measured = dict(zip(BUDGET, (7, 5, 3), strict=True))
    w = with_targets(tmp_path, framework, status="measured", **measured)
    assert {member: getattr(w, member) for member in BUDGET} == measured
    assert w.target_status == "measured"


def test_a_budget_can_be_read_without_an_object():
    """As `register` does, which reads those of AlgoPerf's workloads in this way too."""
    for framework in FRAMEWORKS:
        cls = type(workload("c4_350m", framework))
        assert object.__new__(cls).step_hint == 60_000


@each_name
def test_numbers_of_parameters_in_both_frameworks(name):
    """None of them is made."""
    ours, theirs = (workload(name, framework) for framework in FRAMEWORKS)
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    inputs = ours._model_inputs(ours._example_batch())
    init = lambda key: ours._model.init({"params": key}, *inputs, False, 0.0)  # noqa: E731
    params = jax.eval_shape(init, key)["params"]
    with torch.device("meta"):
        model = theirs._make_model()
    expected = ours.model_config.tensors()
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    shapes = {"/".join(key.key for key in path): leaf.shape for path, leaf in flat}
    assert shapes == {path: tensor.shape for path, tensor in expected.items()}
    assert {leaf.dtype for _, leaf in flat} == {np.dtype(np.float32)}
    assert sum(leaf.size for _, leaf in flat) == COUNTS[name]
    assert sum(p.numel() for p in model.parameters()) == theirs.num_parameters() == COUNTS[name]
    assert len(list(model.parameters())) == len(expected)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    types = Counter(
        jax.tree.leaves(param_utils.jax_param_types(param_utils.jax_param_shapes(params)))
    )
    other = param_utils.pytorch_param_types(param_utils.pytorch_param_shapes(model))
    assert types == Counter(other.values())
    assert types[spec.ParameterType.EMBEDDING] == 1
    assert types[spec.ParameterType.ATTENTION_Q] == ours.model_config.layers
    assert model.rope.shape == (2, 256, ours.model_config.hidden // ours.model_config.heads // 2)


@each_framework
def test_objects_are_static_arguments(framework):
    first, second = workload("c4_60m", framework), workload("c4_60m", framework)
    assert len({first, second, first}) == 2
    traced = jax.jit(lambda w, x: x + w.context_length, static_argnums=0)
    assert [int(traced(w, 1)) for w in (first, first, second)] == [257] * 3
    assert traced._cache_size() == 2


class TestData:
    """Which is accepted."""

    @pytest.fixture(params=FRAMEWORKS)
    def framework(self, request):
        return request.param

    def train(self, w, data_dir):
        return next(w._build_input_queue(DATA_RNG, "train", str(data_dir), 4))

    def refusal(self, w, data_dir, split="train"):
        with pytest.raises(DataError) as caught:
            w._build_input_queue(DATA_RNG, split, str(data_dir), 4)
        line = str(caught.value)
        assert "\n" not in line
        remedy = f"python scripts/prepare_c4.py --workload=c4_60m --data_dir={data_dir}"
        assert remedy in line
        return line

    def test_any_tokenizer_while_targets_are_provisional(self, framework, tmp_path, caplog):
        write_corpus(tmp_path)
        w = TINY_CLASSES[framework]()
        with caplog.at_level(logging.INFO):
            for split in ("train", "validation", "eval_train"):
                next(w._build_input_queue(DATA_RNG, split, str(tmp_path), 4))
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        line = record.getMessage()
        for part in (str(tmp_path / "c4"), BYTES.sha256, w._targets["tokenizer_sha256"]):
            assert part in line
        assert "\n" not in line

    def test_nothing_is_told_of_the_tokenizer_that_targets_are_meant_for(
        self, framework, tmp_path, caplog
    ):
        write_corpus(tmp_path)
        w = with_targets(tmp_path, framework, tokenizer_sha256=BYTES.sha256)
        self.train(w, tmp_path)
        assert not caplog.records

    def test_measured_targets_hold_for_one_tokenizer(self, framework, tmp_path):
        write_corpus(tmp_path)
        w = with_targets(tmp_path, framework, status="measured", tokenizer_sha256=OTHER_SHA)
        line = self.refusal(w, tmp_path)
        assert f"the tokenizer byte of sha256 {BYTES.sha256}" in line
        assert OTHER_SHA in line
        facts = {"status": "measured", "tokenizer_sha256": BYTES.sha256}
        self.train(with_targets(tmp_path, framework, **facts), tmp_path)

    def test_measured_targets_hold_for_one_layout(self, framework, tmp_path):
        write_corpus(tmp_path, row_tokens=17)
        facts = {"status": "measured", "tokenizer_sha256": BYTES.sha256}
        line = self.refusal(with_targets(tmp_path, framework, layout="packed", **facts), tmp_path)
        assert "layout 'truncated', but the targets were set with 'packed'" in line
        for layout in ({"layout": "truncated"}, {}):
            self.train(with_targets(tmp_path, framework, **layout, **facts), tmp_path)

    def test_runs_that_set_targets_take_any(self, framework, tmp_path):
        write_corpus(tmp_path, row_tokens=17)
        facts = {"status": "measured", "tokenizer_sha256": OTHER_SHA, "layout": "packed"}
        w = with_targets(tmp_path, framework, **facts)
        w.accept_any_data()
        self.train(w, tmp_path)
        self.refusal(with_targets(tmp_path, framework, **facts), tmp_path)  # others do not

    def test_the_tokenizer_may_be_set(self, framework, tmp_path):
        write_corpus(tmp_path)
        w = TINY_CLASSES[framework]()
        assert w.tokenizer_sha256 is None
        w.tokenizer_sha256 = OTHER_SHA
        assert OTHER_SHA in self.refusal(w, tmp_path)

    def test_what_is_written_down_with_targets_is_what_is_demanded_later(self, framework, tmp_path):
        write_corpus(tmp_path)
        facts = TINY_CLASSES[framework]().data_facts(tmp_path)
        assert facts == {
            "tokenizer": "byte",
            "tokenizer_sha256": BYTES.sha256,
            "layout": "packed",
        }
        assert json.loads(json.dumps(facts)) == facts
        w = with_targets(tmp_path, framework, status="measured", **facts)
        assert (w.tokenizer_sha256, w.layout) == (BYTES.sha256, "packed")
        self.train(w, tmp_path)

    def test_a_vocabulary_beyond_the_models_never(self, framework, tmp_path):
        write_corpus(tmp_path, vocab_size=259)
        w = TINY_CLASSES[framework]()
        w.accept_any_data()
        line = self.refusal(w, tmp_path)
        assert "259" in line
        assert "258" in line

    def test_no_data(self, framework, tmp_path):
        assert f"{tmp_path / 'c4' / 'meta.json'} is missing" in self.refusal(
            TINY_CLASSES[framework](), tmp_path
        )

    def test_too_few_rows(self, framework, tmp_path):
        write_corpus(tmp_path)
        w = TINY_CLASSES[framework]()
        w.train_rows = 1000
        line = self.refusal(w, tmp_path)
        assert f"{tmp_path / 'c4'} (train_00000.bin to train_" in line
        assert "1000 rows of 16 are needed" in line

    def test_a_truncated_shard(self, framework, tmp_path):
        write_corpus(tmp_path)
        path = tmp_path / "c4" / "test_00000.bin"
        size = path.stat().st_size
        path.write_bytes(path.read_bytes()[:-3])
        line = self.refusal(TINY_CLASSES[framework](), tmp_path, "test")
        assert f"{path} has {size - 3} bytes, but meta.json says {size}" in line


@each_framework
def test_rows_may_be_changed_on_an_object(framework, tmp_path):
    """As `--smoke_batch_size` does; other objects keep theirs."""
    write_corpus(tmp_path)
    w, other = TINY_CLASSES[framework](), TINY_CLASSES[framework]()
    batches = w._build_input_queue(DATA_RNG, "validation", str(tmp_path), 8)
    assert len(w._rows("validation", str(tmp_path))) == 21
    sizes = {"train_rows": 24, "eval_train_rows": 3, "validation_rows": 4, "test_rows": 2}
    for attribute, rows in {**sizes, "eval_rows_per_batch": 4}.items():
        setattr(w, attribute, rows)
    for split in ("train", "eval_train", "validation", "test"):
        assert len(w._rows(split, str(tmp_path))) == sizes[f"{split}_rows"]
        assert getattr(w, f"num_{split}_examples") == sizes[f"{split}_rows"]
        assert len(other._rows(split, str(tmp_path))) == getattr(
            TINY_CLASSES[framework], f"{split}_rows"
        )
    assert w.eval_batch_size == 4
    assert next(batches)["weights"].sum() == 8 * 16


@each_framework
def test_rows_may_come_from_a_property(framework, tmp_path):
    write_corpus(tmp_path)

    class Fewer(TINY_CLASSES[framework]):
        num_validation_examples = 6

    assert len(Fewer()._rows("validation", str(tmp_path))) == 6


def test_classes_are_where_algoperf_looks_for_them():
    for framework in FRAMEWORKS:
        module = importlib.import_module(f"workloads_overrides.c4.c4_{framework}.workload")
        for name in (*NAMES, "c4_130m"):
            entry = WORKLOADS[name]
            assert entry["workload_path"] == "c4/c4"
            cls = getattr(module, entry["workload_class_name"])
            assert cls.size == ("c4" if name == "c4_130m" else name)
            assert cls.__bases__[1] in vars(module).values(), "all that computes is shared"
    assert TINY_CLASSES["jax"].size == "c4_60m"
