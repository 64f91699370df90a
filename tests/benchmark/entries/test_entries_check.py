"""One broken copy of a good entry for each check: the line that tells it, and no other."""

import json
import shutil

import pytest
from entry_folders import export_entry

from benchmark.entries.check import Entry, check


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """{ruleset: folder of a good entry}; not to be changed."""
    output = tmp_path_factory.mktemp("good")
    return {
        "external_tuning": export_entry(output, "asgo", "jax", "external_tuning"),
        "self_tuning": export_entry(output, "asgo", "pytorch", "self_tuning"),
    }


@pytest.fixture
def copy(good, tmp_path):
    """A copy of one of them, to break."""

    def build(ruleset="external_tuning"):
        source = good[ruleset]
        return shutil.copytree(source, tmp_path / ruleset / source.name)

    return build


def told(folder):
    """The lines about an entry, with `E` for its folder."""
    return [defect.text("E") for defect in check(Entry(folder))]


def line_of(path, text):
    """The number of the first line that holds a text."""
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def append(path, text):
    """Lines at a file's end; returns the number of the first of them."""
    before = path.read_text()
    path.write_text(before + text)
    return before.count("\n") + 1


def test_good_entries_have_no_defects(good):
    for folder in good.values():
        assert told(folder) == []


@pytest.mark.parametrize("name", ["submission.py", "__init__.py", "submission_info.yml"])
def test_missing_files(copy, name):
    folder = copy()
    (folder / name).unlink()
    assert f"E/{name}: missing" in told(folder)


def test_a_missing_readme_is_a_warning(copy):
    folder = copy()
    (folder / "README.md").unlink()
    (defect,) = check(Entry(folder))
    assert not defect.fatal
    assert defect.text("E") == "warning: E/README.md: missing"


def test_a_missing_or_other_licence(copy):
    folder = copy()
    (folder / "LICENSE").write_text("MIT License\n\nPermission is hereby granted")
    assert told(folder) == ["E/LICENSE: not the Apache License 2.0 (allowed: its text)"]
    (folder / "LICENSE").unlink()
    assert told(folder) == ["E/LICENSE: missing (allowed: the text of the Apache License 2.0)"]


def test_search_space_where_it_belongs(copy):
    external, own = copy(), copy("self_tuning")
    shutil.move(external / "tuning_search_space.json", own / "tuning_search_space.json")
    assert told(external) == [
        "E/tuning_search_space.json: missing; external tuning needs a search space"
    ]
    assert told(own) == [
        "E/tuning_search_space.json: self-tuning exposes no hyperparameters "
        "(allowed: no search space)"
    ]


def test_folder_names(copy, tmp_path):
    folder = copy("self_tuning")
    other = tmp_path / "tuning" / "asgo_pytorch"
    shutil.copytree(folder, other)
    assert told(other) == [
        "E: not in a ruleset's folder (allowed: external_tuning or self_tuning/<name>)"
    ]
    renamed = folder.rename(folder.with_name("asgo-pytorch"))
    assert told(renamed) == [
        "E: 'asgo-pytorch' is no module's name (allowed: a Python identifier)",
        "E/submission_info.yml:2: submission_folder: 'asgo_pytorch' (allowed: asgo-pytorch)",
    ]


def test_links_binaries_and_large_files(copy, tmp_path):
    folder = copy()
    (tmp_path / "weights").write_text("x")
    (folder / "weights").symlink_to(tmp_path / "weights")
    (folder / "model.bin").write_bytes(b"\x00" * 100)
    (folder / "data.txt").write_text("1" * 1_500_000)
    assert told(folder) == [
        "warning: E/data.txt: 1.5 MB (allowed: below 1 MB)",
        "warning: E/model.bin: a binary file (allowed: source text)",
        "E/weights: a symbolic link (allowed: files)",
    ]


def test_caches_are_not_files_of_the_entry(copy):
    folder = copy()
    (folder / "common" / "__pycache__").mkdir()
    (folder / "common" / "__pycache__" / "data.pyc").write_bytes(b"\x00")
    assert told(folder) == []


FIELDS = [
    ("submission_name: asgo (JAX)", "submission_name: ''", 1, "no submission_name (allowed: a"),
    ("submission_folder: asgo_jax", "submission_folder: asgo", 2, "submission_folder: 'asgo'"),
    ("authors: The matprec authors", "authors: '  '", 3, "no authors (allowed: a text)"),
    ("affiliations: matprec\n", "", 0, "no affiliations (allowed: a text)"),
    ("version: '0.1'", "version:", 5, "no version (allowed: a text)"),
    ("ruleset: external", "ruleset: external_tuning", 6, "'external_tuning' (allowed: external)"),
    ("ruleset: external", "ruleset: self-tuning", 6, "ruleset: 'self-tuning' (allowed: external)"),
    ("framework: JAX", "framework: PyTorch", 7, "the code imports jax only (allowed: JAX)"),
    ("framework: JAX", "framework: jax", 7, "framework: 'jax' (allowed: JAX or PyTorch)"),
    ("description: '", "description: 'Our #1, ", 8, "description: the competition's CI cuts a"),
    ("authors: The matprec authors", "authors: [", 0, "not YAML: "),
]


@pytest.mark.parametrize(("old", "new", "line", "what"), FIELDS)
def test_submission_info_fields(copy, old, new, line, what):
    folder = copy()
    edit(folder / "submission_info.yml", old, new)
    (defect,) = told(folder)
    place = f":{line}" if line else ""
    assert defect.startswith(f"E/submission_info.yml{place}: ")
    assert what in defect


def test_submission_info_must_be_a_mapping_under_its_name(copy):
    folder = copy()
    info = folder / "submission_info.yml"
    info.rename(folder / "submissions_info.yaml")
    assert told(folder) == [
        "E/submission_info.yml: missing",
        "E/submissions_info.yaml: a name that nobody reads (allowed: submission_info.yml)",
    ]
    info.write_text("- a list\n")
    assert "E/submission_info.yml: not a mapping (allowed: lines of field: value)" in told(folder)
    (folder / "submissions_info.yaml").unlink()
    info.write_text("name: algoperf\ndependencies: [a, b]\n")  # a conda file, as in real entries
    assert len(told(folder)) == 8


def test_a_missing_function(copy):
    folder = copy()
    edit(folder / "submission.py", "    data_selection,\n", "")
    assert told(folder) == ["E/submission.py: no function data_selection"]
    edit(folder / "submission.py", "    prepare_for_eval,\n", "")  # may be missing
    assert told(folder) == ["E/submission.py: no function data_selection"]


SIGNATURES = [
    ("jax.py", "loss_type: spec.LossType,\n", "\n"),
    ("jax.py", "batch: dict[str, Any],\n    loss_type", "data: dict[str, Any],\n    loss_type"),
    ("jax.py", "rng: Any,\n    train_state: Any = None", "rng: Any,\n    train_state: Any"),
    ("jax.py", "train_state: Any = None,\n)", "train_state: Any = None,\n    *,\n    more,\n)"),
    ("data.py", "input_queue: Any,\n    optimizer_state: Any", "optimizer_state, input_queue"),
    ("data.py", "rng: Any,\n)", "rng: Any,\n    more: Any,\n)"),
    ("data.py", "(workload_name: str)", "(name: str)"),
    ("jax.py", "model_params: Any,\n        model_state", "params: Any,\n        model_state"),
    ("evaluation.py", "global_step: int,\n        rng", "step: int,\n        rng"),
]


@pytest.mark.parametrize(("file", "old", "new"), SIGNATURES)
def test_signatures(copy, file, old, new):
    folder = copy()
    edit(folder / "common" / file, old, new)
    (line,) = told(folder)
    assert line.startswith(f"E/common/{file}:")
    assert any(text in line for text in ("(allowed: names ", "(allowed: in this order", "=None)"))


def test_what_may_differ_in_signatures(copy):
    folder = copy()
    step = folder / "common" / "jax.py"
    edit(step, "    train_state: Any = None,\n", "")
    assert told(folder) == []
    edit(
        step,
        "    rng: Any,\n) -> tuple[Any, Any, Any]:",
        "    rng: Any,\n    more=1,\n    **rest,\n):",
    )
    edit(step, "    loss_type: spec.LossType,\n    optimizer_state", "    optimizer_state")
    data = folder / "common" / "data.py"
    edit(data, "    rng: Any,\n)", "    rng: Any,\n    more: Any = None,\n)")
    assert told(folder) == []


def test_the_evaluations_batch_size_is_not_the_entrys(copy):
    folder = copy()
    line = append(folder / "submission.py", "\n\ndef get_eval_batch_size(name):\n    return 1\n")
    assert told(folder) == [
        f"E/submission.py:{line + 2}: get_eval_batch_size: the rules fix the evaluation's batch "
        "size (allowed: none)"
    ]


def test_batch_sizes_by_the_text(copy):
    folder = copy()
    data = folder / "common" / "data.py"
    edit(data, '    "ogbg": 512,\n', "")
    assert told(folder) == ["E/submission.py: get_batch_size does not name ogbg"]
    edit(data, "raise ValueError(", "raise KeyError(")
    assert told(folder)[1] == (
        "E/submission.py: get_batch_size raises no ValueError (allowed: for unknown workloads)"
    )


def test_search_space_points(copy):
    folder = copy()
    path = folder / "tuning_search_space.json"
    points = json.loads(path.read_text())

    def with_points(values):
        path.write_text(json.dumps(values))
        (line,) = told(folder)
        return line

    other = [points[0], *points[2:], points[1] | {"beta1": 0.9}]
    assert with_points(other) == (
        "E/tuning_search_space.json: point 5: has beta1 besides; all points need the keys of "
        "point 1"
    )
    assert "4 points (allowed: 5, or ranges)" in with_points(points[:4])
    nonsense = [point | {"one_minus_nonsense": 1} for point in points]
    assert with_points(nonsense) == (
        "E/tuning_search_space.json: one_minus_nonsense: nothing in the code reads it"
    )
    assert "is not a search space" in with_points([])
    assert "learning_rate=-1" in with_points([point | {"learning_rate": -1} for point in points])
    path.write_text("{")
    assert told(folder)[0].startswith("E/tuning_search_space.json: ")
    ranges = {"learning_rate": {"min": 1e-4, "max": 1e-2, "scaling": "log"}}
    path.write_text(json.dumps(ranges))
    assert told(folder) == []


def test_requirements(copy):
    folder = copy()
    path = folder / "requirements.txt"
    line = append(path, "heavyball==1.0\n# Newer and faster.\njax>=0.8\n\nTorch\n")
    assert told(folder) == [
        f"E/requirements.txt:{line}: heavyball: no comment (allowed: # what it is for)",
        f"E/requirements.txt:{line + 2}: changes jax "
        "(allowed: packages that AlgoPerf does not bring)",
        f"E/requirements.txt:{line + 4}: changes torch "
        "(allowed: packages that AlgoPerf does not bring)",
        f"E/requirements.txt:{line + 4}: torch: no comment (allowed: # what it is for)",
    ]
    path.rename(folder / "requirements_all.txt")
    lines = told(folder)
    assert lines[-1].endswith("a name that nobody installs from (allowed: requirements.txt)")
    assert "imports array_api_compat (allowed: the entry's modules by relative" in lines[0]


IMPORTS = [
    ("import matprec.linalg", "imports matprec (allowed: the entry's modules"),
    ("from submissions.common import data", "imports submissions (allowed: the entry's"),
    ("from ... import elsewhere", "a relative import that leaves the folder (allowed: modules"),
    ("from .nowhere import x", "no module common.nowhere in the folder (allowed: modules"),
    ("def f():\n    import heavyball", "imports heavyball (allowed: "),
]


@pytest.mark.parametrize(("statement", "what"), IMPORTS)
def test_imports_that_leave_the_folder(copy, statement, what):
    folder = copy()
    line = append(folder / "common" / "data.py", f"\n\n{statement}\n") + 1 + statement.count("\n")
    assert [text for text in told(folder) if f"E/common/data.py:{line + 1}: {what}" in text]


def test_imports_that_stay(copy):
    folder = copy()
    append(
        folder / "common" / "data.py",
        "\n\nimport os.path\nimport numpy as np\nfrom algoperf import spec as s\n"
        "from submissions.external_tuning.asgo_jax.matprec import linalg\n"
        "from external_tuning.asgo_jax import common\nfrom .. import registry\n"
        "try:\n    import something_fast\nexcept ImportError:\n    something_fast = None\n",
    )
    assert told(folder) == []


def test_paths_out_of_the_folder(copy):
    folder = copy()
    line = append(folder / "common" / "data.py", '\n\nWEIGHTS = "../weights.npz"\nDOTS = "..."\n')
    assert told(folder) == [
        f"E/common/data.py:{line + 2}: a path out of the folder, '../weights.npz' (allowed: no ..)"
    ]


ENVIRONMENT = [
    'os.environ["XLA_FLAGS"] = "1"',
    'os.environ["XLA_FLAGS"] += " 1"',
    'os.environ.setdefault("XLA_FLAGS", "1")',
    'os.environ.update(A="1")',
    'del os.environ["A"]',
    'os.putenv("A", "1")',
    "os.environ |= {}",
]


@pytest.mark.parametrize("statement", ENVIRONMENT)
def test_environment_variables(copy, statement):
    folder = copy()
    line = append(folder / "common" / "data.py", f"\n\nimport os\n\n{statement}\n")
    assert told(folder) == [
        f"E/common/data.py:{line + 4}: sets an environment variable "
        "(allowed: reading; AlgoPerf sets them)"
    ]


def test_other_changes_of_the_process(copy):
    folder = copy()
    line = append(
        folder / "common" / "data.py",
        "\n\nimport os\nimport sys\n\nA = os.environ.get('A')\nsys.path.insert(0, A)\nexec('1')\n",
    )
    assert told(folder) == [
        f"E/common/data.py:{line + 6}: changes sys.path (allowed: imports from the entry's folder)",
        f"warning: E/common/data.py:{line + 7}: exec: code that no check reads",
    ]


def test_a_file_that_is_not_python(copy):
    folder = copy()
    append(folder / "common" / "roles.py", "\n\ndef broken(:\n")
    line = line_of(folder / "common" / "roles.py", "def broken")
    (text,) = [text for text in told(folder) if "roles.py" in text]
    assert text == f"E/common/roles.py:{line}: not Python: invalid syntax"


def test_files_that_the_submission_never_imports_are_not_read(copy):
    folder = copy()
    (folder / "examples.py").write_text('import heavyball\n\nNAME = "ogbg"\n')
    assert told(folder) == []
