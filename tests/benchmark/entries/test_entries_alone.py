"""An exported folder, without this repository, trains to the bit as the submission that it is."""

import json

import pytest
from entry_folders import ROOT, SUPPORT, export_entry, run_alone, stub_folder

CODE = """
import collections, hashlib, importlib, itertools, json, sys

name, space, steps, framework = sys.argv[1:]
module = importlib.import_module(name)
import numpy as np
import tiny_workloads

workload = {"jax": tiny_workloads.TinyJax, "pytorch": tiny_workloads.TinyTorch}[framework]()
workload.max_allowed_runtime_sec = 100.0
params, rest = workload.init_model_fn(), None
values = json.loads(space)
point = collections.namedtuple("Hyperparameters", values)(**values) if values else None
if framework == "jax":
    import jax
    rng = jax.random.PRNGKey(0)
else:
    rng = [0, 0]
state = module.init_optimizer_state(workload, params, rest, point, rng)
queue = tiny_workloads.batches(seed=3)
for step in range(int(steps)):
    batch = module.data_selection(workload, queue, state, params, rest, point, step, rng)
    state, params, rest = module.update_params(
        workload=workload, current_param_container=params, current_params_types=None,
        model_state=rest, hyperparameters=point, batch=batch, loss_type=workload.loss_type,
        optimizer_state=state, eval_results=[], global_step=step, rng=rng, train_state={},
    )
shared = dict(
    workload=workload, current_params_types=None, hyperparameters=point, eval_results=[],
    loss_type=workload.loss_type, global_step=int(steps), rng=rng,
)
state, params, rest = module.prepare_for_eval(
    current_param_container=params, model_state=rest, optimizer_state=state, **shared
)
digest = hashlib.sha256()
for key, value in sorted(workload.flat(params).items()):
    digest.update(key.encode() + np.ascontiguousarray(value).tobytes())
outside = {"matprec", "submissions.registry", "submissions.common"} & set(sys.modules)
print(json.dumps([digest.hexdigest(), sorted(outside), workload.metrics_logger.rows]))
"""


def trained(name, point, framework, path, cwd, steps=3):
    """[digest of the weights, modules of this repository, logged rows] after some steps."""
    done = run_alone(CODE, name, json.dumps(point), steps, framework, path=path, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "framework", "ruleset"),
    [
        ("asgo", "jax", "external_tuning"),
        ("asgo", "pytorch", "self_tuning"),
        ("caspr", "pytorch", "external_tuning"),
        ("soap", "jax", "self_tuning"),
        ("adamw", "jax", "external_tuning"),
        ("adafactor_original", "pytorch", "external_tuning"),
    ],
)
def test_it_trains_to_the_bit_as_in_the_repository(tmp_path, name, framework, ruleset):
    folder = export_entry(tmp_path / "submissions", name, framework, ruleset)
    point = None
    if ruleset == "external_tuning":
        point = json.loads((folder / "tuning_search_space.json").read_text())[0]
    # The workload of the test needs the repository's types, under AlgoPerf's names.
    alone = trained(
        f"submissions.{ruleset}.{name}_{framework}.submission",
        point,
        framework,
        (tmp_path, stub_folder(tmp_path), SUPPORT),
        tmp_path,
    )
    here = trained(
        f"submissions.{name}.{framework}.submission", point, framework, (ROOT, SUPPORT), tmp_path
    )
    assert alone[0] == here[0]
    assert alone[2] == here[2] != []
    assert alone[1] == []
    assert here[1] == ["matprec", "submissions.common", "submissions.registry"]


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
