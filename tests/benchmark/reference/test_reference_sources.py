"""The copy that tests run from, and the digest that names it."""

import pytest
from fake_harness import commit, write

from benchmark.errors import UserError
from benchmark.reference import sources

PARTS = ("code", "spaces/a.json")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    write(folder / "code/a.py", "a = 1\n")
    write(folder / "code/deep/b.py", "b = 1\n")
    write(folder / "spaces/a.json", "[]")
    write(folder / "other.py", "")
    return folder


def test_files_of_a_plain_folder(root):
    write(root / "code/__pycache__/a.pyc", "x")
    found = sources.of(root, PARTS)
    assert found.files == ("code/a.py", "code/deep/b.py", "spaces/a.json")


def test_in_a_checkout_ignored_files_do_not_count_and_new_ones_do(root):
    write(root / ".gitignore", "*.log\n")
    commit(root)
    before = sources.of(root, PARTS)
    write(root / "code/run.log", "x")
    assert sources.of(root, PARTS) == before
    write(root / "code/new.py", "")
    assert "code/new.py" in sources.of(root, PARTS).files
    (root / "code/a.py").unlink()
    assert "code/a.py" not in sources.of(root, PARTS).files


def test_a_folder_that_git_ignores_is_taken_whole(root):
    write(root / ".gitignore", "exports\n")
    commit(root)
    write(root / "exports/a.py", "")
    assert sources.of(root / "exports", ["a.py"]).files == ("a.py",)


def test_the_digest_follows_names_and_contents_and_nothing_else(root):
    digest = sources.of(root, PARTS).digest
    write(root / "other.py", "changed")
    assert sources.of(root, PARTS).digest == digest
    write(root / "code/a.py", "a = 2\n")
    changed = sources.of(root, PARTS).digest
    (root / "code/a.py").rename(root / "code/c.py")
    renamed = sources.of(root, PARTS).digest
    assert len({digest, changed, renamed}) == 3


def test_committing_changes_no_digest(root):
    commit(root)
    write(root / "code/a.py", "a = 3\n")
    before, told = sources.of(root, PARTS).digest, sources.commit(root)
    commit(root)
    assert sources.of(root, PARTS).digest == before
    assert told.endswith("+")
    assert not sources.commit(root).endswith("+")
    assert len(sources.commit(root)) == 40


def test_outside_a_checkout_there_is_no_commit(root):
    assert sources.commit(root) == ""


def test_bytes_that_move_between_files_change_the_digest(tmp_path):
    write(tmp_path / "x/a", "12")
    write(tmp_path / "x/b", "3")
    write(tmp_path / "y/a", "1")
    write(tmp_path / "y/b", "23")
    digests = {sources.of(tmp_path / name, ["a", "b"]).digest for name in "xy"}
    assert len(digests) == 2


def test_the_snapshot_holds_the_files_and_is_made_once(root, tmp_path):
    found = sources.of(root, PARTS)
    copy = found.snapshot(tmp_path / "copies")
    assert copy == tmp_path / "copies" / found.digest
    assert sorted(str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()) == [
        *found.files
    ]
    assert (copy / "code/deep/b.py").read_text() == "b = 1\n"
    (copy / "mark").touch()
    assert (found.snapshot(tmp_path / "copies") / "mark").exists()
    assert [path.name for path in (tmp_path / "copies").iterdir()] == [found.digest]


def test_a_file_that_changes_before_it_is_copied_is_an_error(root, tmp_path):
    found = sources.of(root, PARTS)
    write(root / "code/a.py", "a = 2\n")
    with pytest.raises(UserError, match="changed while they were copied"):
        found.snapshot(tmp_path / "copies")
    assert list((tmp_path / "copies").iterdir()) == []
