"""What the checks conclude from an entry's text: who knows the workload, self-tuning's None."""

import pytest
import small_entries

from benchmark.entries.check import Entry, check
from benchmark.entries.check.reach import only_from
from benchmark.entries.check.workload_names import NAMES, OFFICIAL


@pytest.fixture
def told(tmp_path):
    """The defects of a small entry, without their places."""

    def build(**parts):
        folder = small_entries.write(tmp_path, **parts)
        return [defect.what for defect in check(Entry(folder))]

    return build


def test_a_small_entry_is_good(told):
    assert told() == []


KNOWING = [
    ('if "ogbg" in str(model_state): pass', "a workload's name, 'ogbg'"),
    ('lr = {"WMT_GLU_TANH": 1}', "a workload's name, 'WMT_GLU_TANH'"),
    ("rate = SIZES", "a workload's name, 'criteo1tb'"),
    ("x = workload.__class__", "workload.__class__ tells which workload it is"),
    ("x = type(workload).__name__", "type(workload) tells which workload it is"),
    ("x = isinstance(workload, dict)", "isinstance(workload) tells which workload it is"),
    ("x = f'{workload}'", "a workload as text tells which it is"),
    ("x = workload.workload_name", "reads workload_name"),
    ("from absl import flags; x = flags.FLAGS.workload", "FLAGS.workload"),
    ("import sys; x = sys.argv", "sys.argv holds the workload's name"),
    ("from algoperf.workloads.workloads import x", "imports AlgoPerf's workloads"),
    ("import algoperf.workloads.ogbg as x", "imports AlgoPerf's workloads"),
]


@pytest.mark.parametrize("where", ["init", "update"])
@pytest.mark.parametrize(("code", "what"), KNOWING)
def test_what_knows_the_workload(told, where, code, what):
    assert what in told(**{where: code})


@pytest.mark.parametrize(
    "code",
    [
        'text = "runs on ogbg too"',
        "x = workload.loss_type",
        "x = type(batch) if 'batch' in locals() else None",
        '"""ogbg"""',
        "x = workload.step_hint, workload.max_allowed_runtime_sec, workload.param_shapes",
    ],
)
def test_what_does_not(told, code):
    assert told(update=code) == []


def test_a_table_in_another_file_that_nobody_needs(told):
    helper = 'TABLE = {"ogbg": 1}\n\n\ndef size(name):\n    return TABLE.get(name)\n'
    assert told(more="from .helper import size\n", helper=helper) == ["a workload's name, 'ogbg'"]


def test_a_helper_that_only_get_batch_size_calls(tmp_path):
    folder = small_entries.write(
        tmp_path, helper='TABLE = {"ogbg": 1}\n\n\ndef size(name):\n    return TABLE.get(name)\n'
    )
    path = folder / "submission.py"
    text = path.read_text().replace("return SIZES[", "from .helper import size\n    return size(")
    path.write_text(text.replace("(workload_name]", "(workload_name)"))
    entry = Entry(folder)
    assert check(entry) == []
    assert only_from(entry, "get_batch_size") == {
        ("submission.py", "get_batch_size"),
        ("submission.py", "SIZES"),
        ("helper.py", "size"),
        ("helper.py", "TABLE"),
    }
    # The same table, read by the training step as well.
    path.write_text(
        path.read_text().replace("    pass\n", "    from .helper import TABLE; TABLE\n")
    )
    entry = Entry(folder)
    assert ("helper.py", "TABLE") not in only_from(entry, "get_batch_size")
    assert [(d.path, d.line, d.what) for d in check(entry)] == [
        ("helper.py", 1, "a workload's name, 'ogbg'")
    ]


def test_what_runs_at_import_serves_more_than_batch_sizes(told):
    assert told(more="for size in ('ogbg',):\n    print(size)\n") == ["a workload's name, 'ogbg'"]


def test_a_table_that_is_also_read_at_import(tmp_path):
    folder = small_entries.write(tmp_path)
    path = folder / "submission.py"
    path.write_text(path.read_text() + "\n\nfor size in SIZES:\n    print(size)\n")
    assert len(check(Entry(folder))) == 8


def test_packages_around_an_imported_module_are_read(tmp_path):
    folder = small_entries.write(tmp_path, more="from .inner.deep import ONE")
    (folder / "inner").mkdir()
    (folder / "inner" / "__init__.py").write_text("import os\n\nos.environ['A'] = '1'\n")
    (folder / "inner" / "deep.py").write_text("ONE = 1\n")
    assert [(d.path, d.line) for d in check(Entry(folder))] == [("inner/__init__.py", 3)]


def test_names_hold_all_variants():
    assert len(OFFICIAL) == 8
    assert {"ogbg_silu", "criteo1tb_test", "imagenet_resnet_large_bn_init", "mnist"} < NAMES


SAFE = [
    "hyperparameters = HPARAMS; x = hyperparameters.learning_rate",
    "x = hyperparameters.learning_rate if hyperparameters else 0.1",
    "x = 0.1 if hyperparameters is None else hyperparameters.learning_rate",
    "x = hyperparameters and hyperparameters.learning_rate",
    "x = hasattr(hyperparameters, 'a') and hyperparameters.a",
    "given = bool(hyperparameters); x = hyperparameters.a if given else 0",
    "x = getattr(hyperparameters, 'learning_rate', 0.1)",
    "x = dict(hyperparameters or {})",
    "f = lambda hyperparameters: hyperparameters.a",
    "x = helper(HPARAMS)",
    """if hyperparameters is None:
        return None
    x = hyperparameters.learning_rate""",
    """try:
        x = hyperparameters.learning_rate
    except AttributeError:
        x = 0.1""",
]
UNSAFE = [
    "x = hyperparameters.learning_rate",
    "x = hyperparameters['learning_rate']",
    "x = 1 - hyperparameters.a if global_step else 0",
    "f = lambda x: hyperparameters.learning_rate",
    "if hyperparameters.grad_clip: x = 1",
    "x = helper(hyperparameters)",
    "x = other(1, values=hyperparameters)",
    """if hyperparameters:
        x = 1
    x = hyperparameters.learning_rate""",
]
HELPERS = (
    "def helper(values):\n    return other(1, values)\n\n\n"
    "def other(number, values):\n    return number * values.learning_rate\n"
)


@pytest.mark.parametrize("code", SAFE)
def test_self_tuning_reads_nothing_that_is_not_there(told, code):
    assert told(update=code, more=HELPERS) == []


@pytest.mark.parametrize("where", ["init", "update"])
@pytest.mark.parametrize("code", UNSAFE)
def test_self_tuning_has_no_hyperparameters(told, where, code):
    (what,) = told(more=HELPERS, **{where: code})
    assert what.endswith(", and self-tuning has none")


def test_external_tuning_has_them(tmp_path):
    folder = small_entries.write(tmp_path, "external_tuning", update="x = hyperparameters.rate")
    point = '{"rate": 1}'
    (folder / "tuning_search_space.json").write_text(f"[{', '.join([point] * 5)}]")
    assert check(Entry(folder)) == []


def test_helpers_in_other_files_are_followed(told):
    more = "from .helper import f as g\nfrom . import helper\n"
    helper = "def f(a, b):\n    return b.rate\n"
    (what,) = told(more=more, update="x = g(1, hyperparameters)", helper=helper)
    assert what == "f reads b.rate, and self-tuning has none"
