"""The whole procedure on the fake workload: what runs, what is written."""

import dataclasses
import json
from pathlib import Path

import pytest
from fakes import in_process, repository
from fakes.reports import RecordingReporter

from benchmark import target_setting
from benchmark.errors import UserError
from benchmark.hardware import Gpu
from benchmark.runs import Place
from benchmark.target_setting import Procedure, Setting, set_targets

SPACE = {"learning_rate": {"min": 0.02, "max": 0.06, "scaling": "log"}}


@pytest.fixture
def setting(fake_root, tmp_path, monkeypatch):
    monkeypatch.setattr(target_setting, "execute", in_process.execute)
    for name in target_setting.BASELINES:
        folder = fake_root / "submissions" / name / "jax"
        folder.mkdir(parents=True)
        (folder / "submission.py").write_text(repository.SUBMISSION)
    (fake_root / "space.json").write_text(json.dumps(SPACE))
    return Setting(
        workload="quadratic",
        framework="jax",
        experiment_dir=str(tmp_path / "experiments"),
        experiment_name="targets",
        data_dir=str(fake_root / "data"),
        tuning_search_space=str(fake_root / "space.json"),
        num_trials=2,
        num_seeds=1,
        step_hint=40,
        eval_every_steps=10,
    )


def settings_of(folder: Path) -> dict:
    flags = json.loads((folder / "flags_0.json").read_text())
    meta = json.loads((folder / "meta_data_0.json").read_text())
    names = ("max_global_steps", "eval_every_steps", "target_setting")
    return {name: flags[name] for name in names} | {
        "rng_seed": meta["rng_seed"],
        "step_hint": meta["workload.step_hint"],
    }


def test_the_procedure_then_once_more_with_everything_kept(setting, fake_root):
    place = repository.place(fake_root)
    outcome = set_targets(setting, "the command", RecordingReporter(), place)
    content, provenance = outcome.content, outcome.content["provenance"]

    # Search and repetitions have three quarters of the horizon, the race has all of it.
    trials = sorted(setting.path.glob("*/*/study_*/quadratic_jax/trial_*"))
    stages: dict[str, list[Path]] = {}
    for trial in trials:
        stages.setdefault(trial.relative_to(setting.path).parts[0], []).append(trial)
    assert {stage: len(folders) for stage, folders in stages.items()} == {
        "search": 4,
        "repeat": 1,
        "race": 2,
    }
    common = {"eval_every_steps": 10, "target_setting": True}
    short = common | {"max_global_steps": 30, "step_hint": 30}
    for trial in stages["search"]:
        assert settings_of(trial) == short | {"rng_seed": 0}
    assert settings_of(stages["repeat"][0]) == short | {"rng_seed": 1}
    for trial in stages["race"]:
        assert settings_of(trial) == common | {
            "max_global_steps": 40,
            "step_hint": 40,
            "rng_seed": 1,
        }

    # The larger learning rate is better here; both baselines are the same, so the first wins.
    searched = provenance["search"]
    assert set(searched) == {"adamw", "nadamw"}
    rates = [run["hyperparameters"]["learning_rate"] for run in searched["adamw"]]
    assert rates == [run["hyperparameters"]["learning_rate"] for run in searched["nadamw"]]
    best = max(rates)
    assert provenance["winner"] == {
        "baseline": "adamw",
        "hyperparameters": {"learning_rate": best},
    }
    for name in ("adamw", "nadamw"):
        assert outcome.searches[name]["search"] == searched[name]
        assert outcome.searches[name]["workload"] == "quadratic"
    assert content["status"] == "measured"
    assert content["validation_target_value"] == provenance["repeats"][0]["best_validation"]
    assert content["test_target_value"] == provenance["repeats"][0]["best_test"]
    assert content["step_hint"] == 40
    assert content["found"] == setting.data_dir  # what the workload tells of the data
    for name in ("adamw", "nadamw"):
        race = provenance["steps_to_target"][name]
        assert race["reached"] == 1  # with the same seed and a constant rate: as the repetition
        assert race["steps_to_validation_target"]["median"] == 30
    assert provenance["command"] == "the command"
    assert provenance["tuning_search_space"] == "space.json"
    assert "4/3" in provenance["procedure"]
    assert provenance["versions"]["jax"]
    json.dumps(content, allow_nan=False)

    # Again: nothing runs, and the same numbers come out, whatever targets the workload has by now.
    before = [(trial / "result.json").stat().st_mtime_ns for trial in trials]
    reporter = RecordingReporter()
    again = set_targets(setting, "the command", reporter, place).content
    assert before == [(trial / "result.json").stat().st_mtime_ns for trial in trials]
    again["provenance"]["date"] = provenance["date"]
    assert again == content
    assert len([note for note in reporter.notes if "finished before and kept" in note]) == 7


def test_a_diverging_point_is_an_outcome_and_a_failing_repetition_a_failure(setting, fake_root):
    space = SPACE | {"fail_at": {"feasible_points": [1, 15]}}
    (fake_root / "space.json").write_text(json.dumps(space))
    place = repository.place(fake_root)
    with pytest.raises(UserError, match="1 runs failed; the first, repeat adamw seed 1: Floating"):
        set_targets(setting, "", RecordingReporter(), place)
    results = [
        json.loads(path.read_text())
        for path in sorted(setting.path.glob("search/*/study_0/quadratic_jax/trial_*/result.json"))
    ]
    assert [result["reason"] for result in results] == ["error"] * 4


NUMBERS = ["num_trials", "num_seeds", "jobs", "step_hint", "eval_every_steps", "smoke_batch_size"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_below_1_are_refused(setting, name):
    with pytest.raises(UserError, match=f"--{name}=0; allowed: >= 1"):
        set_targets(dataclasses.replace(setting, **{name: 0}), "", RecordingReporter(), Place())


@pytest.mark.parametrize(
    ("step_hint", "asked", "steps"), [(40, None, 20), (600, None, 20), (9000, None, 90), (40, 7, 7)]
)
def test_steps_between_evaluations(setting, fake_root, step_hint, asked, steps):
    changed = dataclasses.replace(setting, step_hint=step_hint, eval_every_steps=asked)
    procedure = Procedure(changed, RecordingReporter(), repository.place(fake_root))
    assert procedure.eval_every_steps == steps
    assert procedure.facts("")["eval_every_steps"] == steps


def test_gpus_are_written_down(setting, fake_root, monkeypatch):
    gpus = (Gpu("0", "GPU-a", "NVIDIA A100", 40.0),) * 4
    monkeypatch.setattr(target_setting, "gpus_for", lambda framework: gpus)
    place = repository.place(fake_root)
    facts = Procedure(setting, RecordingReporter(), place).facts("")
    assert (facts["cpu_cores_per_run"], "gpus_per_run" in facts) == (1, False)
    place = dataclasses.replace(place, count_gpus=lambda *_: 4)
    facts = Procedure(setting, RecordingReporter(), place).facts("")
    assert facts["gpus_per_run"] == "4x NVIDIA A100 (40 GiB)"
    assert "cpu_cores_per_run" not in facts


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ogbg_small", "small/ogbg/targets.json"),
        ("c4_small", "small/c4/targets.json"),
        ("c4_60m", "c4/targets_60m.json"),
        ("c4", "c4/targets_130m.json"),
        ("c4_130m", "c4/targets_130m.json"),
        ("c4_350m", "c4/targets_350m.json"),
    ],
)
def test_targets_lie_beside_their_workload(name, file):
    path = target_setting.targets_file(name)
    assert path.is_file()
    assert path.as_posix().endswith(f"/workloads_overrides/{file}")
    assert target_setting.targets_file(name, "jax") == path
