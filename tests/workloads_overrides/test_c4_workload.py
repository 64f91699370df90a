"""A C4 workload in both frameworks: metrics, refusals, constants; and `c4_small`'s own."""

import math

import jax
import numpy as np
import pytest
import torch
from c4_cases import (
    BYTES,
    DATA_RNG,
    EVAL,
    TRAIN,
    TinyJax,
    TinyTorch,
    corpora,
    jax_container,
    random_params,
    torch_container,
    write_corpus,
)

from workloads_overrides import DataError, import_workload
from workloads_overrides.c4.c4_jax.workload import JaxC4Workload
from workloads_overrides.c4.c4_pytorch.workload import PytorchC4Workload
from workloads_overrides.c4.config import SMALL
from workloads_overrides.c4.workload import BaseC4Workload
from workloads_overrides.small.c4.workload import C4SmallConstants

METRICS = {"loss", "accuracy", "ppl", "bits_per_byte"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    write_corpus(folder)
    return str(folder)


@pytest.fixture(scope="module", params=[TinyJax, TinyTorch])
def pair(request):
    """(workload, parameters)."""
    workload = request.param()
    make = jax_container if request.param is TinyJax else torch_container
    return workload, make(workload, random_params(workload.model_config))


def logits_of(workload, params, inputs):
    inputs = torch.tensor(inputs) if isinstance(workload, TinyTorch) else inputs
    result, state = workload.model_fn(params, {"inputs": inputs}, None, EVAL, None, False)
    assert state is None
    return np.asarray(result, np.float64)


def evaluate(workload, params, split, count, size, data_dir):
    return workload._eval_model_on_split(split, count, size, params, None, None, data_dir)


def plain_metrics(workload, params, rows):
    """Loss and accuracy of (inputs, targets, weights), token by token."""
    inputs, targets, weights = (np.asarray(rows[name]) for name in ("inputs", "targets", "weights"))
    logits = logits_of(workload, params, inputs.astype(np.int64))
    losses, correct, count = 0.0, 0, 0
    for index in np.ndindex(targets.shape):
        if weights[index]:
            z = logits[index]
            losses += np.log(np.exp(z - z.max()).sum()) + z.max() - z[targets[index]]
            correct += z.argmax() == targets[index]
            count += 1
    return losses / count, correct / count


@pytest.mark.parametrize("row_tokens", [0, 17])
def test_metrics_are_means_over_tokens(pair, tmp_path, row_tokens):
    workload, params = pair
    meta = write_corpus(tmp_path, row_tokens)
    count = 10
    rows = workload._rows("validation", str(tmp_path)).batch(np.arange(count))
    loss, accuracy = plain_metrics(workload, params, rows)
    metrics = evaluate(workload, params, "validation", count, 8, str(tmp_path))
    assert set(metrics) == METRICS
    assert metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert metrics["ppl"] == pytest.approx(math.exp(loss), rel=1e-4)
    split = meta.splits["validation"]
    bits = loss / math.log(2) * split.tokens / split.text_bytes
    assert metrics["bits_per_byte"] == pytest.approx(bits, rel=1e-5)


def test_metrics_do_not_depend_on_the_batch_size(pair, data_dir):
    workload, params = pair
    results = [evaluate(workload, params, "validation", 21, n, data_dir) for n in (1, 5, 8, 64)]
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-6)


def test_bits_per_byte_are_those_of_the_text(pair, data_dir):
    """Of the text's bytes: ends of documents cost bits but are none."""
    workload, _ = pair
    rows = {}
    for split in ("train", "validation", "test"):
        texts = corpora()[split]
        size = sum(len(text.encode()) for text in texts)
        rows[split] = workload._open(split, data_dir)[1]
        assert rows[split].tokens == size + len(texts)
        assert rows[split].text_bytes == size
    assert workload._open("eval_train", data_dir)[1] == rows["train"]


def test_overflowing_perplexity_is_infinite(pair, data_dir, monkeypatch):
    workload, params = pair
    for loss, expected in ((1000.0, math.inf), (math.nan, math.nan)):
        metrics = {"loss": loss, "accuracy": 0.0}
        monkeypatch.setattr(workload, "_split_metrics", lambda *_, m=metrics: dict(m))
        result = evaluate(workload, params, "test", 5, 8, data_dir)
        assert result["ppl"] == pytest.approx(expected, nan_ok=True)


def test_eval_model_reports_every_split(pair, data_dir):
    workload, params = pair
    result = workload.eval_model(8, params, None, jax.random.PRNGKey(0), data_dir, None, 0)
    expected = {f"{split}/{name}" for split in ("train", "validation", "test") for name in METRICS}
    assert set(result) == expected | {"validation/num_examples", "test/num_examples"}


def test_evaluation_of_training_is_of_its_first_rows(pair, data_dir):
    workload, _ = pair
    rows = workload._rows("eval_train", data_dir)
    assert len(rows) == 20
    train = workload._rows("train", data_dir)
    assert len(train) == 60
    ids = np.arange(20)
    np.testing.assert_array_equal(rows.batch(ids)["inputs"], train.batch(ids)["inputs"])


def test_unknown_split(pair, data_dir):
    with pytest.raises(ValueError, match="'dev'; allowed: train, eval_train, validation, test"):
        pair[0]._rows("dev", data_dir)


def test_dropout_is_accepted_and_has_no_effect(pair, data_dir):
    workload, params = pair
    batch = next(workload._build_input_queue(DATA_RNG, "train", data_dir, 4))
    rng = jax.random.PRNGKey(0)
    results = [
        workload.model_fn(params, batch, None, TRAIN, rng, True, dropout_rate=rate)[0]
        for rate in (0.0, 0.7)
    ]
    results.append(workload.model_fn(params, batch, None, TRAIN, rng, True)[0])
    first, *others = (np.asarray(x.detach() if torch.is_tensor(x) else x) for x in results)
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("cls", [TinyJax, TinyTorch])
class TestRefusals:
    """Before training, in one line."""

    def refusal(self, workload, data_dir, split="train"):
        with pytest.raises(DataError) as caught:
            workload._build_input_queue(DATA_RNG, split, str(data_dir), 4)
        line = str(caught.value)
        assert "\n" not in line
        return line

    def test_no_data(self, cls, tmp_path):
        assert "meta.json is missing" in self.refusal(cls(), tmp_path)

    def test_a_vocabulary_beyond_the_models(self, cls, tmp_path):
        write_corpus(tmp_path, vocab_size=259)
        assert "has tokens below 259, but the model knows 258" in self.refusal(cls(), tmp_path)

    def test_another_tokenizer_than_the_targets(self, cls, tmp_path):
        write_corpus(tmp_path, tokenizer_sha256="f00")
        assert f"targets were set with {BYTES.sha256}" in self.refusal(cls(), tmp_path)

        class Any(cls):
            tokenizer_sha256 = None

        next(Any()._build_input_queue(DATA_RNG, "train", str(tmp_path), 4))

    def test_too_few_tokens(self, cls, tmp_path):
        class Greedy(cls):
            train_rows = 1000

        write_corpus(tmp_path)
        assert "1000 rows of 16 are needed" in self.refusal(Greedy(), tmp_path)
        next(Greedy()._build_input_queue(DATA_RNG, "validation", str(tmp_path), 4))

    def test_a_truncated_shard(self, cls, tmp_path):
        write_corpus(tmp_path)
        path = tmp_path / "c4" / "validation_00000.bin"
        path.write_bytes(path.read_bytes()[:-1])
        assert "truncated" in self.refusal(cls(), tmp_path, "validation")

    def test_a_split_that_was_not_prepared(self, cls, tmp_path):
        write_corpus(tmp_path, splits={})
        assert "no split 'train'" in self.refusal(cls(), tmp_path)

    def test_data_that_was_missing_may_be_prepared_meanwhile(self, cls, tmp_path):
        workload = cls()
        self.refusal(workload, tmp_path)
        write_corpus(tmp_path)
        next(workload._build_input_queue(DATA_RNG, "train", str(tmp_path), 4))


def test_both_frameworks_have_one_stream(data_dir):
    for split, size in (("train", 12), ("validation", 8), ("test", 4)):
        ours = TinyJax()._build_input_queue(DATA_RNG, split, data_dir, size)
        theirs = TinyTorch()._build_input_queue(list(map(int, DATA_RNG)), split, data_dir, size)
        for batch, other, _ in zip(ours, theirs, range(12), strict=False):
            assert str(batch["inputs"].dtype) == str(batch["targets"].dtype) == "int32"
            assert other["inputs"].dtype == other["targets"].dtype == torch.int64
            for name in ("inputs", "targets", "weights"):
                np.testing.assert_array_equal(np.asarray(batch[name]), other[name].numpy())


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_the_small_workload_is_a_configuration(framework):
    """Everything that computes is the large workloads'."""
    cls = type(import_workload("c4_small", framework))
    shared = JaxC4Workload if framework == "jax" else PytorchC4Workload
    assert issubclass(cls, shared)
    assert cls.__bases__ == (C4SmallConstants, shared)
    names = [*vars(cls), *vars(C4SmallConstants)]
    own = {name for name in names if not name.startswith(("__", "_abc"))}
    constants = own - {"_data_folder", "targets_path"}
    assert constants <= set(BaseC4Workload.__annotations__)
    assert cls.model_config is SMALL


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_lower_losses_reach_targets(framework):
    workload = import_workload("c4_small", framework)
    assert workload.target_metric_name == "loss"
    for split in ("validation", "test"):
        target = getattr(workload, f"{split}_target_value")
        reached = getattr(workload, f"has_reached_{split}_target")
        assert reached({f"{split}/loss": target}) is True
        assert reached({f"{split}/loss": target - 0.1}) is True
        assert reached({f"{split}/loss": float(np.nextafter(target, 99))}) is False
        assert reached({f"{split}/loss": math.nan}) is False


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("lm_head", True),
        ("lm_head/kernel", True),
        ("lm_head.weight", True),
        ("module._orig_mod.lm_head.weight", True),
        ("token_embedding.weight", False),
        ("layers.0.attention.out_proj.weight", False),
        ("layers_0", False),
    ],
)
def test_output_parameters(key, expected):
    assert TinyTorch().is_output_params(key) is expected
    assert TinyJax().is_output_params(key) is expected
