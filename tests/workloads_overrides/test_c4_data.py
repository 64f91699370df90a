"""Shards of tokens and the rows in them, against a plain reader; files that cannot be used."""

import json
import tracemalloc

import numpy as np
import pytest
from c4_cases import BYTES, corpora, corpus, write_corpus

from workloads_overrides import DataError
from workloads_overrides.base.rows import train_batches
from workloads_overrides.c4.data import TokenRows, TokenShards
from workloads_overrides.c4.meta import META, Meta, SplitMeta, check_tokens, read_meta
from workloads_overrides.c4.writer import write_split

LENGTH = 16


def plain_stream(texts):
    """Every document's bytes plus 2, then 1."""
    return [token for text in texts for token in [*(b + 2 for b in text.encode()), 1]]


def plain_rows(texts, length):
    """Rows of length + 1 of the stream, in steps of the length."""
    stream = plain_stream(texts)
    rows = [stream[i : i + length + 1] for i in range(0, len(stream), length)]
    return [row for row in rows if len(row) == length + 1]


def open_rows(data_dir, split, num_rows, length=LENGTH):
    folder = data_dir / "c4"
    meta = read_meta(folder)
    return TokenRows(TokenShards(folder, meta.split(split)), meta, length, num_rows)


def contents(data_dir, split):
    """The split's files one after the other."""
    return np.concatenate([np.fromfile(p, "<u2") for p in sorted(data_dir.glob(f"c4/{split}_*"))])


@pytest.mark.parametrize("shard_tokens", [7, 500, 10**6])
def test_packed_shards_are_the_stream_of_documents(tmp_path, shard_tokens):
    meta = write_corpus(tmp_path, shard_tokens=shard_tokens)
    for split, texts in corpora().items():
        stream = plain_stream(texts)
        assert contents(tmp_path, split).tolist() == stream
        sizes = [size for _, size in meta.splits[split].shards]
        assert sizes[:-1] == [shard_tokens] * (len(sizes) - 1)
        assert 0 < sizes[-1] <= shard_tokens
        assert meta.splits[split].tokens == meta.splits[split].stored == len(stream)
        assert meta.splits[split].text_bytes == sum(len(text.encode()) for text in texts)


@pytest.mark.parametrize("shard_tokens", [7, 100, 500, 10**6])
@pytest.mark.parametrize("length", [1, 16, 50])
def test_packed_rows(tmp_path, shard_tokens, length):
    write_corpus(tmp_path, shard_tokens=shard_tokens)
    expected = np.array(plain_rows(corpora()["train"], length))
    rows = open_rows(tmp_path, "train", len(expected), length)
    assert len(rows) == len(expected)
    for ids in (np.arange(len(expected)), np.random.default_rng(0).permutation(len(expected))[:9]):
        batch = rows.batch(ids, None)
        np.testing.assert_array_equal(batch["inputs"], expected[ids, :-1])
        np.testing.assert_array_equal(batch["targets"], expected[ids, 1:])
        np.testing.assert_array_equal(batch["weights"], np.ones((len(ids), length)))
        kinds = {name: str(array.dtype) for name, array in batch.items()}
        assert kinds == {"inputs": "int32", "targets": "int32", "weights": "float32"}
        assert all(array.flags.c_contiguous for array in batch.values())


def test_the_last_row_is_there_and_no_further_one(tmp_path):
    write_corpus(tmp_path)
    count = len(plain_rows(corpora()["validation"], LENGTH))
    open_rows(tmp_path, "validation", count)
    with pytest.raises(DataError, match=f"{count + 1} rows of 16 are needed, {count} are there"):
        open_rows(tmp_path, "validation", count + 1)
    with pytest.raises(DataError, match="0 are there"):
        open_rows(tmp_path, "test", 1, length=10_000)


def test_the_file_may_end_with_the_last_rows_last_target(tmp_path):
    (tmp_path / "x.bin").write_bytes(np.arange(33, dtype="<u2").tobytes())
    meta = Meta("packed", 0, "byte", "", 258, {})
    shards = TokenShards(tmp_path, SplitMeta((("x.bin", 33),), 33, 33))
    last = TokenRows(shards, meta, 16, 2).batch(np.array([1]))
    np.testing.assert_array_equal(last["inputs"][0], np.arange(16, 32))
    np.testing.assert_array_equal(last["targets"][0], np.arange(17, 33))
    with pytest.raises(DataError, match="3 rows"):
        TokenRows(shards, meta, 16, 3)


@pytest.mark.parametrize("shard_tokens", [40, 500])
def test_truncated_rows(tmp_path, shard_tokens):
    meta = write_corpus(tmp_path, row_tokens=LENGTH + 1, shard_tokens=shard_tokens)
    texts = corpora()["train"]
    rows = open_rows(tmp_path, "train", len(texts))
    batch = rows.batch(np.arange(len(texts)))
    kept = read_bytes = 0
    for i, text in enumerate(texts):
        document = [*(byte + 2 for byte in text.encode()), 1]
        row = (document + [0] * LENGTH)[: LENGTH + 1]
        assert batch["inputs"][i].tolist() == row[:-1]
        assert batch["targets"][i].tolist() == row[1:]
        assert batch["weights"][i].tolist() == [float(token != 0) for token in row[1:]]
        part = min(len(document), LENGTH + 1)
        kept += part
        read_bytes += len(text.encode()) * part / len(document)
    assert (batch["weights"] == 0).any()
    assert batch["weights"].all(1).any()
    assert meta.splits["train"].tokens == kept
    assert meta.splits["train"].stored == len(texts) * (LENGTH + 1)
    assert meta.splits["train"].text_bytes == pytest.approx(read_bytes, abs=len(texts) / 2)
    with pytest.raises(DataError, match="61 rows of 16 are needed, 60 are there"):
        open_rows(tmp_path, "train", 61)


def test_truncated_rows_of_another_length_are_refused(tmp_path):
    write_corpus(tmp_path, row_tokens=LENGTH + 1)
    with pytest.raises(DataError, match="rows have 17 tokens, a context of 15 needs 16"):
        open_rows(tmp_path, "train", 1, length=15)


def test_writing_stops_at_the_document_that_is_enough(tmp_path):
    texts = corpus(50, seed=3)
    split = write_split(tmp_path, "train", BYTES, [texts[:20], texts[20:]], max_tokens=300)
    tokens = np.fromfile(tmp_path / "train_00000.bin", "<u2").tolist()
    count = tokens.count(1)
    assert tokens == plain_stream(texts[:count])
    assert len(plain_stream(texts[: count - 1])) < 300 <= len(tokens) == split.tokens
    assert split.text_bytes == sum(len(text.encode()) for text in texts[:count])


def test_writing_nothing(tmp_path):
    split = write_split(tmp_path, "train", BYTES, [])
    assert split == SplitMeta((), 0, 0)
    assert not list(tmp_path.iterdir())
    assert len(TokenShards(tmp_path, split)) == 0


def test_tokens_keep_all_sixteen_bits(tmp_path):
    class Wide:
        name, vocab_size, sha256 = "wide", 1 << 16, ""

        def encode(self, texts):
            return [np.array([65_535, 32_768, 2], np.uint16) for _ in texts]

    split = write_split(tmp_path, "train", Wide(), [["x"]])
    tokens = TokenShards(tmp_path, split).take(np.arange(4), 1)[:, 0]
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [65_535, 32_768, 2, 1]


def test_batches_are_a_function_of_seed_and_number(tmp_path):
    write_corpus(tmp_path)
    rows = open_rows(tmp_path, "train", 60)
    stream = train_batches(rows, 8, seed=5)
    batches = [next(stream) for _ in range(20)]
    resumed = train_batches(rows, 8, seed=5, start=13)
    for batch in batches[13:]:
        np.testing.assert_array_equal(batch["inputs"], next(resumed)["inputs"])
    # Fifteen batches of eight are two passes over sixty rows: each row twice.
    seen = sorted(row.tobytes() for batch in batches[:15] for row in batch["inputs"])
    everything = rows.batch(np.arange(60))["inputs"]
    assert seen == sorted(row.tobytes() for row in everything for _ in range(2))


def test_memory_does_not_grow_with_the_shards(tmp_path):
    size = 20_000_000  # 40 MB
    with (tmp_path / "x.bin").open("wb") as file:
        file.truncate(2 * size)
    meta = Meta("packed", 0, "byte", "", 258, {})
    split = SplitMeta((("x.bin", size),), size, size)
    tracemalloc.start()
    rows = TokenRows(TokenShards(tmp_path, split), meta, 64, 300_000)
    for batch, _ in zip(train_batches(rows, 32, seed=0), range(50), strict=False):
        assert batch["inputs"].shape == (32, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_truncated_shard(tmp_path):
    write_corpus(tmp_path, shard_tokens=100)
    path = tmp_path / "c4" / "train_00001.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"train_00001\.bin has 198 bytes, but .* 200: it is trunc"):
        open_rows(tmp_path, "train", 1)
    open_rows(tmp_path, "test", 1)


def test_a_missing_shard(tmp_path):
    write_corpus(tmp_path, shard_tokens=100)
    (tmp_path / "c4" / "train_00002.bin").unlink()
    with pytest.raises(DataError, match=r"train_00002\.bin cannot be read: No such file"):
        open_rows(tmp_path, "train", 1)


def test_meta_goes_through_its_file(tmp_path):
    meta = write_corpus(tmp_path)
    assert read_meta(tmp_path / "c4") == meta
    with pytest.raises(DataError, match="no split 'dev', only train, validation, test"):
        meta.split("dev")


def test_missing_meta(tmp_path):
    with pytest.raises(DataError, match=r"meta\.json is missing: the data has not been prepared"):
        read_meta(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens_format": 2},
        {"layout": "loose"},
        {"splits": {"train": {}}},
        {"splits": []},
        {"vocab_size": None},
        None,
    ],
)
def test_damaged_meta(tmp_path, change):
    write_corpus(tmp_path)
    path = tmp_path / "c4" / META
    content = path.read_text()
    path.write_text(content[:-20] if change is None else json.dumps(json.loads(content) | change))
    with pytest.raises(
        DataError, match=r"meta\.json is damaged \(.*\): prepare the data"
    ) as caught:
        read_meta(tmp_path / "c4")
    assert "\n" not in str(caught.value)


def test_tokens_that_the_model_or_the_targets_do_not_know(tmp_path):
    meta = write_corpus(tmp_path)
    for vocab_size in (258, 32_000):
        check_tokens(meta, tmp_path, vocab_size, BYTES.sha256)
        check_tokens(meta, tmp_path, vocab_size, None)
    with pytest.raises(DataError, match="has tokens below 258, but the model knows 257 only"):
        check_tokens(meta, tmp_path, 257, BYTES.sha256)
    with pytest.raises(DataError, match=f"{BYTES.sha256}, but the targets were set with 00"):
        check_tokens(meta, tmp_path, 258, "00")
