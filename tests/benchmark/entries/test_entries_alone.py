"""An exported folder, without this repository, trains to the bit as the submission that it is."""

import json

import pytest
from entry_folders import ROOT, SUPPORT, export_entry, run_alone, stub_folder

CODE = """
import collections, hashlib, importlib, itertools, json, sys

framework, steps, runs = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
modules = [importlib.import_module(name) for name, _ in runs]  # bring what tiny_workloads imports
import numpy as np
import tiny_workloads

def train(module, values):
    workload = {"jax": tiny_workloads.TinyJax, "pytorch": tiny_workloads.TinyTorch}[framework]()
    workload.max_allowed_runtime_sec = 100.0
    params, rest = workload.init_model_fn(), None
    point = collections.namedtuple("Hyperparameters", values)(**values) if values else None
    if framework == "jax":
        import jax
        rng = jax.random.PRNGKey(0)
    else:
        rng = [0, 0]
    state = module.init_optimizer_state(workload, params, rest, point, rng)
    queue = tiny_workloads.batches(seed=3)
    for step in range(steps):
        batch = module.data_selection(workload, queue, state, params, rest, point, step, rng)
        state, params, rest = module.update_params(
            workload=workload, current_param_container=params, current_params_types=None,
            model_state=rest, hyperparameters=point, batch=batch, loss_type=workload.loss_type,
            optimizer_state=state, eval_results=[], global_step=step, rng=rng, train_state={},
        )
    shared = dict(
        workload=workload, current_params_types=None, hyperparameters=point, eval_results=[],
        loss_type=workload.loss_type, global_step=steps, rng=rng,
    )
    state, params, rest = module.prepare_for_eval(
        current_param_container=params, model_state=rest, optimizer_state=state, **shared
    )
    digest = hashlib.sha256()
    for key, value in sorted(workload.flat(params).items()):
        digest.update(key.encode() + np.ascontiguousarray(value).tobytes())
    return [digest.hexdigest(), workload.metrics_logger.rows]

trained = [train(module, values) for module, (_, values) in zip(modules, runs)]
outside = {"matprec", "submissions.registry", "submissions.common"} & set(sys.modules)
print(json.dumps([trained, sorted(outside)]))
"""


def trained(runs, framework, path, cwd, steps=3):
    """[[digest of the weights, logged rows] after some steps of each, modules of this repository].

    One process for all `runs`, (module, point): importing takes longer than training.
    """
    done = run_alone(CODE, framework, steps, json.dumps(runs), path=path, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "entries"),
    [
        (
            "jax",
            [("asgo", "external_tuning"), ("soap", "self_tuning"), ("adamw", "external_tuning")],
        ),
        (
            "pytorch",
            [
                ("asgo", "self_tuning"),
                ("caspr", "external_tuning"),
                ("adafactor_original", "external_tuning"),
            ],
        ),
    ],
)
def test_they_train_to_the_bit_as_in_the_repository(tmp_path, framework, entries):
    exported, original = [], []
    for name, ruleset in entries:
        folder = export_entry(tmp_path / "submissions", name, framework, ruleset)
        point = None
        if ruleset == "external_tuning":
            point = json.loads((folder / "tuning_search_space.json").read_text())[0]
        exported.append((f"submissions.{ruleset}.{name}_{framework}.submission", point))
        original.append((f"submissions.{name}.{framework}.submission", point))
    # The workload of the test needs the repository's types, under AlgoPerf's names.
    path = (tmp_path, stub_folder(tmp_path), SUPPORT)
    alone, outside = trained(exported, framework, path, tmp_path)
    here, inside = trained(original, framework, (ROOT, SUPPORT), tmp_path)
    for (name, _), ours, theirs in zip(entries, alone, here, strict=True):
        assert ours == theirs, name
        assert theirs[1] != []
    assert outside == []
    assert inside == ["matprec", "submissions.common", "submissions.registry"]


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_two_entries_live_in_one_process(tmp_path, framework):
    places = [export_entry(tmp_path, name, framework, "self_tuning") for name in ("asgo", "muon")]
    other = {"jax": "torch", "pytorch": "jax"}[framework]
    code = (
        "import importlib, json, sys\n"
        "loaded = [importlib.import_module(f'self_tuning.{name}.submission')"
        " for name in sys.argv[1:]]\n"
        "rows = [sys.modules[f'self_tuning.{name}.registry'].OPTIMIZERS for name in sys.argv[1:]]\n"
        f"print([list(row) for row in rows], {other!r} in sys.modules)"
    )
    path = (tmp_path, stub_folder(tmp_path))
    done = run_alone(code, *(p.name for p in places), path=path, cwd=tmp_path)
    assert done.stdout == "[['asgo'], ['muon']] False\n", done.stderr


def test_without_algoperf_an_entry_says_so(tmp_path):
    from algoperf_api import HAS_ALGOPERF

    if HAS_ALGOPERF:
        pytest.skip("the official harness is installed")
    export_entry(tmp_path, "asgo", "jax", "self_tuning")
    code = "import self_tuning.asgo_jax.submission"
    done = run_alone(code, path=(tmp_path,), cwd=tmp_path)
    assert done.returncode == 1
    assert "No module named 'algoperf'" in done.stderr
