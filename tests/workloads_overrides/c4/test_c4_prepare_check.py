"""`prepare_data` of the full-size workloads looks at the data, and says which command makes it."""

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from c4_corpus import Shown, a_request, fresh, most_rows, write_files

import workloads_overrides
from workloads_overrides import DataError, prepare_data
from workloads_overrides.c4.amounts import WORKLOADS, amounts_of
from workloads_overrides.c4.corpus.run import prepare_corpus
from workloads_overrides.c4.meta import read_meta
from workloads_overrides.c4.remedy import remedy

REPOSITORY = Path(workloads_overrides.__file__).parents[1]


@pytest.fixture(params=["packed", "truncated"])
def prepared(request, tmp_path):
    """Folder and rows of a preparation."""
    files = write_files(tmp_path / "in", fresh())
    packed = request.param == "packed"
    train = most_rows(files["train"]) if packed else sum(map(len, files["train"]))
    rows = {"train": train, "validation": 1, "test": 1}
    prepare_corpus(a_request(tmp_path / "in", tmp_path, train, layout=request.param), Shown())
    return tmp_path, rows


def refusal(data_dir, rows=None, name="c4_60m"):
    """What is said, with the command that would help."""
    with pytest.raises(DataError) as caught:
        prepare_data(name, data_dir, rows=rows)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(f"; data for it: {remedy(name, data_dir)}")
    return text


@pytest.mark.parametrize("name", WORKLOADS)
def test_missing(tmp_path, name):
    text = refusal(tmp_path, name=name)
    assert text.startswith(f"{tmp_path}/c4/meta.json is missing: the data has not been prepared; ")
    assert (
        f"python scripts/prepare_c4.py --workload={name} --data_dir={tmp_path} "
        "--input_dir=FOLDER --tokenizer_path=spiece.model, with the files of allenai/c4 in FOLDER"
    ) in text
    assert not list(tmp_path.iterdir())


def test_enough_for_rows_and_not_for_the_workload(prepared):
    data_dir, rows = prepared
    prepare_data("c4_60m", data_dir, rows=rows)
    prepare_data("c4", str(data_dir), lambda what, done: None, rows)
    for split in rows:
        text = refusal(data_dir, {**rows, split: rows[split] + 1})
        assert f"tokens of {split}, fewer than the" in text
    for name in WORKLOADS:
        text = refusal(data_dir, name=name)
        needed = amounts_of(name, read_meta(data_dir / "c4").layout).tokens("train")
        assert f"tokens of train, fewer than the {needed:,} that are needed" in text
        assert " --tokenizer_path=spiece.model --overwrite, with" in text


def test_rows_of_another_length(prepared):
    data_dir, rows = prepared
    path = data_dir / "c4" / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "layout": "truncated", "row_tokens": 128}))
    assert "c4 has row_tokens 128, not 257" in refusal(data_dir, rows)


def test_damaged_facts(prepared):
    data_dir, rows = prepared
    path = data_dir / "c4" / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "vocab_size": 32_001}))
    assert "has tokens below 32001, but the model knows 32000 only" in refusal(data_dir, rows)
    del meta["splits"]["test"]
    path.write_text(json.dumps(meta))
    assert "no split 'test', only train, validation" in refusal(data_dir, rows)
    path.write_text("{")
    assert "meta.json is damaged" in refusal(data_dir, rows)


def test_damaged_files(prepared):
    data_dir, rows = prepared
    first, second = (data_dir / "c4" / f"train_0000{number}.bin" for number in (0, 1))
    for path in (first, second):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    digest = json.loads((data_dir / "c4" / "meta.json").read_text())["sha256"][first.name]
    text = refusal(data_dir, rows)
    assert f"{first} is damaged (sha256 " in text
    assert f", expected {digest}), and 1 more files; data for it" in text
    first.write_bytes(first.read_bytes()[:-2])
    assert f"{first} is missing or truncated" in refusal(data_dir, rows)
    first.unlink()
    assert f"{first} is missing or truncated: it has 0 bytes" in refusal(data_dir, rows)


def test_files_are_read_once_with_progress(prepared):
    data_dir, rows = prepared
    told = []
    prepare_data("c4_60m", data_dir, lambda *args: told.append(args), rows)
    names = json.loads((data_dir / "c4" / "meta.json").read_text())["sha256"]
    assert [what for what, _ in told] == [f"checking {name}" for name in names]
    assert all(0 <= done < 1 for _, done in told)
    told.clear()
    prepare_data("c4", data_dir, lambda *args: told.append(args), rows)
    assert told == []


def test_no_framework_is_needed(prepared):
    data_dir, rows = prepared
    program = (
        "import sys; from workloads_overrides import prepare_data; "
        f"prepare_data('c4', {str(data_dir)!r}, rows={rows!r}); "
        "assert not {'jax', 'torch', 'sentencepiece'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_small_workloads_prepare_by_themselves(monkeypatch, tmp_path):
    from workloads_overrides.small.ogbg import prepare

    calls = []
    monkeypatch.setattr(prepare, "prepare", lambda *args: calls.append(args))
    prepare_data("ogbg_small", tmp_path, print, {"train": 1})
    assert calls == [(tmp_path, print)]


@pytest.mark.parametrize("layout", [None, "truncated"])
def test_the_command_runs(tmp_path, layout):
    """Up to the two files that a user must have."""
    data_dir = tmp_path / "of two words"
    (data_dir / "c4").mkdir(parents=True)
    command, told = remedy("c4_350m", data_dir, layout).split(", with the files of ")
    assert told.startswith("allenai/c4 in FOLDER")
    python, script, *flags = shlex.split(command)
    assert python == "python"
    assert flags[-1] == "--overwrite"
    assert ("--layout=truncated" in flags) == (layout is not None)
    write_files(tmp_path / "FOLDER", fresh())
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / script), *flags],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read the tokenizer spiece.model: No such file")


def test_only_the_script_needs_the_corpus():
    """`corpus` imports the modules beside it: none of these may import it, nor what does."""
    folder = REPOSITORY / "workloads_overrides" / "c4"
    files = [*folder.glob("*.py"), *(folder / "tokenizers").glob("*.py")]
    files += (folder / "sources").glob("*.py")
    assert len(files) > 15
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = {node.module or "", *(alias.name for alias in node.names)}
                assert not any("corpus" in name.split(".") for name in names), path
