"""Which submissions and exported entries are tested, and the harness that tests them."""

import pytest
from fake_harness import PASSES, commit, make_entry, make_harness, make_python, make_repository
from fake_harness import write as write_file

from benchmark.errors import UserError
from benchmark.reference import entries, harness

BOTH = ("jax", "pytorch")


@pytest.fixture
def repository(tmp_path):
    return make_repository(tmp_path / "root", {"b": PASSES, "a": PASSES})


@pytest.fixture
def exports(tmp_path):
    folder = tmp_path / "exports"
    make_entry(folder / "external_tuning/a_jax", PASSES, "JAX")
    make_entry(folder / "external_tuning/a_pytorch", PASSES, '"PyTorch"')
    make_entry(folder / "self_tuning/a_jax", PASSES, "JAX", space=False)
    make_entry(folder / "self_tuning/unsaid", PASSES, space=False)
    return folder


def test_submissions_of_the_repository(repository):
    found = entries.of_repository(repository, ["all"], BOTH)
    assert [(entry.name, entry.framework) for entry in found] == [
        ("a", "jax"),
        ("a", "pytorch"),
        ("b", "jax"),
        ("b", "pytorch"),
    ]
    assert found[0].submission_path == "submissions/a/jax/submission.py"
    assert found[0].search_space == "tuning_search_spaces/a.json"
    assert all((repository / part).is_dir() for part in found[0].parts)


def test_a_choice_of_them(repository):
    found = entries.of_repository(repository, ["b"], ["pytorch"])
    assert [(entry.name, entry.framework) for entry in found] == [("b", "pytorch")]


def test_a_submission_in_one_framework_only(repository):
    (repository / "submissions/b/jax/submission.py").unlink()
    found = entries.of_repository(repository, ["b"], BOTH)
    assert [(entry.name, entry.framework) for entry in found] == [("b", "pytorch")]


@pytest.mark.parametrize("names", [["c"], ["a", "c"], [""], []])
def test_an_unknown_submission(repository, names):
    with pytest.raises(UserError, match=r"--submissions: .* allowed: all, a, b$"):
        entries.of_repository(repository, names, BOTH)


def test_exported_entries_are_for_the_framework_that_they_name(exports):
    found = entries.of_exports(exports, ["all"], BOTH)
    assert {(entry.name, entry.framework, entry.search_space) for entry in found} == {
        ("external_tuning/a_jax", "jax", "external_tuning/a_jax/tuning_search_space.json"),
        (
            "external_tuning/a_pytorch",
            "pytorch",
            "external_tuning/a_pytorch/tuning_search_space.json",
        ),
        ("self_tuning/a_jax", "jax", "None"),
        ("self_tuning/unsaid", "jax", "None"),
        ("self_tuning/unsaid", "pytorch", "None"),
    }
    assert all(entry.submission_path == f"{entry.name}/submission.py" for entry in found)
    assert all(entry.parts == (entry.name,) for entry in found)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a_jax"], ["external_tuning/a_jax", "self_tuning/a_jax"]),
        (["self_tuning/a_jax"], ["self_tuning/a_jax"]),
    ],
)
def test_exported_entries_by_name_or_by_ruleset_and_name(exports, names, expected):
    assert [entry.name for entry in entries.of_exports(exports, names, BOTH)] == expected


def test_what_is_wrong_with_exported_entries_is_told(exports, tmp_path):
    with pytest.raises(UserError, match="'b' is unknown"):
        entries.of_exports(exports, ["b"], BOTH)
    with pytest.raises(UserError, match="no submission found there"):
        entries.of_exports(tmp_path, ["all"], BOTH)
    make_entry(exports / "self_tuning/not-a-module", PASSES)
    with pytest.raises(UserError, match="'not-a-module' cannot be the name of a Python module"):
        entries.of_exports(exports, ["all"], BOTH)
    (exports / "external_tuning/a_jax/tuning_search_space.json").unlink()
    with pytest.raises(UserError, match=r"tuning_search_space\.json: missing"):
        entries.of_exports(exports, ["external_tuning/a_jax"], BOTH)


def test_the_harness_that_is_installed(tmp_path):
    clone = make_harness(tmp_path / "clone")
    found = harness.find(str(make_python(tmp_path, clone)), None)
    assert found.directory == clone
    assert found.commit == ""
    assert found.versions["python"].startswith("3.")
    assert "numpy" in found.versions
    assert found.packages_of_ours == ()


def test_packages_of_this_repository_beside_it_are_told(tmp_path, repository):
    clone = make_harness(tmp_path / "clone")
    found = harness.find(str(make_python(tmp_path, clone, repository)), None)
    assert found.packages_of_ours == ("matprec", "submissions", "algoperf_api")


def test_an_interpreter_given_relative_to_the_current_folder(tmp_path, monkeypatch):
    clone = make_harness(tmp_path / "clone")
    python = make_python(tmp_path, clone)
    monkeypatch.chdir(python.parent)
    assert harness.find(f"./{python.name}", None).python == str(python)


def test_pythonpath_is_not_what_is_installed(tmp_path, monkeypatch):
    clone = make_harness(tmp_path / "clone")
    python = make_python(tmp_path, tmp_path / "empty")
    monkeypatch.setenv("PYTHONPATH", str(clone))
    with pytest.raises(UserError, match="no algoperf is installed for it"):
        harness.find(str(python), None)
    assert harness.find(str(python), str(clone)).directory == clone


def test_the_digest_is_of_the_sources_and_the_commit_of_the_clone(tmp_path):
    clone = make_harness(tmp_path / "clone")
    python = str(make_python(tmp_path, clone))
    before = harness.find(python, None)
    write_file(clone / "README.md", "changed")
    commit(clone)
    committed = harness.find(python, None)
    assert committed.digest == before.digest
    assert len(committed.commit) == 40
    write_file(clone / "tests/helper.py", "x = 1")
    assert harness.find(python, None).digest != before.digest


def test_a_clone_inside_another_checkout_has_no_commit(tmp_path):
    commit_folder = tmp_path / "outer"
    clone = make_harness(commit_folder / "clone")
    commit(commit_folder)
    assert harness.find(str(make_python(tmp_path, clone)), None).commit == ""


def test_what_is_no_harness_is_told(tmp_path):
    wheel = tmp_path / "site"
    write_file(wheel / "algoperf/__init__.py", "")
    with pytest.raises(UserError, match=r"no tests/reference_algorithm_tests\.py there"):
        harness.find(str(make_python(tmp_path, wheel)), None)
    with pytest.raises(UserError, match="cannot be run"):
        harness.find(str(tmp_path / "absent"), None)
    write_file(tmp_path / "python", "#!/bin/sh\necho broken >&2; exit 3\n")
    with pytest.raises(UserError, match="cannot be run: broken"):
        harness.find(str(tmp_path / "python"), None)
