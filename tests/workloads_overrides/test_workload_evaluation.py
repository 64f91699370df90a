"""Evaluation is exact: whole splits, whatever the batch size. Every workload, both frameworks."""

import functools

import numpy as np
import workload_cases as cases
import workload_models as models
from workload_cases import EVALUATED, SIZE, each_case, each_workload

from workloads_overrides import FRAMEWORKS


@functools.cache
def first_evaluation(name, framework):
    w = cases.workload(name, framework)
    params, state = cases.initial(name, framework)
    rng, folder = cases.key(framework, 0), cases.data_dir(name)
    return w.eval_model(w.eval_batch_size, params, state, rng, folder, None, 0)


@each_case
def test_eval_model_reports_every_split(name, framework):
    """Of a model that has learned nothing, so no target may be reached."""
    w, results = cases.workload(name, framework), first_evaluation(name, framework)
    names = {
        split: {key.split("/")[1] for key in results if key.startswith(split)}
        for split in ("train", "validation", "test")
    }
    assert names["validation"] == names["test"] == names["train"] | {"num_examples"}
    assert {w.target_metric_name, "loss"} <= names["train"]
    assert all(np.isfinite(value) for value in results.values())
    assert all(isinstance(value, float | int) for value in results.values())
    assert results["validation/num_examples"] == w.num_validation_examples
    assert results["test/num_examples"] == w.num_test_examples
    assert w.has_reached_validation_target(results) is False
    assert w.has_reached_test_target(results) is False


@each_workload
def test_both_frameworks_report_the_same_metrics(name):
    keys = [list(first_evaluation(name, framework)) for framework in FRAMEWORKS]
    assert keys[0] == keys[1]


@each_case
def test_metrics_do_not_depend_on_the_batch_size(name, framework):
    """In JAX every size is compiled, so there are few; `Rows` is the same in both."""
    largest = cases.workload(name, framework).eval_batch_size
    sizes = [largest, SIZE] if framework == "jax" else [largest, EVALUATED, 88, SIZE, 7]
    params, state = models.model(name, framework)
    with cases.quick_compilation():
        results = [
            cases.evaluate(name, framework, params, state, EVALUATED, size) for size in sizes
        ]
    for result in results[1:]:
        models.assert_same_metrics(result, results[0], rel=1e-6)


@each_workload
def test_metrics_depend_on_the_rows_that_are_asked_for(name):
    params, state = models.model(name, "pytorch")
    losses = [
        cases.evaluate(name, "pytorch", params, state, count, 64)["loss"] for count in (64, 65, 128)
    ]
    assert len(set(losses)) == 3


@each_workload
def test_evaluations_compile_once(name):
    """Other parameters, and batches of which the last has padding, need no second program."""
    w = cases.workload(name, "jax")
    programs = [getattr(w, p) for p in ("_eval_batch", "_translate") if hasattr(w, p)]
    params, state = models.model(name, "jax")
    others = cases.container(name, "jax", {n: 0.5 * p for n, p in models.values(name).items()})
    with cases.quick_compilation():
        first = cases.evaluate(name, "jax", params, state, EVALUATED, SIZE)
        before = [program._cache_size() for program in programs]
        second = cases.evaluate(name, "jax", others, state, EVALUATED, SIZE)
    assert [program._cache_size() for program in programs] == before
    assert min(before) > 0
    assert first["loss"] != second["loss"]
    assert len(programs) == 1 + ("bleu" in first)
