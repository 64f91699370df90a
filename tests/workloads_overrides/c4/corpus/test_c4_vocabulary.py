"""The tokenizer's choice: what goes together, and a trained one that is kept."""

import gzip
import hashlib
import json

import pytest
from c4_corpus import Shown, a_request, contents, document, fresh, line_of, write_lines

from workloads_overrides import DataError
from workloads_overrides.c4.corpus import vocabulary as vocabulary_module
from workloads_overrides.c4.corpus.run import prepare_corpus
from workloads_overrides.c4.corpus.vocabulary import KINDS, Vocabulary
from workloads_overrides.c4.corpus.work import WorkFolder
from workloads_overrides.c4.meta import read_meta
from workloads_overrides.c4.sources.jsonl import JsonlSource
from workloads_overrides.c4.tokenizers import (
    T5_SHA256,
    ByteTokenizer,
    load_sentencepiece,
    train_sentencepiece,
)

SHA256 = "0" * 64
WORDS = 400


def words(rng):
    """Text of made-up words, so that there is something to learn."""
    known = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(WORDS)]
    return lambda: " ".join(rng.choices(known, k=rng.randint(20, 90)))


@pytest.fixture
def folder(tmp_path):
    rng = fresh()
    text = words(rng)
    folder = tmp_path / "in"
    folder.mkdir()
    for kind, count in (("train", 3), ("validation", 2)):
        for number in range(count):
            lines = [line_of(text()) for _ in range(50)]
            write_lines(folder / f"c4-{kind}.{number:05d}-of-01024.json.gz", lines)
    return folder


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"kind": "t5"}, "--tokenizer=t5 needs --tokenizer_path"),
        ({"kind": "sentencepiece"}, "--tokenizer=sentencepiece needs --tokenizer_path"),
        ({"kind": "sentencepiece", "path": "a"}, "needs --tokenizer_sha256"),
        ({"kind": "byte", "path": "a"}, "--tokenizer=byte has no file"),
        ({"kind": "train", "sha256": SHA256}, "--tokenizer=train has no file"),
        ({"kind": "t5", "path": "a", "sha256": SHA256}, f"{SHA256} is not T5's, {T5_SHA256}"),
    ],
)
def test_what_does_not_go_together(choice, told):
    with pytest.raises(DataError, match=told):
        Vocabulary(**choice)


def test_what_identifies_it(tmp_path):
    t5, same = (Vocabulary("t5", tmp_path / "a"), Vocabulary("t5", tmp_path / "b", T5_SHA256))
    assert t5.plan() == same.plan() == {"kind": "t5", "sha256": T5_SHA256}
    other = Vocabulary("sentencepiece", tmp_path / "a", SHA256)
    assert other.known_sha256 == SHA256
    assert Vocabulary("byte").known_sha256 == ByteTokenizer.sha256
    assert Vocabulary("train").known_sha256 is None
    assert Vocabulary("train", size=100).plan() != Vocabulary("train").plan()
    plans = [t5.plan(), other.plan(), Vocabulary("byte").plan(), Vocabulary("train").plan()]
    assert len({json.dumps(plan) for plan in plans}) == len(KINDS)
    assert Vocabulary("byte").versions() == {}
    assert list(t5.versions()) == ["sentencepiece_version"]


def test_a_file_of_another_checksum(tmp_path, folder):
    model = tmp_path / "spiece.model"
    model.write_bytes(b"something else")
    for vocabulary in (Vocabulary("t5", model), Vocabulary("sentencepiece", model, SHA256)):
        request = a_request(folder, tmp_path / "out", 2, vocabulary=vocabulary)
        found = hashlib.sha256(b"something else").hexdigest()
        with pytest.raises(DataError, match=f"{model} has 14 bytes and sha256 {found}, expected"):
            prepare_corpus(request, Shown())


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sentencepiece_file(tmp_path, folder, jobs):
    rng = fresh()
    trained = train_sentencepiece([document(rng) + "abcxyz" for _ in range(300)], 80)
    model = tmp_path / "some.model"
    model.write_bytes(trained.model)
    vocabulary = Vocabulary("sentencepiece", model, trained.sha256)
    request = a_request(folder, tmp_path / "out", 2, vocabulary=vocabulary, jobs=jobs)
    prepare_corpus(request, Shown())
    meta = read_meta(request.folder)
    assert (meta.tokenizer_sha256, meta.vocab_size) == (trained.sha256, 80)
    about = json.loads((request.folder / "meta.json").read_text())
    assert about["sentencepiece_version"] == vocabulary.versions()["sentencepiece_version"]
    assert str(tmp_path) not in json.dumps(about)


def test_a_trained_one_is_beside_the_shards_and_used_again(tmp_path, folder, monkeypatch):
    vocabulary = Vocabulary("train", size=500)
    request = a_request(folder, tmp_path / "out", 2, vocabulary=vocabulary)
    work = WorkFolder(tmp_path / "out" / ".c4.partial")
    work.parts.mkdir(parents=True)
    notes = []
    first = vocabulary.load(request.source, work, False, notes.append)
    assert notes == ["training a vocabulary of 500 pieces on the first documents, a minute or so"]
    again = vocabulary.load(request.source, work, False, notes.append)
    assert again.sha256 == first.sha256
    assert len(notes) == 1
    (tmp_path / "out" / ".c4.partial" / "plan.json").write_text(json.dumps(request.plan()))
    shown = Shown()
    prepare_corpus(request, shown)
    assert not any("training" in note for note in shown.notes)
    meta = read_meta(request.folder)
    assert (meta.tokenizer, meta.tokenizer_sha256) == ("own", first.sha256)
    path = request.folder / "tokenizer.model"
    assert load_sentencepiece(path, first.sha256).vocab_size == meta.vocab_size == 500
    assert contents(request.folder)["tokenizer.model"] == first.sha256
    # An undisturbed run gives the same.
    other = a_request(folder, tmp_path / "other", 2, vocabulary=vocabulary)
    prepare_corpus(other, Shown())
    assert contents(other.folder) == contents(request.folder)


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_a_damaged_trained_one_is_trained_again(tmp_path, folder, name):
    vocabulary = Vocabulary("train", size=500)
    work = WorkFolder(tmp_path / "work")
    work.path.mkdir()
    notes = []
    first = vocabulary.load(JsonlSource(folder), work, False, notes.append)
    content = (work.path / name).read_bytes()
    (work.path / name).write_bytes(content[:20] + content[21:])
    again = vocabulary.load(JsonlSource(folder), work, False, notes.append)
    assert again.sha256 == first.sha256
    assert len(notes) == 2


@pytest.mark.parametrize("name", ["00000-of-01000", "00000-of-09999", "00099-of-01024"])
@pytest.mark.parametrize("enough", [False, True])
def test_files_that_are_added_give_what_an_undisturbed_run_gives(
    tmp_path, folder, monkeypatch, name, enough
):
    """One before, between or behind the others; training ends within the first file, or reads all.

    The first call ends for want of tokens, with a vocabulary and parts."""
    if enough:
        train = vocabulary_module.train_own
        monkeypatch.setattr(
            vocabulary_module, "train_own", lambda texts, size: train(texts, size, 10_000)
        )
    rng = fresh()
    first = tmp_path / "out"
    for path in sorted(folder.glob("c4-train*"))[2:]:
        path.rename(tmp_path / path.name)
    choice = {"vocabulary": Vocabulary("train", size=400), "train_rows": 120}
    with pytest.raises(DataError, match="too few tokens of train"):
        prepare_corpus(a_request(folder, first, **choice), Shown())
    before = (first / ".c4.partial" / "tokenizer.model").read_bytes()
    text = words(rng)
    lines = [line_of(text()) for _ in range(400)]
    write_lines(folder / f"c4-train.{name}.json.gz", lines)
    resumed, shown = a_request(folder, first, **choice), Shown()
    prepare_corpus(resumed, shown)
    undisturbed = a_request(folder, tmp_path / "undisturbed", **choice)
    prepare_corpus(undisturbed, Shown())
    assert contents(resumed.folder) == contents(undisturbed.folder)
    same = enough and name != "00000-of-01000"
    assert ((resumed.folder / "tokenizer.model").read_bytes() == before) == same
    assert any("training" in note for note in shown.notes) != same


def test_files_that_grew_or_another_number_of_pieces_train_again(tmp_path, folder):
    work = WorkFolder(tmp_path / "work")
    work.path.mkdir()
    notes = []

    def load(size):
        return Vocabulary("train", size=size).load(JsonlSource(folder), work, False, notes.append)

    first = load(400)
    assert load(400).sha256 == first.sha256
    assert len(notes) == 1
    assert load(401).vocab_size == 401
    assert len(notes) == 2
    (path, *_) = sorted(folder.glob("c4-train*"))
    path.write_bytes(path.read_bytes() + gzip.compress(line_of("other words") + b"\n"))
    load(401)
    load(401)
    assert len(notes) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sha256": "0"}', "null"])
def test_a_record_that_says_nothing(tmp_path, folder, content):
    work = WorkFolder(tmp_path / "work")
    work.path.mkdir()
    notes = []
    vocabulary = Vocabulary("train", size=400)
    first = vocabulary.load(JsonlSource(folder), work, False, notes.append)
    (work.path / "tokenizer.json").write_text(content)
    assert vocabulary.load(JsonlSource(folder), work, False, notes.append).sha256 == first.sha256
    assert len(notes) == 2


def test_bad_lines_of_the_training_text(tmp_path, folder):
    (path, *_) = sorted(folder.glob("c4-train*"))
    rng = fresh()
    text = words(rng)
    write_lines(path, [b"{", *(line_of(text()) for _ in range(50))])
    vocabulary = Vocabulary("train", size=500)
    request = a_request(folder, tmp_path / "out", 2, vocabulary=vocabulary)
    with pytest.raises(DataError, match=f"{path}, line 1: malformed JSON"):
        prepare_corpus(request, Shown())
    request = a_request(folder, tmp_path / "out", 2, vocabulary=vocabulary, skip_bad_lines=True)
    prepare_corpus(request, Shown())
    assert json.loads((request.folder / "meta.json").read_text())["skipped"]["train"] == 1


def test_too_large_a_vocabulary_for_the_model(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(ByteTokenizer, "vocab_size", 32_001)
    with pytest.raises(DataError, match="byte has 32001 tokens, but the model knows 32000 only"):
        prepare_corpus(a_request(folder, tmp_path / "out", 2), Shown())


def test_too_large_a_vocabulary_is_refused_before_it_is_trained(tmp_path, folder):
    vocabulary = Vocabulary("train", size=32_001)
    shown = Shown()
    with pytest.raises(DataError, match="--vocab_size=32001: the model knows 32000 tokens only"):
        prepare_corpus(a_request(folder, tmp_path / "out", 2, vocabulary=vocabulary), shown)
    assert shown.notes == []
    assert not (tmp_path / "out" / ".c4.partial").exists()
    Vocabulary("train", size=32_000).check_size(32_000)
    Vocabulary("byte", size=32_001).check_size(32_000)  # its size is its own
