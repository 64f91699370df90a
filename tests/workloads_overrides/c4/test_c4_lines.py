"""Lines of plain and compressed files: whole, damaged, too long, and memory whatever their size."""

import gzip
import tracemalloc

import pytest
from c4_corpus import fresh

from workloads_overrides import DataError
from workloads_overrides.c4.sources.lines import read_lines
from workloads_overrides.c4.sources.unit import BadDocuments


def lines_of(path, bad, **options):
    return [(number, line) for number, line, _ in read_lines(path, bad, **options)]


def a_file(folder, content, compressed):
    path = folder / ("f.json.gz" if compressed else "f.json")
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_lines_numbers_and_positions(tmp_path, compressed):
    rng = fresh()
    lines = [rng.randbytes(rng.randrange(3000)).replace(b"\n", b"") + b"\n" for _ in range(200)]
    lines[-1] = b"the last one without its end"
    path = a_file(tmp_path, b"".join(lines), compressed)
    bad = BadDocuments()
    found = list(read_lines(path, bad))
    assert [line for _, line, _ in found] == lines
    assert [number for number, _, _ in found] == list(range(1, 201))
    positions = [position for *_, position in found]
    assert positions == sorted(positions)
    assert positions[0] > 0
    assert positions[-1] == path.stat().st_size
    assert bad.count == 0


def test_compressed_in_several_pieces(tmp_path):
    path = tmp_path / "f.json.gz"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\n"))
    assert lines_of(path, BadDocuments()) == [(1, b"a\n"), (2, b"bc\n")]


@pytest.mark.parametrize("compressed", [False, True])
def test_lines_that_are_too_long(tmp_path, compressed):
    content = b"short\n" + b"x" * 1000 + b"\n" + b"y" * 101 + b"\n" + b"z" * 99 + b"\nend\n"
    path = a_file(tmp_path, content, compressed)
    with pytest.raises(DataError, match=rf"{path}, line 2: longer than 100 bytes"):
        lines_of(path, BadDocuments(), max_line=100)
    bad = BadDocuments(skip=True)
    found = lines_of(path, bad, max_line=100)
    assert found == [(1, b"short\n"), (4, b"z" * 99 + b"\n"), (5, b"end\n")]
    *_, (_, _, position) = read_lines(path, BadDocuments(skip=True), max_line=100)
    assert position == path.stat().st_size
    assert (bad.count, bad.truncated_files) == (2, 0)
    assert bad.first == f"{path}, line 2: longer than 100 bytes"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no gzip", "rubbish behind"])
def test_the_rest_of_a_damaged_file_is_counted_as_a_file(tmp_path, damage):
    rng = fresh()
    lines = [rng.randbytes(50).hex().encode() + b"\n" for _ in range(5000)]
    content = gzip.compress(b"".join(lines))
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        middle = len(content) // 2
        content = content[:middle] + bytes(64) + content[middle + 64 :]
    elif damage == "no gzip":
        content = b"".join(lines)
    else:
        content += b"rubbish"
    path = tmp_path / "f.json.gz"
    path.write_bytes(content)
    bad = BadDocuments(skip=True)
    found = [line for _, line in lines_of(path, bad)]
    assert (bad.count, bad.truncated_files) == (0, 1)
    expected = {"truncated": 1000, "flipped": 1000, "no gzip": 0, "rubbish behind": 5000}[damage]
    assert len(found) >= expected
    if damage != "flipped":
        assert found == lines[: len(found)]
    assert bad.first.startswith(
        f"{path}, the rest of the file from line {len(found) + 1}: damaged or truncated ("
    )
    with pytest.raises(DataError) as caught:
        lines_of(path, BadDocuments())
    remedy = " (--skip_bad_lines leaves the rest of such files out)"
    assert str(caught.value) == bad.first + remedy


@pytest.mark.parametrize("name", ["f.json", "f.json.gz"])
def test_an_empty_file(tmp_path, name):
    path = tmp_path / name
    path.touch()
    with pytest.raises(DataError, match=f"{path}: the file is empty"):
        lines_of(path, BadDocuments())
    bad = BadDocuments(skip=True)
    assert lines_of(path, bad) == []
    assert (bad.count, bad.truncated_files) == (0, 1)


def test_a_file_that_cannot_be_opened(tmp_path):
    for skip in (False, True):
        with pytest.raises(DataError, match=r"cannot read .*f\.json: No such file"):
            lines_of(tmp_path / "f.json", BadDocuments(skip))
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory"):
        lines_of(tmp_path, BadDocuments(skip=True))


@pytest.mark.parametrize("compressed", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path, compressed):
    line = b"x" * 999 + b"\n"
    path = a_file(tmp_path, line * 30_000, compressed)
    with path.open("rb") as file:
        assert file.read(2)
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_lines(path, BadDocuments()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 1 << 20


def test_memory_does_not_grow_with_a_line(tmp_path):
    path = a_file(tmp_path, b"x" * 30_000_000 + b"\nend\n", compressed=False)
    bad = BadDocuments(skip=True)
    tracemalloc.start()
    try:
        found = lines_of(path, bad, max_line=10_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found, bad.count) == ([(2, b"end\n")], 1)
    assert peak < 1 << 20
