"""Reading rows of tokens: any stretch over any files, every rank its own, in little memory."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workloads_overrides import DataError
from workloads_overrides.base.prefetch import Prefetched
from workloads_overrides.base.rows import eval_batches, train_batches
from workloads_overrides.c4 import data
from workloads_overrides.c4.data import TokenRows, TokenShards
from workloads_overrides.c4.meta import Meta, SplitMeta

REPOSITORY = Path(__file__).resolve().parents[3]


def write_shards(folder, sizes, seed=0):
    """(tokens of all files, what meta.json would say of them)."""
    tokens = np.random.default_rng(seed).integers(0, 1 << 16, sum(sizes)).astype("<u2")
    names = [f"x_{number:05d}.bin" for number in range(len(sizes))]
    ends = np.cumsum(sizes)
    for name, end, size in zip(names, ends, sizes, strict=True):
        (folder / name).write_bytes(tokens[end - size : end].tobytes())
    shards = tuple(zip(names, map(int, sizes), strict=True))
    return tokens, SplitMeta(shards, len(tokens), len(tokens))


def packed(folder, split, length, num_rows):
    meta = Meta("packed", 0, "byte", "", 1 << 16, {})
    return TokenRows(TokenShards(folder, split), meta, length, num_rows)


@pytest.mark.parametrize("seed", range(20))
def test_stretches_over_files_of_any_size(tmp_path, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 60, size=int(rng.integers(1, 30)))
    tokens, split = write_shards(tmp_path, sizes, seed)
    shards = TokenShards(tmp_path, split)
    assert len(shards) == len(tokens)
    for length in {1, 7, min(200, len(tokens)), len(tokens)}:
        starts = rng.integers(0, len(tokens) - length + 1, size=40)
        starts[:2] = 0, len(tokens) - length  # the first stretch and the last
        found = shards.take(starts, length)
        expected = tokens[starts[:, None] + np.arange(length)]
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int32
        assert found.flags.c_contiguous
    assert shards.take(np.array([], np.int64), 3).shape == (0, 3)


def test_what_is_read_stays_right_after_a_release(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_ROWS_MAPPED", 3)
    tokens, split = write_shards(tmp_path, [300, 300])
    shards = TokenShards(tmp_path, split)
    releases = []
    monkeypatch.setattr(shards, "_release", lambda: releases.append(TokenShards._release(shards)))
    first = shards.take(np.array([0, 299]), 300)
    second = shards.take(np.array([5]), 300)
    third = shards.take(np.array([0]), 600)
    assert len(releases) == 1
    np.testing.assert_array_equal(first, [tokens[:300], tokens[299:599]])
    np.testing.assert_array_equal(second, [tokens[5:305]])
    np.testing.assert_array_equal(third, [tokens])


def test_systems_without_a_release(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_ROWS_MAPPED", 1)
    monkeypatch.setattr(data, "_RELEASE", None)
    tokens, split = write_shards(tmp_path, [30])
    found = TokenShards(tmp_path, split).take(np.array([3]), 20)
    np.testing.assert_array_equal(found, [tokens[3:23]])


def streams(folder, split, count=12):
    """The global batches of training and evaluation, and each of four ranks' parts of them."""
    rows = packed(folder, split, 16, 100)

    def part_of(rank):
        return lambda ids: ids[rank * len(ids) // 4 : (rank + 1) * len(ids) // 4]

    for make in (
        lambda *part: train_batches(rows, 24, 2**63 + 1, 7, *part),
        lambda *part: eval_batches(rows, 90, 24, *part),
    ):
        whole = list(itertools.islice(make(), count))
        ranks = [Prefetched(make(part_of(rank)), 2) for rank in range(4)]
        yield whole, [list(itertools.islice(batches, count)) for batches in ranks]


def test_ranks_parts_are_the_global_batch(tmp_path):
    _, split = write_shards(tmp_path, [700, 500, 401])
    for whole, ranks in streams(tmp_path, split):
        assert all(len(batches) == len(whole) for batches in ranks)
        for batch, *parts in zip(whole, *ranks, strict=True):
            for name in ("inputs", "targets", "weights"):
                together = np.concatenate([part[name] for part in parts])
                np.testing.assert_array_equal(together, batch[name])


def test_one_seed_has_one_stream_and_another_another(tmp_path):
    _, split = write_shards(tmp_path, [700, 500, 401])

    def batches(seed):
        stream = Prefetched(train_batches(packed(tmp_path, split, 16, 100), 8, seed), 2)
        return np.stack([batch["inputs"] for batch in itertools.islice(stream, 20)])

    first = batches(3)
    np.testing.assert_array_equal(first, batches(3))
    assert (first[0] != batches(4)[0]).any()
    assert (first[:12] != first[1:13]).any(axis=(1, 2)).all(), "and batches differ"


def test_evaluation_is_in_the_files_order(tmp_path):
    tokens, split = write_shards(tmp_path, [700, 500, 401])
    batches = list(eval_batches(packed(tmp_path, split, 16, 100), 100, 24))
    inputs = np.concatenate([batch["inputs"] for batch in batches])[:100]
    np.testing.assert_array_equal(inputs.ravel(), tokens[:1600])


MEMORY = """
import sys
sys.path.insert(0, ".")
import numpy as np
from pathlib import Path
from workloads_overrides.base.prefetch import Prefetched
from workloads_overrides.base.rows import train_batches
from workloads_overrides.c4 import data
from workloads_overrides.c4.meta import Meta, SplitMeta

def most():  # of this program: getrusage counts what the process was before it as well
    (line,) = [x for x in open("/proc/self/status") if x.startswith("VmHWM")]
    return int(line.split()[1])

folder, shards, size, keep = Path(sys.argv[1]), *map(int, sys.argv[2:])
if keep:
    data.TokenShards._release = lambda self: None
split = SplitMeta(tuple((f"{k}.bin", size) for k in range(shards)), shards * size, shards * size)
meta = Meta("packed", 0, "byte", "", 258, {})
rows = data.TokenRows(data.TokenShards(folder, split), meta, 256, (shards * size - 1) // 256)
stream = Prefetched(train_batches(rows, 512, seed=0), 2)
next(stream)
before = most()
for _ in range(24):
    batch = next(stream)
assert batch["inputs"].shape == (512, 256)
print(before, most())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what counts as memory is Linux's")
def test_memory_does_not_grow_with_what_is_read(tmp_path):
    """Two gigabytes in four files, none of them on the disk, random rows of all of them."""
    size = 1 << 28
    for number in range(4):
        with (tmp_path / f"{number}.bin").open("wb") as file:
            file.truncate(2 * size)

    def grown(keep):
        """Megabytes that reading has added at its height."""
        result = subprocess.run(
            [sys.executable, "-c", MEMORY, str(tmp_path), "4", str(size), str(keep)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        before, after = (int(field) / 1024 for field in result.stdout.split())
        return after - before

    assert grown(keep=0) < 60
    assert grown(keep=1) > 200, "without the release it would"


@pytest.mark.parametrize(
    ("sizes", "files"),
    [
        ([40], "x_00000.bin"),
        ([20, 20], "x_00000.bin to x_00001.bin"),
        ([9] * 4, "0.bin to x_00003"),
    ],
)
def test_too_few_tokens_are_told_with_their_files(tmp_path, sizes, files):
    _, split = write_shards(tmp_path, sizes)
    with pytest.raises(DataError) as caught:
        packed(tmp_path, split, 16, 3)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path} (x_00000.bin")
    assert files in line
    assert "3 rows of 16 are needed, 2 are there; prepare more data" in line


def test_a_file_that_went_away_is_named(tmp_path):
    _, split = write_shards(tmp_path, [30, 30])
    (tmp_path / "x_00001.bin").unlink()
    with pytest.raises(DataError, match=r"x_00001\.bin cannot be read: No such file"):
        TokenShards(tmp_path, split)
