"""Odd folders, links and JSON files in a whole tree: told by name, and the rest is scored."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from log_trees import META, hits_at, race, trial_dir, write_trial

from benchmark.scoring import Scores, score_tree

NOBODY = 65534


def scored(root: Path, *left_out: str) -> Scores:
    """A tree whose submission b takes 20 s and is scored whatever is wrong elsewhere; of what is
    left out each line must hold one of these texts, and each text must be held."""
    scores = score_tree(root, baselines=("b",))
    assert scores.by_workload("time_to_target").at["b", "toy"] == 20.0
    assert all(math.isfinite(score) for score in scores.scores.values())
    assert all(len(line.splitlines()) == 1 for line in scores.warnings)
    for text in left_out:
        assert any(text in line for line in scores.left_out), (text, scores.left_out)
    for line in scores.left_out:
        assert any(text in line for text in left_out), line
    return scores


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return race(tmp_path / "logs", {"a": [1], "b": [2]})


NAMES = [
    "with space",
    "ä-ö_ü",
    "🚀",
    "日本",
    "a'b\"c",
    "$HOME",
    "-x",
    "a,b;c",
    "%s{}",
    "..a",
    "A",
    "~",
]


def test_submissions_with_odd_names(tree: Path):
    for name in NAMES:
        shutil.copytree(tree / "a", tree / name)
    assert scored(tree).scores == pytest.approx({"a": 1.0, **dict.fromkeys(NAMES, 1.0), "b": 2 / 3})


def test_workloads_with_odd_names(tree: Path):
    for name in (*NAMES, "x_jax"):
        for submission in "ab":
            write_trial(trial_dir(tree, submission, name), hits_at(1))
    others = len(NAMES) + 1
    wanted = {"a": 1.0, "b": (others + 2 / 3) / (others + 1)}
    assert scored(tree).scores == pytest.approx(wanted)


def test_findings_on_folders_with_line_breaks_stay_on_one_line(tree: Path):
    (tree / "a").rename(tree / "a\nb")
    (trial_dir(tree, "a\nb") / "eval_measurements.csv").write_text("")
    (tree / "b" / "study_0" / "c\rd").mkdir()
    scored(tree, "eval_measurements.csv", "not <workload>_<jax|pytorch>")


def test_names_that_are_no_text_do_not_stop_the_scoring(tree: Path):
    """Linux allows any bytes in a file name."""
    try:
        os.rename(os.fsencode(tree / "a"), os.fsencode(tree) + b"/\xff")
    except OSError:
        pytest.skip("this file system wants text in its names")
    scores = score_tree(tree, baselines=("b",))
    assert scores.by_workload("time_to_target").at["b", "toy"] == 20.0


@pytest.mark.parametrize(
    "name", ["study_0/toy_jax/trial_" + "9" * 25, f"study_{2**63}/toy_jax/trial_1"]
)
def test_numbers_that_no_run_has(tree: Path, name: str):
    folder = tree / "a" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    trial_dir(tree, "a").rename(folder)
    scores = score_tree(tree, baselines=("b",))
    assert scores.by_workload("time_to_target").at["b", "toy"] == 20.0


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("loop", "loop"),
        ("x", "."),
        ("x", ".."),
        ("a/study_1", "study_1"),
        ("a/study_1", "."),
        ("a/study_1", ".."),
        ("a/study_1", "../.."),
        ("a/study_0/other_jax", "."),
        ("a/study_0/other_jax", "../../.."),
        ("a/study_0/toy_jax/trial_2", "."),
        ("a/study_0/toy_jax/trial_2", ".."),
        ("a/study_0/toy_jax/trial_2", "trial_2"),
    ],
)
def test_links_that_lead_back_are_ignored(tree: Path, link: str, target: str):
    (tree / link).symlink_to(target)
    scores = scored(tree, f"{link}: a symlink loop; ignored")
    assert scores.scores == pytest.approx({"a": 1.0, "b": 2 / 3})
    assert scores.num_studies == 1


def test_links_to_the_root_of_everything_are_ignored(tree: Path):
    (tree / "x").symlink_to("/")
    scored(tree, "x: a symlink loop; ignored")


def test_links_that_lead_to_each_other_are_ignored(tree: Path):
    (tree / "x").symlink_to("y")
    (tree / "y").symlink_to("x")
    scored(tree, "x: a symlink loop; ignored", "y: a symlink loop; ignored")


def test_a_pool_may_be_put_together_of_links(tmp_path: Path, tree: Path):
    pool = tmp_path / "pool"
    pool.mkdir()
    for name, source in (("b", "b"), ("again", "a"), ("first", "a")):
        (pool / name).symlink_to(tree / source)
    scores = scored(pool)
    assert scores.scores == pytest.approx({"again": 1.0, "first": 1.0, "b": 2 / 3})
    linked = tmp_path / "linked"
    linked.symlink_to(tree)
    assert scored(linked).scores == pytest.approx({"a": 1.0, "b": 2 / 3})


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a/study_1", "study_0"),
        ("a/study_1/toy_jax", "../study_0/toy_jax"),
        ("a/study_1/toy_jax/trial_1", "../../study_0/toy_jax/trial_1"),
        ("a/study_0/toy_jax/trial_2", "trial_1"),
    ],
)
def test_one_run_is_not_two_studies_or_trials_by_a_link(tree: Path, link: str, target: str):
    path = tree / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    scores = scored(tree, "the same folder as a/study_0/toy_jax/trial_1, by a link; counted once")
    assert scores.num_studies == 1
    assert len(scores.facts) == 2


def test_one_file_is_not_two_studies_by_a_link(tree: Path):
    """The same as for a linked folder: a run that was measured once was made once."""
    source, folder = trial_dir(tree, "a"), trial_dir(tree, "a", study=1)
    shutil.copytree(source, folder)
    (folder / "eval_measurements.csv").unlink()
    (folder / "eval_measurements.csv").symlink_to(source / "eval_measurements.csv")
    scores = score_tree(tree, baselines=())
    assert any("study_1" in line and "study_0" in line for line in scores.left_out)


def test_hard_links_of_equal_files_are_two_runs(tree: Path):
    """Tools that save space make them; a short run may well equal another."""
    source, folder = trial_dir(tree, "a"), trial_dir(tree, "a", study=1)
    shutil.copytree(source, folder, copy_function=os.link)
    scores = score_tree(tree, baselines=())
    assert scores.num_studies == 2
    assert scores.scores["a"] == 1.0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["eval_measurements.csv", "meta_data_0.json", "result.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tree: Path, name: str):
    path = trial_dir(tree, "a") / name
    path.unlink()
    os.mkfifo(path)
    scores = score_tree(tree, baselines=())
    assert scores.by_workload("time_to_target").at["b", "toy"] == 20.0
    assert any(f"{name}: " in told and "not a file" in told for told in scores.left_out)


@pytest.mark.parametrize("name", ["study_1", "study_0/other_jax", "study_0/toy_jax/trial_2"])
def test_links_to_nowhere_are_told(tree: Path, name: str):
    (tree / "a" / name).symlink_to(tree / "gone")
    scored(tree, f"a/{name}")


@pytest.mark.parametrize("name", ["study_1", "study_0/other_jax", "study_0/toy_jax/trial_2"])
def test_files_in_the_place_of_folders_are_told(tree: Path, name: str):
    (tree / "a" / name).write_text("not a folder")
    scored(tree, f"a/{name}")


def test_files_beside_the_folders_are_no_matter(tree: Path):
    for place in ("", "a", "a/study_0", "a/study_0/toy_jax", "a/study_0/toy_jax/trial_1"):
        (tree / place / "notes.txt").write_text("nothing to say")
        (tree / place / ".hidden").write_text("nothing either")
    assert scored(tree).warnings == ()


@pytest.fixture
def nobodys_tree() -> Iterator[Path]:
    """A tree read by someone who has no special rights, which the superuser has."""
    with tempfile.TemporaryDirectory() as folder:
        superuser = os.geteuid() == 0
        # What Python imports on first use it may not be allowed to read as somebody else.
        score_tree(race(Path(folder) / "first", {"a": [1], "b": [2]}))
        if superuser:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield race(Path(folder) / "logs", {"a": [1], "b": [2]})
        finally:
            if superuser:
                os.seteuid(0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a", "a"),
        ("a/study_0", "a/study_0"),
        ("a/study_0/toy_jax", "a/study_0/toy_jax"),
        ("a/study_0/toy_jax/trial_1", "a/study_0/toy_jax/trial_1"),
        ("a/study_0/toy_jax/trial_1/eval_measurements.csv", "eval_measurements.csv"),
        ("a/study_0/toy_jax/trial_1/meta_data_0.json", "meta_data_0.json"),
    ],
)
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100], ids=["nothing", "list", "enter"])
def test_what_may_not_be_read_is_told(nobodys_tree: Path, name: str, told: str, mode: int):
    """A folder may be listed only, entered only or neither."""
    path = nobodys_tree / name
    path.chmod(mode)
    try:
        if path.is_file() and os.access(path, os.R_OK, effective_ids=True):
            assert mode == 0o400
            assert scored(nobodys_tree).scores["a"] == 1.0
        else:
            scored(nobodys_tree, told)
    finally:
        path.chmod(0o700)


WRONG: dict[str, Any] = {
    "text": "0.7",
    "nan": math.nan,
    "inf": math.inf,
    "list": [0.7],
    "object": {"value": 0.7},
    "null": None,
    "bool": True,
    "huge": 10**400,
    "negative": -(10**400),
    "line break": "a\nb",
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_meta_data_of_any_type_stop_nothing(tree: Path, value: Any):
    """What makes a run one on other hardware or for another target may be refused: allowed here."""
    keys = [*META, "gpu_model_name", "global_batch_size", "git_uncommitted_changes"]
    for key in keys:
        meta = {**META, key: value}
        write_trial(trial_dir(tree, f"wrong {key}"), hits_at(1), meta=meta)
    scores = score_tree(tree, baselines=("b",), allow_mixed=True)
    assert scores.scores["b"] == pytest.approx(2 / 3)
    times = scores.by_workload("time_to_target")["toy"]
    assert {times[f"wrong {key}"] for key in keys} == {10.0}
    assert all(len(line.splitlines()) == 1 for line in scores.warnings)


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_other_json_files_of_any_type_stop_nothing(tree: Path, value: Any):
    keys = ("tuning_ruleset", "learning_rate", "message", "status")
    for name in ("flags_0.json", "hparams.json", "result.json"):
        for place, content in enumerate(
            (value, dict.fromkeys((*keys, "reason"), value), {"reason": "error", "message": value})
        ):
            folder = write_trial(trial_dir(tree, f"wrong {name} {place}"), hits_at(1))
            (folder / name).write_text(json.dumps(content))
    scores = score_tree(tree, baselines=("b",))
    times = scores.by_workload("time_to_target")["toy"]
    assert times["b"] == 20.0
    assert (times.drop("b") == 10.0).all()
    assert all(len(line.splitlines()) == 1 for line in scores.warnings)


def test_json_garbage_is_told_and_the_trial_scored(tree: Path):
    told = []
    for number, content in enumerate(["", "{", "[1]", "nonsense", "\0", "{}x", '{"a": 1']):
        for name in ("meta_data_0.json", "flags_0.json", "hparams.json", "result.json"):
            folder = write_trial(trial_dir(tree, f"{name} {number}"), hits_at(1))
            (folder / name).write_text(content)
            told.append(f"{name} {number}/study_0/toy_jax/trial_1/{name}: ")
    scores = scored(tree, *told)
    assert set(scores.by_workload("time_to_target")["toy"].drop("b")) == {10.0}


def test_unknown_workloads_are_told(tree: Path):
    write_trial(trial_dir(tree, "a", "wibble"), hits_at(1), meta={})
    assert scored(tree, "wibble: no target; workload not scored").scores["a"] == 1.0
