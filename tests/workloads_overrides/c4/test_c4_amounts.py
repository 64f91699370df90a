"""How much is prepared for each workload, and whether a folder has it."""

from dataclasses import replace

import pytest
from c4_cases import write_corpus

from workloads_overrides import WORKLOADS as REGISTERED
from workloads_overrides import DataError
from workloads_overrides.c4.amounts import WORKLOADS, Amounts, amounts_of, check_enough, size_of
from workloads_overrides.c4.data import TokenRows, TokenShards
from workloads_overrides.c4.sizes import SIZES


def test_names():
    c4 = {name for name, about in REGISTERED.items() if about["workload_path"] == "c4/c4"}
    assert set(WORKLOADS) == c4
    assert size_of("c4_130m") is size_of("c4") is SIZES["c4"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_tokens_of_the_workloads(name):
    packed, truncated = amounts_of(name), amounts_of(name, "truncated")
    steps = {"c4_60m": 10_000, "c4": 20_000, "c4_130m": 20_000, "c4_350m": 60_000}[name]
    assert packed.tokens("train") == steps * 512 * 256 + 1
    assert truncated.tokens("train") == steps * 512 * 257
    for split in ("validation", "test"):
        assert packed.tokens(split) == 10_485_761
        assert truncated.tokens(split) == 40_960 * 257
    assert (packed.row_tokens, truncated.row_tokens) == (0, 257)


def test_other_rows_for_trials():
    assert amounts_of("c4", train_rows=5).rows == {"train": 5, "validation": 40_960, "test": 40_960}
    assert amounts_of("c4", "packed", 5, 2).to_json() == {
        "layout": "packed",
        "context": 256,
        "rows": {"train": 5, "validation": 2, "test": 2},
    }


@pytest.mark.parametrize("layout", ["packed", "truncated"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_enough_is_what_a_run_can_open(tmp_path, layout, split):
    """To the row: as many as `TokenRows` takes, and not one more."""
    meta = write_corpus(tmp_path, row_tokens=17 if layout == "truncated" else 0)
    folder = tmp_path / "c4"
    shards = TokenShards(folder, meta.split(split))

    def opens(count):
        try:
            return len(TokenRows(shards, meta, 16, count)) == count
        except DataError:
            return False

    most = max(count for count in range(1, 300) if opens(count))
    needed = Amounts(layout, 16, {"train": 1, "validation": 1, "test": 1} | {split: most})
    check_enough(meta, folder, needed)
    more = replace(needed, rows={**needed.rows, split: most + 1})
    with pytest.raises(DataError) as caught:
        check_enough(meta, folder, more)
    assert str(caught.value) == (
        f"{folder} has {meta.split(split).stored:,} tokens of {split}, fewer than the "
        f"{more.tokens(split):,} that are needed"
    )


def test_rows_of_another_layout_or_length(tmp_path):
    meta = write_corpus(tmp_path, row_tokens=17)
    rows = {"train": 1}
    with pytest.raises(DataError, match="has layout 'truncated', not 'packed'"):
        check_enough(meta, tmp_path / "c4", Amounts("packed", 16, rows))
    with pytest.raises(DataError, match="has row_tokens 17, not 16"):
        check_enough(meta, tmp_path / "c4", Amounts("truncated", 15, rows))
    check_enough(meta, tmp_path / "c4", Amounts("truncated", 16, rows))


@pytest.mark.parametrize("damage", ["remove", "truncate", "lengthen"])
def test_every_shard_must_have_its_size(tmp_path, damage):
    meta = write_corpus(tmp_path, shard_tokens=100)
    needed = Amounts("packed", 16, dict.fromkeys(meta.splits, 1))
    for split in meta.splits.values():
        for name, size in split.shards:
            path = tmp_path / "c4" / name
            content = path.read_bytes()
            assert len(content) == 2 * size
            path.unlink()
            if damage != "remove":
                path.write_bytes(content[:-1] if damage == "truncate" else content + b"x")
            with pytest.raises(DataError, match=f"{name} is missing or truncated: it has .* bytes"):
                check_enough(meta, tmp_path / "c4", needed)
            path.write_bytes(content)
    check_enough(meta, tmp_path / "c4", needed)
