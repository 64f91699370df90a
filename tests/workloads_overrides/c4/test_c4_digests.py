"""Files of a prepared folder against their digests, and what is remembered of that."""

import json
import os

import pytest
from c4_corpus import contents, fresh

from workloads_overrides import DataError
from workloads_overrides.c4.digests import damaged_files


def read_of(folder, remembered=True):
    """The names of the files that are read, and what is said of them."""
    looks = []
    problems = damaged_files(folder, lambda name, _: looks.append(name), remembered)
    return looks, problems


def names_of(folder):
    names = list(json.loads((folder / "meta.json").read_text())["sha256"])
    assert {*names, "meta.json"} == set(contents(folder))
    return names


def flip(path, rng):
    """Changes a bit, and neither size nor time."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_undamaged(prepared):
    looks = []
    assert damaged_files(prepared.folder, lambda *args: looks.append(args)) == []
    names = [name for name, _ in looks]
    assert set(names) == set(contents(prepared.folder)) - {"meta.json"}
    fractions = [done for _, done in looks]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0


def test_every_damaged_file_is_named(prepared):
    rng = fresh()
    paths = sorted(prepared.folder.glob("*.bin"))
    flipped, shortened, removed = rng.sample(paths, 3)
    content = bytearray(flipped.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    flipped.write_bytes(content)
    shortened.write_bytes(shortened.read_bytes()[:-2])
    removed.unlink()
    problems = damaged_files(prepared.folder, lambda *args: None)
    told = {path: [line for line in problems if str(path) in line] for path in paths}
    assert {path for path in paths if told[path]} == {flipped, shortened, removed}
    assert len(problems) == 3
    assert "is damaged (sha256" in told[flipped][0]
    assert "cannot be read: No such file" in told[removed][0]


@pytest.mark.parametrize("what", ["missing", "no digests", "a digest short", "not JSON"])
def test_a_meta_json_that_says_nothing_of_files(prepared, what):
    path = prepared.folder / "meta.json"
    meta = json.loads(path.read_text())
    if what == "missing":
        path.unlink()
    elif what == "not JSON":
        path.write_text("{")
    else:
        del meta["sha256"]["train_00000.bin"]
        if what == "no digests":
            del meta["sha256"]
        path.write_text(json.dumps(meta))
    with pytest.raises(DataError, match=r"meta\.json is (missing|damaged)"):
        damaged_files(prepared.folder, lambda *args: None)


def test_files_are_read_once_and_again_when_asked_for(prepared):
    names = names_of(prepared.folder)
    before = contents(prepared.folder)
    assert read_of(prepared.folder) == (names, [])
    assert read_of(prepared.folder) == ([], [])
    assert read_of(prepared.folder, remembered=False) == (names, [])
    assert read_of(prepared.folder) == ([], [])
    assert contents(prepared.folder) == before
    assert (prepared.data_dir / ".c4.checked.json").exists()


def test_a_check_of_all_is_remembered_too(prepared):
    read_of(prepared.folder, remembered=False)
    assert read_of(prepared.folder) == ([], [])


def test_what_has_changed_is_read_again(prepared):
    rng = fresh()
    names = names_of(prepared.folder)
    read_of(prepared.folder)
    touched = rng.choice(names)
    path = prepared.folder / touched
    os.utime(path, ns=(1, 1))
    assert read_of(prepared.folder) == ([touched], [])
    path.write_bytes(path.read_bytes() + b"x")
    looks, (problem,) = read_of(prepared.folder)
    assert (looks, f"{path} is damaged" in problem) == ([touched], True)
    # What is damaged is not remembered.
    assert read_of(prepared.folder) == (looks, [problem])


def test_another_digest_in_meta_json(prepared):
    read_of(prepared.folder)
    path = prepared.folder / "meta.json"
    meta = json.loads(path.read_text())
    name = fresh().choice(sorted(meta["sha256"]))
    meta["sha256"][name] = "0" * 64
    path.write_text(json.dumps(meta))
    looks, (problem,) = read_of(prepared.folder)
    assert looks == [name]
    assert f"expected {'0' * 64})" in problem


def test_damage_that_a_check_of_all_finds_is_known_to_runs(prepared):
    """Such as of the disk, of which neither size nor time tells."""
    rng = fresh()
    read_of(prepared.folder)
    path = prepared.folder / rng.choice(names_of(prepared.folder))
    flip(path, rng)
    assert read_of(prepared.folder) == ([], [])
    _, problems = read_of(prepared.folder, remembered=False)
    assert len(problems) == 1
    assert read_of(prepared.folder) == ([path.name], problems)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"train_00000.bin": 3}', "\udcff"])
def test_a_damaged_memory_is_none(prepared, content):
    stamp = prepared.data_dir / ".c4.checked.json"
    stamp.write_bytes(content.encode(errors="surrogateescape"))
    names = names_of(prepared.folder)
    assert read_of(prepared.folder) == (names, [])
    assert read_of(prepared.folder) == ([], [])


def test_where_nothing_can_be_written_every_call_reads(prepared):
    (prepared.data_dir / ".c4.checked.json.tmp").mkdir()  # as the superuser may write anywhere
    names = names_of(prepared.folder)
    for _ in range(2):
        assert read_of(prepared.folder) == (names, [])
