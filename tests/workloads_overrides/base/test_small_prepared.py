"""Prepared folders: whole or not there, checked each time, made once whoever asks."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from workload_processes import REPOSITORY

from workloads_overrides import DataError
from workloads_overrides.base.files import file_sha256
from workloads_overrides.small.prepared import Prepared

DATA = Prepared(
    workload="made_up",
    folder="made_up_v1",
    facts=(("format", 2), ("sources", ("aa", "bb")), ("counts", (("train", 5), ("test", 1)))),
    files=("a.npy", "b.txt"),
)
CONTENT = {"a.npy": b"\x00" * 100, "b.txt": b"some text\n"}


def build(folder, progress):
    assert not list(folder.iterdir())
    for i, (name, content) in enumerate(CONTENT.items()):
        progress(f"writing {name}", i / 4)
        (folder / name).write_bytes(content)
    return {"vocabulary": 7, "seconds": 0.5}


@pytest.fixture
def folder(tmp_path):
    DATA.prepare(tmp_path / "data", build)
    return tmp_path / "data" / "made_up_v1"


def never(folder, progress):
    raise AssertionError("built a second time")


def test_the_folder_has_the_files_and_says_what_they_are(folder):
    assert {path.name for path in folder.iterdir()} == {"a.npy", "b.txt", "meta.json"}
    meta = json.loads((folder / "meta.json").read_text())
    assert meta == {
        "format": 2,
        "sources": ["aa", "bb"],
        "counts": [["train", 5], ["test", 1]],
        "vocabulary": 7,
        "seconds": 0.5,
        "sha256": {name: file_sha256(folder / name) for name in CONTENT},
    }
    assert DATA.path(folder.parent) == folder
    assert DATA.path(str(folder.parent)) == folder


def test_a_second_preparation_touches_nothing(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    calls = []
    DATA.prepare(folder.parent, never, lambda *args: calls.append(args))
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_progress_ends_at_one(tmp_path):
    calls = []
    DATA.prepare(tmp_path, build, lambda stage, fraction: calls.append((stage, fraction)))
    assert calls == [("writing a.npy", 0.0), ("writing b.txt", 0.25), ("prepared", 1.0)]


def rejected(folder, data=DATA):
    """The one line with which both uses reject what is there, leaving it alone."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    lines = set()
    for use in (data.path, lambda data_dir: data.prepare(data_dir, never)):
        with pytest.raises(DataError) as caught:
            use(folder.parent)
        lines.add(str(caught.value))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (line,) = lines
    assert "\n" not in line
    assert f"delete {folder} and prepare it again" in line
    return line


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("damage", ["cut", "flipped", "longer", "empty", "gone"])
def test_damaged_files(folder, name, damage):
    content = bytearray(CONTENT[name])
    content[5] ^= 1
    damaged = {
        "cut": CONTENT[name][:-1],
        "flipped": bytes(content),
        "longer": CONTENT[name] + b"\0",
        "empty": b"",
    }
    if damage == "gone":
        (folder / name).unlink()
        assert f"{name} cannot be read (No such file or directory)" in rejected(folder)
    else:
        (folder / name).write_bytes(damaged[damage])
        assert f"{name} is damaged (sha256 {file_sha256(folder / name)}, " in rejected(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '{"format": 2}', b"\xff\xfe", '{"sha256": {}}', None]
)
def test_damaged_meta(folder, text):
    path = folder / "meta.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "meta.json is damaged" in rejected(folder)


@pytest.mark.parametrize("sha256", [None, [], {"a.npy": "x"}, "text"])
def test_meta_without_its_checksums(folder, sha256):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"sha256": sha256}))
    assert "meta.json is damaged" in rejected(folder)


@pytest.mark.parametrize(
    ("name", "value"), [("format", 1), ("sources", ("aa", "cc")), ("counts", (("train", 5),))]
)
def test_an_old_format_or_other_sources(folder, name, value):
    newer = replace(DATA, facts=tuple((dict(DATA.facts) | {name: value}).items()))
    line = rejected(folder, newer)
    assert f"'{name}': {json.loads(json.dumps(value))}" in line
    assert f"'{name}': {json.loads(json.dumps(dict(DATA.facts)[name]))}" in line


def test_a_new_fact_or_file_is_missed(folder):
    assert "vintage" in rejected(folder, replace(DATA, facts=(*DATA.facts, ("vintage", 1))))
    assert "c.txt" in rejected(folder, replace(DATA, files=(*DATA.files, "c.txt")))


def test_what_was_never_prepared(tmp_path):
    with pytest.raises(DataError) as caught:
        DATA.path(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/made_up_v1 is missing: run python scripts/prepare_data.py "
        f"--workloads=made_up --data_dir={tmp_path}"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [DataError("no network"), KeyboardInterrupt(), RuntimeError()])
def test_an_error_leaves_nothing(tmp_path, error):
    def fail(folder, progress):
        build(folder, progress)
        raise error

    with pytest.raises(type(error)):
        DATA.prepare(tmp_path, fail)
    assert [path.name for path in tmp_path.iterdir()] == [".made_up_v1.lock"]
    DATA.prepare(tmp_path, build)
    assert DATA.path(tmp_path).is_dir()


def test_a_file_that_the_builder_forgot(tmp_path):
    def forgetful(folder, progress):
        about = build(folder, progress)
        (folder / "b.txt").unlink()
        return about

    with pytest.raises(DataError, match=r"No such file or directory: .*b\.txt"):
        DATA.prepare(tmp_path, forgetful)
    assert not (tmp_path / "made_up_v1").exists()


def test_data_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot prepare"):
        DATA.prepare(tmp_path / "file", build)


PROCESS = """
import sys, time
from pathlib import Path
from workloads_overrides.small.prepared import Prepared

root = Path(sys.argv[1])

def build(folder, progress):
    with (root / "log").open("a") as log:
        log.write("built\\n")
    time.sleep(float(sys.argv[2]))
    (folder / "a.npy").write_bytes(b"x")
    return {}

Prepared("made_up", "made_up_v1", (("format", 2),), ("a.npy",)).prepare(root / "data", build)
"""


def start(root, seconds):
    return subprocess.Popen([sys.executable, "-c", PROCESS, root, str(seconds)], cwd=REPOSITORY)


def test_processes_at_once_build_once(tmp_path):
    processes = [start(tmp_path, 0.5) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_killed_preparation_is_invisible_and_the_next_one_works(tmp_path):
    process = start(tmp_path, 60)
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait(60)
    with pytest.raises(DataError, match="is missing"):
        DATA.path(tmp_path / "data")
    assert (tmp_path / "data" / ".made_up_v1.tmp").exists()
    DATA.prepare(tmp_path / "data", build)
    assert DATA.path(tmp_path / "data").is_dir()
    assert not (tmp_path / "data" / ".made_up_v1.tmp").exists()
