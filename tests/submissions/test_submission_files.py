"""The registry, the folders, the search spaces and AlgoPerf's format agree with each other."""

import collections
import importlib
import inspect
import json
from pathlib import Path

import optimizers
import pytest
import yaml

from algoperf_api.spec import ParameterType
from submissions.common import data
from submissions.common.hyperparameters import check_point, make_run
from submissions.common.roles import role_of
from submissions.registry import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ("jax", "pytorch")

# AlgoPerf's argument names, in order (its documentation, v0.6).
SIGNATURES = {
    "get_batch_size": ["workload_name"],
    "init_optimizer_state": [
        "workload",
        "model_params",
        "model_state",
        "hyperparameters",
        "rng",
    ],
    "update_params": [
        "workload",
        "current_param_container",
        "current_params_types",
        "model_state",
        "hyperparameters",
        "batch",
        "loss_type",
        "optimizer_state",
        "eval_results",
        "global_step",
        "rng",
        "train_state",
    ],
    "prepare_for_eval": [
        "workload",
        "current_param_container",
        "current_params_types",
        "model_state",
        "hyperparameters",
        "loss_type",
        "optimizer_state",
        "eval_results",
        "global_step",
        "rng",
    ],
    "data_selection": [
        "workload",
        "input_queue",
        "optimizer_state",
        "current_param_container",
        "model_state",
        "hyperparameters",
        "global_step",
        "rng",
    ],
}


def point(**values):
    return collections.namedtuple("Hyperparameters", values)(**values)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_submission_has_algoperfs_functions_and_is_a_shim(name, framework):
    path = ROOT / "submissions" / name / framework / "submission.py"
    assert len(path.read_text().splitlines()) <= 15
    module = importlib.import_module(f"submissions.{name}.{framework}.submission")
    for function, arguments in SIGNATURES.items():
        assert list(inspect.signature(getattr(module, function)).parameters) == arguments


def test_folders_search_spaces_and_registry_name_the_same_optimizers():
    folders = {path.parts[-3] for path in (ROOT / "submissions").glob("*/*/submission.py")}
    spaces = {path.stem for path in (ROOT / "tuning_search_spaces").glob("*.json")}
    assert folders == spaces == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_search_space_is_five_points_of_known_hyperparameters(name):
    points = json.loads((ROOT / "tuning_search_spaces" / f"{name}.json").read_text())
    assert len(points) == 5
    for values in points:
        assert values.keys() == points[0].keys()
        make_run(name, point(**values))


@pytest.mark.parametrize(
    "file",
    sorted((ROOT / "tuning_search_spaces" / "ranges").glob("*.json")),
    ids=lambda file: file.stem,
)
def test_ranges_to_tune_in_are_of_known_hyperparameters(file):
    ranges = json.loads(file.read_text())
    for end in (0, -1):
        values = {
            key: given["feasible_points"][end] if "feasible_points" in given else ends(given)[end]
            for key, given in ranges.items()
        }
        make_run(file.stem, point(**values))


def ends(given):
    """Of a range of numbers."""
    assert given["min"] < given["max"]
    return given["min"], given["max"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_submission_info_has_the_fields_that_the_competition_asks_for(name):
    text = (ROOT / "submissions" / name / "submission_info.yml").read_text()
    fields = yaml.safe_load(text)
    assert fields["submission_name"] == fields["submission_folder"] == name
    for field in ("authors", "affiliations", "version", "ruleset", "framework", "description"):
        assert fields[field].strip()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("asgo", {"beta3": 0.9}, r"asgo has no hyperparameter 'beta3'; it has .*beta2"),
        ("asgo", {"one_minus_rms": 0.9}, r"asgo has no hyperparameter 'one_minus_rms'"),
        ("adamw", {"refresh_every": 3}, r"adamw has no hyperparameter 'refresh_every'"),
        ("adamw", {"beta1": 0.9, "one_minus_beta1": 0.1}, "beta1 and one_minus_beta1 are both"),
        ("adamw", {"learning_rate": 0.0}, r"learning_rate=0.0 must be positive"),
        ("adamw", {"learning_rate": float("nan")}, "learning_rate=nan must be positive"),
        ("adamw", {"learning_rate": "abc"}, "learning_rate='abc' must be positive"),
        ("adamw", {"learning_rate": None}, "learning_rate=None must be positive"),
        ("adamw", {"beta1": 2.0}, r"beta1=2.0 must be in \[0, 1\)"),
        ("adamw", {"eps": -1.0}, r"eps=-1.0 must be non-negative"),
        ("nadamw", {"weight_decay": -1.0}, r"weight_decay=-1.0 must be non-negative"),
        ("nadamw", {"one_minus_beta2": "x"}, "one_minus_beta2='x' is not a number"),
        ("shampoo", {"dropout_rate": 1.0}, r"dropout_rate=1.0 must be in \[0, 1\)"),
        ("shampoo", {"warmup_factor": -0.1}, r"warmup_factor=-0.1 must be in"),
        ("shampoo", {"graft": "none of these"}, "graft='none of these' is not one of adam, sgd"),
        ("shampoo", {"exponent": 0.0}, "exponent=0.0 must be positive"),
        ("shampoo", {"block_size": 0}, "block_size=0 must be an integer of at least 1"),
        ("adamw", {"schedule": "cos"}, "schedule='cos' is not one of cosine, linear, trapezoidal"),
        ("asgo", {"horizon": None}, "horizon=None is not one of step_hint, clock, both"),
        ("asgo", {"ema_decay": 1.0}, r"ema_decay=1.0 must be in \[0, 1\)"),
        ("asgo", {"decay_factor": 0.0}, r"decay_factor=0.0 must be in \(0, 1\)"),
        ("asgo", {"gradient_accumulation_steps": 0}, "steps=0 must be an integer of at least 1"),
        ("asgo", {"gradient_accumulation_steps": 1.5}, "steps=1.5 must be an integer"),
        (
            "adamw",
            {"schedule": "trapezoidal", "warmup_factor": 0.5, "decay_factor": 0.6},
            "warmup_factor=0.5 and decay_factor=0.6 must sum to at most 1",
        ),
        ("asgo", {"grad_clip": 0.0}, r"grad_clip=0.0 must be positive"),
        ("asgo", {"refresh_every": 1.5}, "refresh_every=1.5 must be an integer"),
        ("asgo", {"refresh_every": "abc"}, "refresh_every='abc' must be an integer"),
        ("asgo", {"refresh_every": -1}, "refresh_every=-1 must be an integer of at least 1"),
        ("asgo", {"fallback": "sgd"}, "fallback='sgd' is not one of nadamw, adamw"),
        ("asgo", {"fallback_beta1": 1.0}, r"fallback, NAdamW: beta1=1.0 must be in \[0, 1\)"),
    ],
)
def test_points_that_are_not_for_the_optimizer_are_refused_in_one_line(name, values, message):
    with pytest.raises(ValueError, match=message) as error:
        check_point(name, values)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=message):
        make_run(name, point(**values))


def test_the_submission_checks_points_for_the_runner():
    for name in OPTIMIZERS:
        for framework in FRAMEWORKS:
            module = importlib.import_module(f"submissions.{name}.{framework}.submission")
            module.check_hyperparameters({"learning_rate": 0.1, "weight_decay": 0.1})
            with pytest.raises(ValueError, match="nonsense"):
                module.check_hyperparameters({"nonsense": 0.1})


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", optimizers.NAMES)
def test_hyperparameters_of_the_algorithm_are_checked_before_training(name, framework):
    from tiny_workloads import TinyJax, TinyTorch

    workload = {"jax": TinyJax, "pytorch": TinyTorch}[framework]()
    module = importlib.import_module(f"submissions.{name}.{framework}.submission")
    params = workload.init_model_fn()
    known = OPTIMIZERS[name].hyperparameters
    bad = {"refresh_every": 0, "beta1": 1.0, "one_minus_beta1": 0.0, "momentum": 1.0, "eps": -1.0}
    bad |= {"one_minus_momentum": 0.0}
    bad = {k: v for k, v in bad.items() if k.removeprefix("one_minus_") in known}
    assert len(bad) >= 2
    for key, value in bad.items():
        with pytest.raises(ValueError, match="must be"):
            module.init_optimizer_state(workload, params, None, point(**{key: value}), [0, 0])


def test_one_minus_and_whole_numbers():
    run = make_run("asgo", point(one_minus_beta1=0.25, refresh_every=20.0))
    assert run["beta1"] == 0.75
    assert run["refresh_every"] == 20
    assert isinstance(run["refresh_every"], int)


def test_runs_are_hashable_and_equal_by_value():
    first, second = (make_run("shampoo", point(learning_rate=0.1)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != make_run("shampoo", point(learning_rate=0.2))


def test_self_tuning_runs_on_the_clock_too_and_has_the_longer_budget():
    for nothing in (None, {}, point()):
        run = make_run("asgo", nothing)
        assert (run["horizon"], run.self_tuning) == ("both", True)
    run = make_run("asgo", point(learning_rate=0.1))
    assert (run["horizon"], run.self_tuning) == ("step_hint", False)


def test_batch_sizes():
    assert data.get_batch_size("ogbg_small") == 128
    with pytest.raises(ValueError, match=r"'nonsense'.*ogbg_small"):
        data.get_batch_size("nonsense")


def test_roles_of_parameter_types():
    assert {kind.name: role_of(kind, False) for kind in ParameterType} == {
        "WEIGHT": "matrix",
        "BIAS": "vector",
        "CONV_WEIGHT": "conv",
        "BATCH_NORM_SCALE": "vector",
        "BATCH_NORM_BIAS": "vector",
        "LAYER_NORM_SCALE": "vector",
        "LAYER_NORM_BIAS": "vector",
        "EMBEDDING": "embedding",
        "ATTENTION_Q": "attention_in",
        "ATTENTION_K": "attention_in",
        "ATTENTION_V": "attention_in",
        "ATTENTION_OUT": "attention_out",
        "ATTENTION_QKV": "fused_qkv",
        "ATTENTION_KV": "fused_qkv",
        "ATTENTION_BIAS": "vector",
    }
    assert role_of(ParameterType.WEIGHT, True) == "head"
    assert role_of(ParameterType.BIAS, True) == "vector"
    assert role_of(ParameterType.EMBEDDING, True) == "embedding"
