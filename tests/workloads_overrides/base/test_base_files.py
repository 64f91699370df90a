"""Digests, writing that is whole or not at all, and errors that name their file; the lock."""

import hashlib
import os

import pytest
from c4_corpus import fresh

from workloads_overrides.base.cache import locked
from workloads_overrides.base.files import file_sha256, naming, sync_folder, write_atomically


def test_digest(tmp_path):
    content = fresh().randbytes(3_000_000)
    (tmp_path / "f").write_bytes(content)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_a_file_keeps_what_it_had_until_it_has_all_of_the_new(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomically(path, b"first")

    def refuse(number):
        assert path.read_bytes() == b"first"
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left") as caught:
            write_atomically(path, b"second")
    assert caught.value.filename == f"{path}.tmp"
    assert path.read_bytes() == b"first"
    write_atomically(path, b"third")
    assert path.read_bytes() == b"third"
    assert os.listdir(tmp_path) == ["f"]
    sync_folder(tmp_path)


def test_naming_keeps_a_name_that_is_there(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path):
        (tmp_path / "missing").read_bytes()
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(OSError, match="No space") as caught, naming(tmp_path / "f"):
        raise OSError(28, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path / "f"))
    with pytest.raises(ValueError, match="other"), naming(tmp_path):
        raise ValueError("other")


def test_a_lock_is_held_once_and_given_back(tmp_path):
    path = tmp_path / "lock"
    with locked(path), pytest.raises(BlockingIOError), locked(path, wait=False):
        pass
    with locked(path, wait=False):
        pass
