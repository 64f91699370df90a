"""Finished, interrupted and running trials: what is kept, set aside, refused, waited for."""

import json
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from benchmark import trial_folder
from benchmark.errors import UserError
from benchmark.log import write_json
from benchmark.trial import Result

ROOT = Path(trial_folder.__file__).parent.parent
FLAGS = {
    "submission_path": "a.py",
    "tuning_ruleset": "external",
    "max_global_steps": 10,
    "workload": "quadratic",
}
META = {"rng_seed": 3, "workload.step_hint": 20, "workload.validation_target_value": 0.9}
HPARAMS = {"learning_rate": 0.1, "graft": "adam"}


def result(reason="targets_reached", message=""):
    return Result("finished", reason, message, 7, 1.5, 0.5)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "quadratic_jax" / "trial_1"


def finish(folder, flags=FLAGS, meta=META, hparams=HPARAMS, **outcome):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "flags_0.json", flags)
    write_json(folder / "meta_data_0.json", meta)
    if hparams is not None:
        write_json(folder / "hparams.json", hparams)
    trial_folder.write_result(folder, result(**outcome))


WANTED = trial_folder.settings(FLAGS, META, HPARAMS)


def test_workload_folder_is_algoperfs(tmp_path):
    found = trial_folder.workload_folder(tmp_path, "study_0", "ogbg_small", "jax")
    assert found == tmp_path / "study_0" / "ogbg_small_jax"
    assert trial_folder.workload_folder("~", "e", "w", "jax").is_absolute()


def test_result_json_is_the_contract(folder):
    finish(folder)
    assert json.loads((folder / "result.json").read_text()) == {
        "status": "finished",
        "reason": "targets_reached",
        "message": "",
        "global_step": 7,
        "accumulated_submission_time": 1.5,
        "compile_time": 0.5,
        "peak_memory_bytes": None,
    }
    assert trial_folder.read_result(folder) == result()


def test_absent_and_interrupted_trials_are_not_finished(folder):
    assert not trial_folder.finished_with(folder, WANTED)
    folder.mkdir(parents=True)
    (folder / "measurements.csv").write_text("loss\n")
    assert not trial_folder.finished_with(folder, WANTED)


def test_an_error_is_not_finished(folder):
    finish(folder, reason="error", message="x")
    assert not trial_folder.finished_with(folder, WANTED)


@pytest.mark.parametrize("reason", ["targets_reached", "budget", "submission_ended"])
def test_finished_with_the_same_settings_is_kept(folder, reason):
    finish(folder, reason=reason)
    assert trial_folder.finished_with(folder, WANTED)


@pytest.mark.parametrize(
    ("flags", "meta", "hparams", "told"),
    [
        ({"submission_path": "b.py"}, {}, {}, "submission_path=a.py, not b.py"),
        ({"max_global_steps": None}, {}, {}, "max_global_steps=10, not None"),
        ({"tuning_ruleset": "self"}, {}, {}, "tuning_ruleset=external, not self"),
        ({"eval_every_steps": 5}, {}, {}, "eval_every_steps=None, not 5"),
        ({"target_setting": True}, {}, {}, "target_setting=None, not True"),
        ({}, {"rng_seed": 4}, {}, "rng_seed=3, not 4"),
        ({}, {"workload.step_hint": 30}, {}, "workload.step_hint=20, not 30"),
        ({}, {"workload.validation_target_value": 0.8}, {}, "target_value=0.9, not 0.8"),
        ({}, {}, {"learning_rate": 0.2}, "hyperparameters.learning_rate=0.1, not 0.2"),
        ({}, {}, {"beta1": 0.9}, "hyperparameters.beta1=None, not 0.9"),
    ],
)
def test_finished_with_other_settings_is_refused(folder, flags, meta, hparams, told):
    finish(folder)
    wanted = trial_folder.settings(FLAGS | flags, META | meta, HPARAMS | hparams)
    with pytest.raises(UserError) as caught:
        trial_folder.finished_with(folder, wanted)
    message = str(caught.value)
    assert f"{folder} holds a finished run with " in message
    assert told in message
    assert "--overwrite" in message


def test_self_tuning_runs_differ_from_tuned_ones(folder):
    finish(folder, hparams=None)
    assert trial_folder.finished_with(folder, trial_folder.settings(FLAGS, META, None))
    with pytest.raises(UserError, match=r"hyperparameters\.graft=None, not adam"):
        trial_folder.finished_with(folder, WANTED)


def test_no_seed_wanted_agrees_with_every_seed(folder):
    finish(folder)
    assert trial_folder.finished_with(folder, WANTED | {"rng_seed": None})


def test_runs_that_set_targets_do_not_depend_on_targets(folder):
    flags = FLAGS | {"target_setting": True}
    finish(folder, flags=flags)
    meta = META | {"workload.validation_target_value": 0.123, "workload.eval_period_time_sec": 9}
    assert trial_folder.finished_with(folder, trial_folder.settings(flags, meta, HPARAMS))


def test_in_use_makes_an_empty_folder_and_leaves_no_lock(folder):
    with trial_folder.in_use(folder, overwrite=False, wanted=WANTED) as aside:
        assert aside is None
        assert [path.name for path in folder.iterdir()] == ["run.lock"]
        (folder / "log").write_text("x")
    assert [path.name for path in folder.iterdir()] == ["log"]


def test_an_interrupted_trial_is_set_aside_and_marked(folder):
    folder.mkdir(parents=True)
    (folder / "measurements.csv").write_text("loss\n0.5\n")
    (folder / "run.lock").write_text("123")  # left by kill -9
    with trial_folder.in_use(folder, overwrite=False, wanted=WANTED) as aside:
        assert aside == folder.with_name("interrupted_trial_1_1")
        assert [path.name for path in folder.iterdir()] == ["run.lock"]
    assert (aside / "measurements.csv").read_text() == "loss\n0.5\n"
    marked = (aside / "INTERRUPTED").read_text()
    assert "was interrupted" in marked
    assert "replaced by a new run in trial_1" in marked
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", marked)
    assert not re.match(r"trial_(\d+)", aside.name)


def test_several_interruptions_and_errors_are_all_kept(folder):
    for number in (1, 2, 3):
        finish(folder, reason="error", message="out of memory")
        with trial_folder.in_use(folder, overwrite=False, wanted=WANTED) as aside:
            assert aside.name == f"interrupted_trial_1_{number}"
        assert "ended with an error: out of memory" in (aside / "INTERRUPTED").read_text()


def test_overwrite_removes_and_sets_nothing_aside(folder):
    finish(folder)
    with trial_folder.in_use(folder, overwrite=True, wanted=WANTED) as aside:
        assert aside is None
    assert list(folder.parent.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


def test_a_folder_half_removed_is_not_finished(folder, monkeypatch):
    """kill -9 in the middle of --overwrite."""
    finish(folder)

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(trial_folder.shutil, "rmtree", killed)
    with (
        pytest.raises(KeyboardInterrupt),
        trial_folder.in_use(folder, overwrite=True, wanted=WANTED),
    ):
        pass
    assert not trial_folder.finished_with(folder, WANTED)


HOLDER = """
import sys
from pathlib import Path
from benchmark import trial_folder
with trial_folder.in_use(Path(sys.argv[1]), overwrite=False, wanted={"rng_seed": None}):
    (Path(sys.argv[1]) / "measurements.csv").write_text("row")
    print("ready", flush=True)
    sys.stdin.readline()
"""


def hold(folder):
    """A process that uses the folder until it is sent a line."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"ready\n"
    return holder


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_running_trial_is_refused_and_untouched(folder, monkeypatch, overwrite):
    monkeypatch.setattr(trial_folder, "_LOCK_PATIENCE_SEC", 0.2)
    holder = hold(folder)
    try:
        told = re.escape(f"{folder} is in use by another run (process {holder.pid})")
        with pytest.raises(UserError, match=told), trial_folder.in_use(folder, overwrite, WANTED):
            pass
        assert (folder / "measurements.csv").read_text() == "row"
    finally:
        holder.kill()
        holder.wait()


def test_a_killed_trial_is_taken_over_at_once(folder):
    holder = hold(folder)
    holder.kill()
    holder.wait()
    with trial_folder.in_use(folder, overwrite=False, wanted=WANTED) as aside:
        assert (aside / "measurements.csv").read_text() == "row"


@pytest.fixture
def ending(folder, monkeypatch):
    """A process that uses the folder and ends as soon as somebody has found it in use."""
    monkeypatch.setattr(trial_folder, "_LOCK_PATIENCE_SEC", 60.0)
    holder = hold(folder)
    waits = []

    def end(seconds):
        if not waits:
            holder.communicate(b"end\n", timeout=60)
        waits.append(seconds)

    clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=end)
    monkeypatch.setattr(trial_folder, "time", clock)
    yield waits
    holder.kill()
    holder.wait()


def test_a_trial_that_is_just_ending_is_waited_for(folder, ending):
    with trial_folder.in_use(folder, overwrite=False, wanted=WANTED) as aside:
        assert len(ending) == 1
        assert aside == folder.with_name("interrupted_trial_1_1")


def test_a_run_finished_while_waiting_for_it_is_kept(folder, ending):
    finish(folder)
    before = sorted(path.name for path in folder.iterdir())
    with trial_folder.in_use(folder, overwrite=False, wanted=WANTED) as kept:
        assert kept == result()
    assert len(ending) == 1
    assert sorted([*(path.name for path in folder.iterdir()), "run.lock"]) == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_run_finished_meanwhile_with_other_settings_is_refused(folder, ending):
    finish(folder, meta=META | {"rng_seed": 4})
    with (
        pytest.raises(UserError, match="rng_seed=4, not 3"),
        trial_folder.in_use(folder, overwrite=False, wanted=WANTED),
    ):
        pass
    assert trial_folder.read_result(folder) == result()


def test_errors_in_the_body_come_through_and_free_the_folder(folder):
    with (
        pytest.raises(FileNotFoundError),
        trial_folder.in_use(folder, overwrite=False, wanted=WANTED),
    ):
        raise FileNotFoundError("from the body")
    with trial_folder.in_use(folder, overwrite=False, wanted=WANTED):
        pass
