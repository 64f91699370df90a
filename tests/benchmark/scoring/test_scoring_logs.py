"""Finding the trials of a log tree and reading what they say of themselves."""

import json
from pathlib import Path

import pytest
from log_trees import race, trial_dir, write_trial

from benchmark.errors import UserError
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import TrialDir, find_trials, read_trial
from benchmark.scoring.selection import select_trials


def find(root: Path) -> list[TrialDir]:
    """The trials of a tree in which nothing is wrong."""
    findings = Findings()
    found = find_trials(root, findings)
    assert findings.texts == ()
    return found


def test_finds_trials_and_nothing_else(tmp_path: Path):
    race(tmp_path, {"b": [1, 1], "a": [1]})
    folder = trial_dir(tmp_path, "a")
    write_trial(folder.with_name("interrupted_trial_1_1"), [1.0])
    write_trial(tmp_path / "report" / "plots", [1.0])
    (tmp_path / "scores.csv").write_text("")
    found = find(tmp_path)
    assert [(f.submission, f.workload, f.framework, f.study, f.trial) for f in found] == [
        ("a", "toy", "jax", 0, 1),
        ("b", "toy", "jax", 0, 1),
        ("b", "toy", "jax", 1, 1),
    ]
    assert found[0].name == "a/study_0/toy_jax/trial_1"
    assert found[0].path == folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("study_0/toy_tensorflow", "<workload>_<jax|pytorch>"),
        ("study_0/toy", "<workload>_<jax|pytorch>"),
        ("study_0/_jax", "<workload>_<jax|pytorch>"),
        ("study_0/toy_jax_", "<workload>_<jax|pytorch>"),
        ("study_0/toy_JAX", "<workload>_<jax|pytorch>"),
        ("study_one", "study_<i>"),
        ("study_", "study_<i>"),
        ("study_-1", "study_<i>"),
        ("study_1 ", "study_<i>"),
        ("study_0/toy_jax/trial_x", "trial_<j>"),
        ("study_0/toy_jax/trial_1.5", "trial_<j>"),
        ("study_0/toy_jax/trial_" + "9" * 25, "trial_<j>"),
    ],
)
def test_folders_that_look_like_logs_and_are_none_are_told(
    tmp_path: Path, name: str, expected: str
):
    race(tmp_path, {"a": [1]})
    (tmp_path / "a" / name).mkdir(parents=True)
    findings = Findings()
    assert len(find_trials(tmp_path, findings)) == 1
    assert findings.left_out == (f"{tmp_path}/a/{name}: not {expected}; ignored".rstrip(),)


@pytest.mark.parametrize("name", ["study_1", "study_0/other_jax"])
def test_empty_folders_are_told(tmp_path: Path, name: str):
    race(tmp_path, {"a": [1]})
    (tmp_path / "a" / name).mkdir()
    findings = Findings()
    assert len(find_trials(tmp_path, findings)) == 1
    (told,) = findings.left_out
    assert told.startswith(f"{tmp_path}/a/{name}: no ")


def test_trials_are_in_the_order_of_their_numbers(tmp_path: Path):
    for trial in (10, 2, 1):
        write_trial(trial_dir(tmp_path, "a", trial=trial), [1.0])
    assert [found.trial for found in find(tmp_path)] == [1, 2, 10]


def test_workload_names_may_hold_underscores_and_framework_names(tmp_path: Path):
    write_trial(tmp_path / "a" / "study_0" / "jax_small_pytorch" / "trial_1", [1.0])
    (found,) = find(tmp_path)
    assert (found.workload, found.framework) == ("jax_small", "pytorch")


def read_one(tmp_path: Path) -> tuple[tuple[str, ...], dict]:
    """What was left out, and the JSON files of the one trial."""
    (where,) = find(tmp_path)
    findings = Findings()
    trial = read_trial(where, tmp_path, findings)
    assert findings.left_out == findings.texts
    return findings.left_out, {k: getattr(trial, k) for k in ("meta", "flags", "hparams", "result")}


def test_json_files_beside_the_csv(tmp_path: Path):
    folder = write_trial(trial_dir(tmp_path, "a"), [0.1], meta={"rng_seed": 1})
    (folder / "meta_data_2.json").write_text(json.dumps({"rng_seed": 2}))
    (folder / "meta_data_10.json").write_text(json.dumps({"rng_seed": 10}))
    (folder / "meta_data_x.json").write_text("not JSON")
    told, read = read_one(tmp_path)
    assert told == ()
    assert read["meta"] == {"rng_seed": 10}  # the last, by number
    assert read["hparams"] == {"learning_rate": 0.001}
    assert read["flags"] == {"tuning_ruleset": "external"}
    assert read["result"]["reason"] == "targets_reached"


def test_absent_json_files_are_empty(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [0.1], meta=None, result=False)
    told, read = read_one(tmp_path)
    assert told == ()
    assert read == {"meta": {}, "flags": {}, "hparams": {}, "result": {}}


GARBAGE = {
    "cut off": b'{"rng_seed": ',
    "a list": b"[1, 2]",
    "a text": b'"seed"',
    "a number": b"17",
    "null": b"null",
    "empty": b"",
    "a surrogate": "\ud800".encode("utf-8", "surrogatepass"),
    "UTF-16": '{"rng_seed": 1}'.encode("utf-16"),
    "bytes": bytes(range(256)),
    "NUL bytes": b"\0" * 50,
    "nested too deeply": b'{"a":' * 100_000,
    "lists nested too deeply": b"[" * 100_000,
    "a number of 10,000 digits": b'{"rng_seed": ' + b"1" * 10_000 + b"}",
}


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        *(("meta", "meta_data_0.json", content) for content in GARBAGE.values()),
        *((kind, f"{kind}.json", GARBAGE["cut off"]) for kind in ("hparams", "result")),
        ("flags", "flags_0.json", GARBAGE["cut off"]),
    ],
    ids=[*GARBAGE, "hparams", "result", "flags"],
)
def test_json_that_cannot_be_read_is_named(tmp_path: Path, kind: str, name: str, content: bytes):
    folder = write_trial(trial_dir(tmp_path, "a"), [0.1])
    (folder / name).write_bytes(content)
    (told,), read = read_one(tmp_path)
    assert read[kind] == {}
    assert told.startswith(f"a/study_0/toy_jax/trial_1/{name}: ")
    assert told.endswith("ignored")
    assert "\n" not in told


def test_a_json_file_that_is_a_folder_or_a_loop_is_named(tmp_path: Path):
    folder = write_trial(trial_dir(tmp_path, "a"), [0.1])
    (folder / "meta_data_3.json").mkdir()
    (folder / "hparams.json").unlink()
    (folder / "hparams.json").symlink_to("hparams.json")
    told, read = read_one(tmp_path)
    assert [line.split(":")[0] for line in told] == [
        "a/study_0/toy_jax/trial_1/meta_data_3.json",
        "a/study_0/toy_jax/trial_1/hparams.json",
    ]
    assert read["meta"] == read["hparams"] == {}


def test_an_alias_is_the_workload_that_it_stands_for(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", "c4_130m", study=0), [1.0])
    write_trial(trial_dir(tmp_path, "a", "c4", study=1), [1.0])
    found = find(tmp_path)
    assert [(trial.workload, trial.study) for trial in found] == [("c4", 0), ("c4", 1)]
    assert found[0].path.parts[-2] == "c4_130m_jax"
    assert found[0].name == "a/study_0/c4_jax/trial_1"


def test_a_trial_under_both_names_is_refused(tmp_path: Path):
    paths = [trial_dir(tmp_path, "a", name) for name in ("c4_130m", "c4")]
    for path in paths:
        write_trial(path, [1.0])
    with pytest.raises(UserError) as caught:
        select_trials(tmp_path, None, None, None, Findings())
    assert str(caught.value).startswith(f"{paths[0]} and {paths[1]} are logs of one trial")


@pytest.mark.parametrize("twin", ["study_00/toy_jax/trial_1", "study_0/toy_jax/trial_01"])
def test_two_folders_with_one_number_are_not_called_aliases(tmp_path: Path, twin: str):
    """study_0 and study_00 are the same study: that the workload has two names is not true."""
    write_trial(trial_dir(tmp_path, "a"), [1.0])
    write_trial(tmp_path / "a" / twin, [1.0])
    findings = Findings()
    try:
        select_trials(tmp_path, None, None, None, findings)
        told = " ".join(findings.left_out)
    except UserError as error:
        told = str(error)
    assert str(Path("a") / twin) in told
    assert "alias" not in told
