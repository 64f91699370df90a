"""The parameters of official workloads, as they were read from the harness."""

import collections
import importlib.util
import json
import math
from pathlib import Path

import pytest

from algoperf_api.spec import ParameterType
from workloads_overrides import shapes
from workloads_overrides.shapes import harness

FRAMEWORKS = ("jax", "pytorch")
# Read from the same models by other code.
DESIGN = Path(__file__).parents[3] / "shared" / "design" / "param_shapes.json"

needs_harness = pytest.mark.skipif(
    importlib.util.find_spec("submission_runner") is None, reason="needs AlgoPerf's harness"
)


def count(workload: str, framework: str) -> int:
    return sum(math.prod(parameter.shape) for parameter in shapes.load(workload, framework))


def test_every_workload_of_the_benchmark_is_there():
    assert shapes.workloads() == sorted(harness.WORKLOADS)
    assert len(shapes.workloads()) == 8


@pytest.mark.parametrize("workload", harness.WORKLOADS)
def test_both_frameworks_have_the_same_number_of_parameters(workload):
    # PyTorch's LSTMs, six in two directions, have a second bias of 4 x 256.
    extra = 6 * 2 * 1024 if workload == "librispeech_deepspeech" else 0
    assert count(workload, "jax") + extra == count(workload, "pytorch")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("workload", harness.WORKLOADS)
def test_what_a_table_holds(workload, framework):
    table = shapes.load(workload, framework)
    paths = [parameter.path for parameter in table]
    assert len(set(paths)) == len(paths)
    separator = {"jax": "/", "pytorch": "."}[framework]
    assert any(separator in path for path in paths)
    assert not any(path.startswith(("module.", "_orig_mod.")) for path in paths)
    for parameter in table:
        assert isinstance(parameter.type, ParameterType)
        assert all(side > 0 for side in parameter.shape)
    outputs = [parameter for parameter in table if parameter.is_output]
    assert len(outputs) < len(table) / 4


@pytest.mark.parametrize("workload", harness.WORKLOADS)
def test_the_source_is_named(workload):
    source = json.loads((shapes.FOLDER / f"{workload}.json").read_text())["source"]
    assert source["commit"] == "2c90454f"
    assert source["repository"].endswith("mlcommons/algorithmic-efficiency")
    assert (source["jax"], source["torch"]) == ("0.7.0", "2.5.1")


def test_facts_that_the_submissions_rest_on():
    # The largest tensors: one table in JAX, four in PyTorch, which names no type for them.
    table = {parameter.path: parameter for parameter in shapes.load("criteo1tb", "jax")}
    assert table["embedding_table"].shape == (4_194_304, 128)
    assert table["embedding_table"].type is ParameterType.EMBEDDING
    chunks = [p for p in shapes.load("criteo1tb", "pytorch") if "embedding" in p.path]
    assert [chunk.shape for chunk in chunks] == [(1_048_576, 128)] * 4
    assert {chunk.type for chunk in chunks} == {ParameterType.WEIGHT}
    # An embedding that is the head as well.
    (shared,) = [p for p in shapes.load("wmt", "pytorch") if p.is_output]
    assert (shared.path, shared.type) == ("shared_embedding.weight", ParameterType.EMBEDDING)
    # The harness asks for a layer of ogbg's that the JAX model has not.
    assert not any(parameter.is_output for parameter in shapes.load("ogbg", "jax"))
    assert any(parameter.is_output for parameter in shapes.load("ogbg", "pytorch"))


def test_an_unknown_workload():
    with pytest.raises(ValueError, match=r"no shapes of workload 'cats'; known: criteo1tb, "):
        shapes.load("cats", "jax")


@pytest.mark.skipif(not DESIGN.is_file(), reason="no second list of shapes beside the repository")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("workload", ["ogbg", "wmt", "imagenet_resnet", "imagenet_vit"])
def test_against_an_independent_list(workload, framework):
    expected = collections.Counter()
    for row in json.loads(DESIGN.read_text())[workload][framework]:
        expected[tuple(row["shape"]), row["type"]] += row["count"]
    found = collections.Counter(
        (parameter.shape, parameter.type.name) for parameter in shapes.load(workload, framework)
    )
    assert found == expected


@pytest.mark.official
@needs_harness
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("workload", ["ogbg", "fastmri"])
def test_against_the_installed_harness(workload, framework):
    read = [
        shapes.Parameter(path, tuple(shape), ParameterType[kind], is_output)
        for path, shape, kind, is_output in harness.read(workload, framework)
    ]
    assert tuple(read) == shapes.load(workload, framework)


@pytest.mark.official
@needs_harness
def test_a_written_file_is_read_back(tmp_path, monkeypatch):
    harness.write("ogbg", tmp_path, "abc")
    written = json.loads((tmp_path / "ogbg.json").read_text())
    kept = json.loads((shapes.FOLDER / "ogbg.json").read_text())
    assert written["source"]["commit"] == "abc"
    assert (written["jax"], written["pytorch"]) == (kept["jax"], kept["pytorch"])


@pytest.mark.skipif(
    importlib.util.find_spec("algoperf") is not None, reason="AlgoPerf's harness is installed"
)
def test_without_a_harness_nothing_is_read():
    with pytest.raises(ModuleNotFoundError, match="algoperf is not installed"):
        harness.read("ogbg", "jax")
