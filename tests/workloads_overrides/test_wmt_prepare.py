"""Preparing the data of `wmt_small`: what it makes, and every way in which it can fail."""

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import wmt_data
from wmt_data import copying, mini, write_wheel, write_wheels

from workloads_overrides import DataError, import_workload
from workloads_overrides.small.sources import HOME_ASSISTANT, INDICO
from workloads_overrides.small.wmt import dataset
from workloads_overrides.small.wmt.prepare import prepare
from workloads_overrides.small.wmt.tokenizer import EOS, Tokenizer

FILES = {"arrays.npz", "meta.json", "tokenizer.model"}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def wheels(index):
    return write_wheels(index)


def failure(data_dir, wheels, prepared=None, **kwargs):
    """The one line with which preparation fails; nothing is left of it."""
    with pytest.raises(DataError) as caught:
        prepare(data_dir, prepared=prepared or mini(), wheels=wheels, **kwargs)
    line = str(caught.value)
    assert "\n" not in line
    assert not [p.name for p in data_dir.glob("*") if not p.name.endswith(".lock")]
    return line


def only(monkeypatch, folder):
    """Lets pip see one folder, or nothing, and none of the machine's own settings."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder or ""))


def test_pip_fetches_the_wheels_and_a_second_call_does_nothing(
    tmp_path, index, wheels, monkeypatch
):
    only(monkeypatch, index)
    stages = []
    prepare(tmp_path, lambda stage, done: stages.append((stage, done)), mini(), wheels)
    folder = tmp_path / "wmt_small"
    assert {p.name for p in folder.iterdir()} == FILES
    fractions = [done for _, done in stages]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    for wheel in wheels:
        assert any(wheel.requirement in stage for stage, _ in stages)

    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    stages.clear()
    prepare(tmp_path, lambda *stage: stages.append(stage), mini(), wheels, lambda *_: 1 / 0)
    assert stages == []
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, index, wheels):
    data_dir = tmp_path_factory.mktemp("data")
    prepare(data_dir, prepared=mini(), wheels=wheels, fetch=copying(index))
    return data_dir / "wmt_small"


def test_every_row_is_made_of_the_wheels_pairs(prepared):
    tokenizer = Tokenizer.read(prepared / "tokenizer.model")
    held_out, trained = [], []
    with np.load(prepared / "arrays.npz") as arrays:
        assert len(arrays.files) == 8
        for split in ("train", "eval_train", "validation", "test"):
            sides = [arrays[f"{split}_{side}"] for side in ("inputs", "targets")]
            for row in zip(*sides, strict=True):
                parts = [np.split(side, np.flatnonzero(side == EOS) + 1)[:-1] for side in row]
                for pair in zip(*parts, strict=True):
                    source, target = map(tokenizer.decode, pair)
                    assert wmt_data.SENTENCES[source] == target
                    (trained if "train" in split else held_out).append(source)
    assert len(set(trained)) + len(set(held_out)) == len(wmt_data.SENTENCES)
    assert len(held_out) == len(set(held_out)) == 6
    assert not set(trained) & set(held_out)


def test_meta_says_what_the_data_is(prepared):
    meta = json.loads((prepared / "meta.json").read_text())
    assert meta["rows"] == wmt_data.ROWS
    assert meta["train_pairs"] == wmt_data.TRAIN_PAIRS
    assert meta["sources"] == ["homeassistant==2024.3.3", "indico==3.3.14"]
    assert set(meta["sha256"]) == FILES - {"meta.json"}
    assert meta["sentencepiece_version"]


def test_the_real_data_is_pinned():
    facts = dataset.WMT_SMALL.facts
    assert facts["sources_sha256"] == [HOME_ASSISTANT.wheel.sha256, INDICO.wheel.sha256]
    folder = dataset.WMT_SMALL.path(wmt_data.data_dir())
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["sources"] == ["homeassistant==2024.3.3", "indico==3.3.14"]
    assert (meta["rows"], meta["train_pairs"]) == ([6379, 96, 193, 202], 13_061)
    assert meta["sha256"]["tokenizer.model"] == meta["tokenizer_sha256"]
    assert meta["tokenizer_sha256"] == dataset.TOKENIZER_SHA256


def test_another_vocabulary_than_the_pinned_one(tmp_path, index, wheels):
    pinned = replace(mini(), facts={**mini().facts, "tokenizer_sha256": "0" * 64})
    with pytest.raises(DataError, match=r"'tokenizer_sha256': '0{64}'.*sentencepiece version"):
        prepare(tmp_path, prepared=pinned, wheels=wheels, fetch=copying(index))
    assert not (tmp_path / "wmt_small").exists()


def test_a_wheel_without_the_expected_files(tmp_path, index, wheels):
    def other(wheel, folder):
        path = folder / wheel.filename
        path.write_bytes(b"no archive")
        return path

    with pytest.raises(DataError, match=r"homeassistant.*cannot be read \(BadZipFile"):
        prepare(tmp_path, prepared=mini(), wheels=wheels, fetch=other)


def test_two_preparations_give_the_same_bytes(tmp_path, prepared, index, wheels):
    time.sleep(1.1)  # no file holds the time
    prepare(tmp_path, prepared=mini(), wheels=wheels, fetch=copying(index))
    for name in FILES:
        assert (tmp_path / "wmt_small" / name).read_bytes() == (prepared / name).read_bytes()


def test_only_training_pairs_make_the_vocabulary(tmp_path, prepared, index):
    """Another text in a held-out pair leaves the vocabulary as it is."""
    tokenizer = Tokenizer.read(prepared / "tokenizer.model")
    with np.load(prepared / "arrays.npz") as arrays:
        held_out = [tokenizer.decode(row) for row in arrays["test_targets"]]
    changed = {}
    for german, english in wmt_data.SENTENCES.items():
        changed[german] = english + "?!?!" if english in held_out else english
    home = "homeassistant/components/light/translations"
    files = {
        f"{home}/de.json": json.dumps({german: german for german in changed}),
        f"{home}/en.json": json.dumps(changed),
    }
    wheels = (
        write_wheel(tmp_path / "homeassistant-1-py3-none-any.whl", files),
        write_wheel(tmp_path / "indico-1-py3-none-any.whl", {wmt_data.CATALOGUE: EMPTY}),
    )
    # In another order they are packed into one row more.
    prepare(tmp_path, prepared=mini(rows=[47, 8, 1, 5]), wheels=wheels, fetch=copying(tmp_path))
    ours, theirs = (set_of(path) for path in (tmp_path / "wmt_small", prepared))
    assert ours == theirs


EMPTY = wmt_data.catalogue({"": "Content-Type: text/plain; charset=UTF-8\n"})


def set_of(folder):
    """The vocabulary. (Its order may follow that of the texts, which these wheels change.)"""
    processor = Tokenizer.read(folder / "tokenizer.model")._processor
    return {processor.id_to_piece(i) for i in range(processor.get_piece_size())}


def test_without_network(tmp_path, wheels, monkeypatch):
    only(monkeypatch, None)
    line = failure(tmp_path / "data", wheels)
    assert "cannot download homeassistant==2024.3.3 with pip" in line
    assert "network" in line


def test_the_second_download_breaks(tmp_path, index, wheels):
    def fetch(wheel, folder):
        if wheel == wheels[1]:
            raise DataError("cannot download indico")
        return copying(index)(wheel, folder)

    assert failure(tmp_path / "data", wheels, fetch=fetch) == "cannot download indico"


def test_wrong_checksum(tmp_path, wheels, monkeypatch):
    broken = tmp_path / "broken"
    broken.mkdir()
    write_wheels(broken)
    write_wheel(broken / wheels[1].filename, {"other": ""})
    only(monkeypatch, broken)
    line = failure(tmp_path / "data", wheels)
    assert f"{wheels[1].filename} has sha256" in line
    assert "nothing was kept" in line


def test_a_full_disk(tmp_path, index, wheels, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez_compressed", full)
    line = failure(tmp_path / "data", wheels, fetch=copying(index))
    assert "No space left on device" in line


def test_another_number_of_pairs(tmp_path, index, wheels):
    line = failure(tmp_path / "data", wheels, mini(train_pairs=115), fetch=copying(index))
    assert "'train_pairs': 114" in line
    assert "'train_pairs': 115" in line
    assert "install the sentencepiece version that requirements.txt names" in line


def test_too_few_texts_for_the_vocabulary(tmp_path, index, wheels):
    line = failure(tmp_path / "data", wheels, mini(vocab_size=5000), fetch=copying(index))
    assert "cannot train 5000 pieces" in line


def test_interrupted(tmp_path, index, wheels):
    def stop(stage, done):
        if stage == "tokens":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, stop, mini(), wheels, copying(index))
    assert not [p for p in tmp_path.iterdir() if not p.name.endswith(".lock")]


@pytest.mark.parametrize("name", sorted(FILES))
def test_damaged_data_is_named(tmp_path, index, wheels, name):
    prepare(tmp_path, prepared=mini(), wheels=wheels, fetch=copying(index))
    path = tmp_path / "wmt_small" / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=f"{name}.* is damaged.*prepare it again") as caught:
        prepare(tmp_path, prepared=mini(), wheels=wheels)
    assert "\n" not in str(caught.value)


def test_data_of_another_kind_is_refused(prepared):
    with pytest.raises(DataError, match="expected"):
        mini(length=13).check(prepared)
    with pytest.raises(DataError, match="prepare it again"):
        dataset.load(prepared.parent)


def test_missing_data(tmp_path):
    with pytest.raises(DataError, match=r"prepare_data.py --workloads=wmt_small --data_dir="):
        dataset.load(tmp_path)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_unknown_splits(framework):
    with pytest.raises(ValueError, match="unknown split 'dev'; allowed: train, eval_train"):
        import_workload("wmt_small", framework)._rows("dev", wmt_data.data_dir())


def test_the_wheels_are_not_imported(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests/support'); from pathlib import Path\n"
        "import wmt_data; from workloads_overrides.small.wmt.prepare import prepare\n"
        f"folder = Path({str(tmp_path)!r}); wheels = wmt_data.write_wheels(folder)\n"
        "prepare(folder, None, wmt_data.mini(), wheels, wmt_data.copying(folder))\n"
        "assert not {'homeassistant', 'indico', 'jax', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=wmt_data.REPOSITORY)
