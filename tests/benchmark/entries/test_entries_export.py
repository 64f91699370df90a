"""Every optimizer as an entry, in both frameworks and rulesets."""

import ast
import compileall
import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from entry_folders import ROOT, export_entry
from optimizers import REPRESENTATIVES

from benchmark.entries import export as exporting
from benchmark.entries.check import Entry, asking, check
from benchmark.entries.export import Request, check_places, export
from benchmark.entries.layout import FIELDS, FRAMEWORKS, RULESETS
from benchmark.errors import UserError
from submissions.registry import OPTIMIZERS

# The rulesets' entries have the same code, see below: a few show what self-tuning adds to that.
SELF_TUNING = ("adafactor_original", *REPRESENTATIVES)
ALL = [
    (n, f, r)
    for n in OPTIMIZERS
    for f in FRAMEWORKS
    for r in RULESETS
    if r == "external_tuning" or n in SELF_TUNING
]
OTHERS = {"jax": {"torch", "torchvision"}, "pytorch": {"jax", "jaxlib", "flax", "optax"}}


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """{(name, framework, ruleset): folder} of them all."""
    output = tmp_path_factory.mktemp("entries")
    return {chosen: export_entry(output, *chosen) for chosen in ALL}


@pytest.mark.slow
def test_entries_pass_the_checks_where_they_cannot_be_imported(entries):
    for (_, _, ruleset), folder in entries.items():
        if ruleset == "external_tuning":
            assert check(Entry(folder)) == [], folder


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_entry_can_be_imported_and_passes_the_checks_that_ask(entries, framework):
    chosen = [Entry(folder) for key, folder in entries.items() if key[1] == framework]
    answers = asking.ask(chosen)
    for entry, answer in zip(chosen, answers, strict=True):
        assert check(entry, answer) == [], entry.folder
        assert len(answer["points"]) == (5 if entry.ruleset == "external_tuning" else 0)
        assert answer["none"] == [None, None]


@pytest.mark.slow
def test_both_rulesets_have_the_same_code(entries):
    def code(folder):
        return {path.relative_to(folder): path.read_text() for path in folder.rglob("*.py")}

    compared = 0
    for (name, framework, ruleset), folder in entries.items():
        if ruleset == "self_tuning":
            assert code(folder) == code(entries[name, framework, "external_tuning"])
            compared += 1
    assert compared == len(FRAMEWORKS) * len(SELF_TUNING)


@pytest.mark.slow
def test_every_entry_compiles_and_ruff_finds_nothing(entries):
    for folder in entries.values():
        assert compileall.compile_dir(folder, quiet=1, legacy=False), folder
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    output = next(iter(entries.values())).parents[1]
    ruff = [sys.executable, "-m", "ruff"]
    common = ["--isolated", "--no-cache", "--line-length", "100", str(output)]
    for command in (["check", "--select", "F,I,E9"], ["format", "--check"]):
        done = subprocess.run([*ruff, *command, *common], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def imported(folder):
    """The top-level modules that an entry imports from outside, wherever."""
    trees = [ast.parse(path.read_text()) for path in folder.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]
    return {name.partition(".")[0] for name in names}


@pytest.mark.slow
def test_an_entry_has_one_framework_and_nothing_of_this_repository(entries):
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"algoperf_api"}
    for (_, framework, _), folder in entries.items():
        names = imported(folder)
        assert "algoperf" in names
        assert not names & (OTHERS[framework] | ours), folder


def test_an_entry_holds_the_files_of_its_own_algorithm_only(tmp_path):
    def algorithms(name, framework="jax"):
        folder = export_entry(tmp_path, name, framework, "self_tuning")
        return {path.stem for path in (folder / "matprec" / "algorithms").glob("*.py")}

    assert algorithms("asgo") == {"__init__", "base", "nadamw", "asgo"}
    assert algorithms("adamw", "pytorch") == {"__init__", "base", "nadamw"}
    assert algorithms("caspr") == {"__init__", "base", "nadamw", "grafted", "caspr"}
    assert algorithms("soap", "pytorch") == {"__init__", "base", "nadamw", "soap"}


def test_files_of_the_competition(tmp_path):
    folder = export_entry(tmp_path, "asgo", "pytorch", "external_tuning")
    assert folder == tmp_path / "external_tuning" / "asgo_pytorch"
    fields = yaml.safe_load((folder / "submission_info.yml").read_text())
    assert tuple(fields) == FIELDS
    assert fields["submission_folder"] == "asgo_pytorch"
    assert fields["ruleset"] == "external"
    assert fields["framework"] == "PyTorch"
    space = json.loads((ROOT / "tuning_search_spaces" / "asgo.json").read_text())
    assert json.loads((folder / "tuning_search_space.json").read_text()) == space
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    (line,) = (folder / "requirements.txt").read_text().splitlines()
    assert line.startswith("array-api-compat==")
    assert line in (ROOT / "requirements.txt").read_text()
    readme = (folder / "README.md").read_text()
    for point in space:
        assert f"{point['learning_rate']:.6g}" in readme
    assert "--tuning_search_space=submissions/external_tuning/asgo_pytorch/tuning_" in readme
    assert "a paper" in readme
    assert "Apache License 2.0" in readme


def test_self_tuning_has_no_search_space_and_lists_its_values(tmp_path):
    folder = export_entry(tmp_path, "muon", "jax", "self_tuning")
    assert not (folder / "tuning_search_space.json").exists()
    readme = (folder / "README.md").read_text()
    assert "| beta1 | 0.9 |" in readme
    assert "--tuning_ruleset=self" in readme
    assert "tuning_search_space" not in readme
    assert "ruleset: self-tuning\n" in (folder / "submission_info.yml").read_text()


def test_the_same_sources_give_the_same_entry(tmp_path):
    first, second = (
        export_entry(tmp_path / place, "hfac", "jax", "external_tuning") for place in "ab"
    )
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


REQUEST = Request("adamw", "jax", "self_tuning", "a paper", {})


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_replaced_without_overwrite(tmp_path):
    folder = export(REQUEST, tmp_path, ROOT)
    (folder / "mine.txt").write_text("of value")
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"adamw_jax: not empty .*--overwrite"):
        export(REQUEST, tmp_path, ROOT)
    assert tree(tmp_path) == before
    export(REQUEST, tmp_path, ROOT, overwrite=True)
    assert set(before) - set(tree(tmp_path)) == {folder / "mine.txt"}


def test_an_empty_folder_is_filled_and_a_file_or_link_is_left(tmp_path):
    place = REQUEST.place(tmp_path)
    place.mkdir(parents=True)
    export(REQUEST, tmp_path, ROOT)
    assert (place / "submission.py").is_file()
    elsewhere = tmp_path / "elsewhere"
    shutil.move(place, elsewhere)
    for make in (lambda: place.symlink_to(elsewhere), lambda: place.write_text("a file")):
        make()
        with pytest.raises(UserError, match="not a folder"):
            check_places([REQUEST], tmp_path, overwrite=True)
        place.unlink()


@pytest.mark.parametrize("there", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, there):
    if there:
        export(REQUEST, tmp_path, ROOT)
    before = tree(tmp_path)

    def fail(folder, names):
        assert names
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "_tidy", fail)
    with pytest.raises(KeyboardInterrupt):
        export(REQUEST, tmp_path, ROOT, overwrite=True)
    assert tree(tmp_path) == before
    assert [path.name for path in (tmp_path / "self_tuning").iterdir()] == ["adamw_jax"] * there


def test_an_old_entry_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    place = export(REQUEST, tmp_path, ROOT)
    (place / "mine.txt").write_text("of value")
    before = tree(tmp_path)
    rename = os.rename

    def fail(source, target):
        if target == place and (source / "mine.txt").exists() is False:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        export(REQUEST, tmp_path, ROOT, overwrite=True)
    assert tree(tmp_path) == before


def test_an_entry_can_be_read_by_others(tmp_path):
    assert export(REQUEST, tmp_path, ROOT).stat().st_mode & 0o777 == (
        (tmp_path / "self_tuning").stat().st_mode & 0o777
    )


@pytest.fixture
def repository(tmp_path):
    """A copy of what an export reads, to break."""
    root = tmp_path / "repository"
    for folder in ("matprec", "submissions", "tuning_search_spaces"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for file in ("LICENSE", "requirements.txt"):
        shutil.copy(ROOT / file, root / file)
    return root


def refused(repository, tmp_path, ruleset="external_tuning", name="asgo"):
    request = Request(name, "jax", ruleset, "a paper", {})
    with pytest.raises(UserError) as error:
        export(request, tmp_path / "out", repository)
    assert not request.place(tmp_path / "out").exists()
    return str(error.value).replace(f"{repository}/", "")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_sources_that_cannot_become_an_entry_are_refused(repository, tmp_path):
    space = repository / "tuning_search_spaces" / "asgo.json"
    points = json.loads(space.read_text())
    space.write_text(json.dumps(points[:4]))
    assert "asgo.json: 4 points, fewer than" in refused(repository, tmp_path)
    space.write_text('{"learning_rate": {"min": 0.1, "max": 1, "scaling": "log"}}')
    assert "asgo.json: ranges (allowed in an entry: a list of 5" in refused(repository, tmp_path)
    space.unlink()
    assert "asgo.json: No such file" in refused(repository, tmp_path)

    info = repository / "submissions" / "asgo" / "submission_info.yml"
    edit(info, "affiliations: matprec", "affiliations:")
    assert refused(repository, tmp_path, "self_tuning") == (
        "submissions/asgo/submission_info.yml: no affiliations (allowed: a text)"
    )
    edit(info, "affiliations:", 'affiliations: "Team #1"')
    assert "affiliations: 'Team #1' (allowed: one line without #)" in refused(
        repository, tmp_path, "self_tuning"
    )


def test_imports_that_an_entry_cannot_have_are_refused(repository, tmp_path):
    linalg = repository / "matprec" / "linalg.py"
    edit(linalg, "import array_api_compat\n", "import array_api_compat\nimport heavyball\n")
    assert refused(repository, tmp_path, "self_tuning").startswith(
        "requirements.txt: an entry imports heavyball, and no line here says which package"
    )
    line = linalg.read_text().splitlines().index("import heavyball") + 1
    edit(linalg, "import heavyball\n", "import matprec.layout\n")
    assert refused(repository, tmp_path, "self_tuning").startswith(
        f"matprec/linalg.py:{line}: import matprec.layout:"
    )
    edit(linalg, "import matprec.layout\n", "from algoperf_api import HAS_ALGOPERF\n")
    told = f"matprec/linalg.py:{line}: from algoperf_api import HAS_ALGOPERF: has no counter"
    assert told in refused(repository, tmp_path, "self_tuning")
    edit(linalg, "from algoperf_api import HAS_ALGOPERF\n", "print(undefined_name)\n")
    assert "F821 Undefined name `undefined_name`" in refused(repository, tmp_path, "self_tuning")


def test_an_unknown_submission_and_an_unknown_row(repository, tmp_path):
    told = refused(repository, tmp_path, name="sgd")
    assert told.startswith("no submission 'sgd' for jax")
    shutil.copytree(repository / "submissions" / "asgo", repository / "submissions" / "sgd")
    assert refused(repository, tmp_path, name="sgd") == (
        "submissions/registry.py: no row 'sgd' in OPTIMIZERS"
    )


def test_new_files_of_the_shared_step_come_along_by_themselves(repository, tmp_path):
    (repository / "submissions" / "common" / "extra.py").write_text("VALUE = 1\n")
    step = repository / "submissions" / "common" / "jax.py"
    edit(step, "\nimport jax\n", "\nimport jax\nfrom submissions.common.extra import VALUE\n")
    edit(step, "LOG_EVERY = 100", "LOG_EVERY = 100 * VALUE")
    folder = export(Request("asgo", "jax", "self_tuning", "a paper", {}), tmp_path, repository)
    assert (folder / "common" / "extra.py").read_text() == "VALUE = 1\n"
    assert "from .extra import VALUE\n" in (folder / "common" / "jax.py").read_text()
