"""Metrics of whole splits: exact, and the same however they are computed."""

import jax
import numpy as np
import pytest
import sacrebleu
import wmt_data
import wmt_models
import wmt_oracle
from wmt_models import SIZES, jax_workload, torch_workload

from workloads_overrides.small.wmt import dataset
from workloads_overrides.small.wmt.bleu import corpus_bleu
from workloads_overrides.small.wmt.tokenizer import PAD

FRAMEWORKS = ("jax", "pytorch")
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
KEYS = {"loss", "accuracy", "bleu"}
HYPOTHESES = ["Open the door", "The house is Red.", "Nothing  at all", "", "Close a window now"]
REFERENCES = ["Open the door", "The house is red.", "Something else", "Yes", "Close the window now"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_bleu_is_sacrebleus(count):
    ours = corpus_bleu(HYPOTHESES[:count], REFERENCES[:count])
    theirs = sacrebleu.corpus_bleu(HYPOTHESES[:count], [REFERENCES[:count]]).score
    assert ours == theirs
    assert type(ours) is float


def test_bleu_by_hand():
    """Case counts, and dots are tokens: 5 + 3 of 9 words match, 3 + 2 of 7 pairs, ..."""
    hypotheses = ["The house is Red.", "Open the door now"]
    references = ["The house is red.", "Open the door today"]
    matches = np.array([4 + 3, 2 + 2, 1 + 1]) / np.array([5 + 4, 4 + 3, 3 + 2])
    last = 1 / 2 / (2 + 1)  # none of three matches: exponential smoothing
    expected = 100 * (matches.prod() * last) ** 0.25
    assert corpus_bleu(hypotheses, references) == pytest.approx(expected, rel=1e-12)
    assert corpus_bleu(references, references) == pytest.approx(100)


@pytest.fixture(scope="module")
def state():
    """Of a model that translates half of `mixed_rows()`."""
    return wmt_models.learnt(100)


@pytest.fixture(scope="module")
def params(state):
    return {framework: wmt_models.named(state, framework) for framework in FRAMEWORKS}


@pytest.fixture
def rows(monkeypatch):
    """What is evaluated: BLEU is neither 0 nor 100."""
    rows = wmt_models.mixed_rows()
    for workload in (jax_workload, torch_workload):
        monkeypatch.setattr(workload, "_rows", lambda *args: rows)
    return rows


@pytest.fixture(scope="module")
def untrained():
    state = wmt_models.perturbed()
    return {framework: wmt_models.named(state, framework) for framework in FRAMEWORKS}


def evaluate(framework, params, count, size, split="validation"):
    workload = jax_workload if framework == "jax" else torch_workload
    args = (params, None, jax.random.PRNGKey(0), wmt_data.data_dir())
    return workload._eval_model_on_split(split, count, size, *args)


@each_framework
def test_metrics_are_the_oracles(framework, state, params, rows):
    """Of ten rows: means over target tokens, and BLEU of the greedy translations as text."""
    decode = dataset.load(wmt_data.data_dir()).tokenizer.decode
    losses, hits, texts, references = [], [], [], []
    for source, target in zip(rows.inputs[:10], rows.targets[:10], strict=True):
        source, target = (row[row != PAD].tolist() for row in (source, target))
        logits = wmt_oracle.logits(state, SIZES, source, target)
        chosen = logits[np.arange(len(target)), target]
        losses += (np.log(np.exp(logits).sum(-1)) - chosen).tolist()
        hits += (logits.argmax(-1) == target).tolist()
        texts.append(decode(wmt_oracle.greedy(state, SIZES, source, SIZES.max_length)))
        references.append(decode(target))
    found = evaluate(framework, params[framework], 10, 8)
    assert set(found) == KEYS
    assert all(type(value) is float for value in found.values())
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(hits), rel=1e-12)
    assert found["bleu"] == sacrebleu.corpus_bleu(texts, [references]).score
    assert 5 < found["bleu"] < 95


@each_framework
def test_the_batch_size_changes_nothing(framework, params, rows):
    found = [evaluate(framework, params[framework], 20, size) for size in (8, 32)]
    assert found[1]["loss"] == pytest.approx(found[0]["loss"], rel=1e-6)
    for name in ("accuracy", "bleu"):
        assert found[1][name] == found[0][name]
    assert 5 < found[0]["bleu"] < 95


def test_what_is_known_by_heart_is_translated(monkeypatch):
    """On weights that mean something: BLEU 100 of known rows, little of others; both agree."""
    state = wmt_models.learnt(100)
    found = {}
    for framework, workload in (("jax", jax_workload), ("pytorch", torch_workload)):
        params = wmt_models.named(state, framework)
        for start in (0, 5):
            rows = wmt_models.spread_rows(start)
            monkeypatch.setattr(workload, "_rows", lambda *args, rows=rows: rows)
            found[framework, start] = evaluate(framework, params, 16, 16)
        assert found[framework, 0]["bleu"] == pytest.approx(100)
        assert found[framework, 0]["accuracy"] == 1
        assert found[framework, 0]["loss"] < 0.1
        assert found[framework, 5]["bleu"] < 30
    for start in (0, 5):
        ours, theirs = found["jax", start], found["pytorch", start]
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert (ours["accuracy"], ours["bleu"]) == (theirs["accuracy"], theirs["bleu"])


@each_framework
@pytest.mark.parametrize("split", ["eval_train", "validation", "test"])
def test_whole_splits(framework, split, untrained):
    workload = jax_workload if framework == "jax" else torch_workload
    count = getattr(workload, f"num_{split}_examples")
    found = evaluate(framework, untrained[framework], count, workload.eval_batch_size, split)
    assert set(found) == KEYS
    # Worse than guessing the 2,048 tokens evenly.
    assert found["loss"] > np.log(2048)
    with pytest.raises(ValueError, match=f"num_examples={count + 1}"):
        evaluate(framework, untrained[framework], count + 1, 8, split)


def test_the_references_are_the_targets(params):
    """The references are the split's own targets, whatever the model says."""
    batch = next(jax_workload._build_input_queue(np.array([0, 1]), "test", wmt_data.data_dir(), 8))
    arrays = jax_workload._eval_arrays(params["jax"], batch, None, jax.random.PRNGKey(0))
    targets = dataset.load(wmt_data.data_dir()).splits["test"].targets[:8]
    np.testing.assert_array_equal(arrays["references"], targets)
    assert arrays["translations"].shape == targets.shape
    rows = wmt_models.spread_rows()
    same = {"translations": rows.targets, "references": rows.targets}
    metrics = jax_workload._split_metrics(arrays | same, wmt_data.data_dir())
    assert metrics["bleu"] == pytest.approx(100)
