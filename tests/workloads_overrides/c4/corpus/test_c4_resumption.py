"""What an interrupted preparation leaves, and what the next call makes of it."""

import json
import os
from dataclasses import replace

import pytest
from c4_corpus import (
    Shown,
    a_request,
    contents,
    fresh,
    line_of,
    most_rows,
    write_files,
    write_lines,
)

from workloads_overrides import DataError
from workloads_overrides.c4.corpus import run
from workloads_overrides.c4.corpus.run import prepare_corpus
from workloads_overrides.c4.corpus.vocabulary import Vocabulary


class Killed(BaseException):
    """What happens to nothing else."""


@pytest.fixture
def corpus(tmp_path):
    """The files' folder, the number of training rows, and the digests of an undisturbed result."""
    texts = write_files(tmp_path / "in", fresh(), documents=40)
    rows = most_rows(texts["train"]) - 1
    whole = a_request(tmp_path / "in", tmp_path / "undisturbed", rows)
    prepare_corpus(whole, Shown())
    return tmp_path / "in", rows, contents(whole.folder)


@pytest.fixture
def interrupted(corpus, tmp_path, monkeypatch):
    """The request of a preparation that ended with all parts made and no result."""
    folder, rows, _ = corpus
    request = a_request(folder, tmp_path / "out", rows)
    with monkeypatch.context() as patch:
        patch.setattr(run, "write_result", _killed)
        with pytest.raises(Killed):
            prepare_corpus(request, Shown())
    assert not request.folder.exists()
    return request


def _killed(*_):
    raise Killed


def parts_of(request):
    return request.data_dir / ".c4.partial" / "parts"


def files(request):
    """Finished parts, or shards: one that is used again is the same file, unchanged."""
    paths = [*parts_of(request).glob("*.bin"), *request.folder.glob("*.bin")]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def cut_of(request):
    """The last shard of each split: it has another file than its part, if it was cut."""
    splits = json.loads((request.folder / "meta.json").read_text())["splits"].values()
    return {split["shards"][-1][0] for split in splits}


def test_finished_parts_are_not_made_again(interrupted, corpus):
    before = files(interrupted)
    shown = Shown()
    prepare_corpus(interrupted, shown)
    after = files(interrupted)
    assert contents(interrupted.folder) == corpus[2]
    assert {name for name in after if after[name] != before[name]} <= cut_of(interrupted)
    assert {"train_00000.bin", "train_00001.bin"} <= set(after) - cut_of(interrupted)
    assert any(f"{len(before)} parts are finished already" in note for note in shown.notes)


@pytest.mark.parametrize("suffix", [".bin", ".documents", ".json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_part_is_made_again(interrupted, corpus, suffix, damage):
    path = parts_of(interrupted) / f"train_00001{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:-2])
    before = files(interrupted)
    prepare_corpus(interrupted, Shown())
    after = files(interrupted)
    assert contents(interrupted.folder) == corpus[2]
    changed = {name for name in after if after[name] != before.get(name)}
    # It, and the last of each split, which was cut.
    assert "train_00001.bin" in changed
    assert changed <= {"train_00001.bin", *cut_of(interrupted)}


def test_a_damaged_parts_record_says_so(interrupted):
    path = parts_of(interrupted) / "train_00001.bin"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    shown = Shown()
    prepare_corpus(interrupted, shown)
    assert any("1 damaged or of other input, made again" in note for note in shown.notes)


def test_a_part_of_another_file_is_made_again(interrupted, corpus):
    """A file comes before all others: every part then belongs to another one."""
    folder, rows, _ = corpus
    first = sorted(folder.glob("c4-train*"))[0]
    (folder / "c4-train.00000-of-00001.json.gz").write_bytes(first.read_bytes())
    prepare_corpus(interrupted, Shown())
    again = a_request(folder, interrupted.data_dir.parent / "again", rows)
    prepare_corpus(again, Shown())
    assert contents(interrupted.folder) == contents(again.folder)
    assert contents(interrupted.folder) != corpus[2]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"eval_rows": 2}, "rows {"),
        ({"layout": "truncated"}, "layout 'packed', not 'truncated'"),
        ({"vocabulary": Vocabulary("train")}, "tokenizer {'kind': 'byte'"),
    ],
)
def test_another_plan_is_refused_or_begun_anew(interrupted, corpus, changed, told):
    folder, rows, _ = corpus
    before = files(interrupted)
    options = {"train_rows": rows, **changed}
    with pytest.raises(DataError) as caught:
        prepare_corpus(a_request(folder, interrupted.data_dir, **options), Shown())
    assert told in str(caught.value)
    assert "begin anew with --overwrite" in str(caught.value)
    assert files(interrupted) == before
    if "vocabulary" in changed or "layout" in changed:
        return  # these cannot be made of so few documents
    anew = a_request(folder, interrupted.data_dir, overwrite=True, **options)
    prepare_corpus(anew, Shown())
    plain = a_request(folder, interrupted.data_dir.parent / "plain", **options)
    prepare_corpus(plain, Shown())
    assert contents(anew.folder) == contents(plain.folder)


def test_what_was_finished_without_bad_documents_is_the_same_when_they_are_skipped(
    interrupted, corpus
):
    shown = Shown()
    prepare_corpus(replace(interrupted, skip_bad_lines=True), shown)
    assert contents(interrupted.folder) == corpus[2]
    assert any("finished already" in note for note in shown.notes)
    assert not any("made again" in note for note in shown.notes)


@pytest.mark.parametrize("jobs", [1, 2])
def test_skipping_may_be_asked_for_and_taken_back_in_the_middle(tmp_path, jobs):
    folder = tmp_path / "in"
    made = write_files(folder, fresh(), documents=30)
    train = sorted(folder.glob("c4-train*"))
    write_lines(train[1], [*map(line_of, made["train"][1]), b"{"])
    told = f"{train[1]}, line {len(made['train'][1]) + 1}: malformed JSON"
    # More than there is: the parts are finished, and the result never.
    request = a_request(folder, tmp_path / "out", 10_000, jobs=jobs)
    with pytest.raises(DataError, match=told):
        prepare_corpus(request, Shown())
    with pytest.raises(DataError, match="too few tokens of train"):
        prepare_corpus(replace(request, skip_bad_lines=True), Shown())
    with pytest.raises(DataError, match=told):
        prepare_corpus(request, Shown())


def test_another_plan_is_no_matter_where_nothing_is_finished(corpus, tmp_path):
    folder, rows, digests = corpus
    model = tmp_path / "no.model"
    wrong = a_request(folder, tmp_path / "out", rows, vocabulary=Vocabulary("t5", model))
    with pytest.raises(DataError, match=f"cannot read the tokenizer {model}"):
        prepare_corpus(wrong, Shown())
    right = a_request(folder, tmp_path / "out", rows)
    prepare_corpus(right, Shown())
    assert contents(right.folder) == digests


def test_a_plan_that_cannot_be_read(interrupted, corpus):
    (parts_of(interrupted).parent / "plan.json").write_text('{"layout": ')
    with pytest.raises(DataError, match="begun with a plan that cannot be read: "):
        prepare_corpus(interrupted, Shown())
    folder, rows, digests = corpus
    anew = a_request(folder, interrupted.data_dir, rows, overwrite=True)
    prepare_corpus(anew, Shown())
    assert contents(anew.folder) == digests


@pytest.mark.parametrize("overwrite", [False, True])
def test_it_may_end_before_any_rename(tmp_path, monkeypatch, overwrite):
    """Every file takes its name by `os.replace`: stop at the first one, the second, and so on."""
    folder = tmp_path / "in"
    rows = most_rows(write_files(folder, fresh(), train=2, validation=2)["train"]) - 1
    undisturbed = a_request(folder, tmp_path / "undisturbed", rows)
    prepare_corpus(undisturbed, Shown())
    digests = contents(undisturbed.folder)
    replace, calls, stop_at = os.replace, 0, 0

    def stopping(source, target):
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", stopping)
    for stop_at in range(1, 200):
        request = a_request(folder, tmp_path / f"out{stop_at}", rows, overwrite=overwrite)
        if overwrite:
            calls = -(10**6)
            prepare_corpus(a_request(folder, request.data_dir, 1), Shown())
        calls = 0
        try:
            prepare_corpus(request, Shown())
            break
        except Killed:
            pass
        calls = -(10**6)
        old = a_request(folder, request.data_dir, 1)
        if overwrite and request.folder.exists():
            prepare_corpus(old, Shown())  # what was there is there, and whole
        prepare_corpus(request, Shown())
        assert contents(request.folder) == digests
        assert sorted(os.listdir(request.data_dir)) == [".c4.lock", "c4"]
    assert stop_at > 15
    assert contents(request.folder) == digests


def test_what_the_very_last_step_left_is_removed(interrupted, corpus, monkeypatch):
    from workloads_overrides.c4.corpus import work

    with monkeypatch.context() as patch:
        patch.setattr(work.WorkFolder, "clean_up", _killed)
        with pytest.raises(Killed):
            prepare_corpus(interrupted, Shown())
    assert contents(interrupted.folder) == corpus[2]
    assert (interrupted.data_dir / ".c4.partial").exists()
    prepare_corpus(interrupted, Shown())
    assert sorted(os.listdir(interrupted.data_dir)) == [".c4.lock", "c4"]


def test_a_prepared_folder_is_left_alone_and_needs_no_rights(interrupted, corpus):
    prepare_corpus(interrupted, Shown())
    (interrupted.data_dir / ".c4.lock").unlink()
    before = {path: path.stat() for path in interrupted.data_dir.rglob("*")}
    shown = Shown()
    prepare_corpus(interrupted, shown)
    assert {path: path.stat() for path in interrupted.data_dir.rglob("*")} == before
    (note,) = shown.notes
    assert note.startswith(f"{interrupted.folder} is there already, with all that c4_60m needs; ")


def test_a_stale_shard_does_not_get_into_the_result(interrupted, corpus):
    stale = parts_of(interrupted).parent / "result"
    stale.mkdir()
    (stale / "train_00099.bin").write_bytes(b"x")
    prepare_corpus(interrupted, Shown())
    assert contents(interrupted.folder) == corpus[2]


def test_processes_give_the_same_bytes(corpus, tmp_path):
    folder, rows, digests = corpus
    request = a_request(folder, tmp_path / "out", rows, jobs=2)
    prepare_corpus(request, Shown())
    assert contents(request.folder) == digests
    assert json.loads((request.folder / "meta.json").read_text())["sha256"]
