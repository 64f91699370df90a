"""Documents of AWS's interfaces and their splits: what is taken, and that nothing is in two."""

import gzip
import hashlib
import zipfile

import numpy as np
import pytest
from c4_documents import sentence, services_of, write_wheel

from workloads_overrides import DataError
from workloads_overrides.small.c4 import splits as splits_module
from workloads_overrides.small.c4.documents import plain_text, read_documents, words
from workloads_overrides.small.c4.splits import HELD_OUT, RUN, split_documents, split_of


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("a <code>b</code>c, <i>d</i>.", "a bc, d."),
        ("<ul> <li> <p>x</p> </li><li>y</li></ul>", "x y"),
        ('see <a href="https://a.b/c?d=1&e=2">the  guide</a>', "see the guide"),
        ("<note><p>1 &lt; 2 &amp; &quot;q&quot;</p></note>", '1 < 2 & "q"'),
        ("&lt;p&gt;kept&lt;/p&gt;", "<p>kept</p>"),
        ("a<br/>b\n\tc\u00a0d", "a b c d"),
        ("if a < b and c > d", "if a < b and c > d"),
        ("\u201cx\u201d \u2018y\u2019 1\u20132 \u2014 \u22123", "\"x\" 'y' 1-2 - -3"),
        ("<!-- gone -->stays<zonbook xmlns='x'>", "stays"),
        ("<para>x</para><pre>y</pre>", "x y"),
    ],
)
def test_plain_text(html, text):
    assert plain_text(html) == text


def test_words_are_runs_of_letters():
    assert words("The ARN arn:aws:s3:::Bucket-1 (v2.10)") == [
        "the",
        "arn",
        "arn",
        "aws",
        "s",
        "bucket",
        "v",
    ]


LONG = sentence(0, 1, 2, 3, 4, 5, 6, 7)


def test_documents_that_are_taken(tmp_path):
    other = sentence(8, 7, 6, 5, 4, 3, 2, 1)
    nested = sentence(1, 1, 1, 1, 1, 1, 1, 1)
    services = {
        "zeta": [f"<p>{LONG} 17</p>", "short", f"{nested} \u2603"],
        "beta": [f"<p>{LONG.upper()} 42.</p>", other, f"<b>{nested}</b>", "x" * 100, "1 " * 60],
    }
    stages = []
    documents = read_documents(write_wheel(tmp_path / "x.whl", services), stages.append)
    # By service name; the other text of the same words, what is short and what is no ASCII go.
    assert documents == {f"{LONG.upper()} 42.": "beta", other: "beta", nested: "beta"}
    assert stages == [0.5, 1.0]


@pytest.mark.parametrize("damage", ["cut", "no zip", "empty", "no gzip", "no json", "cut gzip"])
def test_wheels_that_cannot_be_read(tmp_path, damage):
    path = write_wheel(tmp_path / "x.whl", {"a": [LONG, LONG]})
    content = path.read_bytes()
    name = "botocore/data/a/2020-01-01/service-2.json.gz"
    inner = {"no gzip": b"x", "no json": gzip.compress(b"{"), "cut gzip": gzip.compress(b"{}")[:-9]}
    if damage == "cut":
        path.write_bytes(content[:-30])
    elif damage == "no zip":
        path.write_bytes(b"no zip")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other" if damage == "empty" else name, inner.get(damage, b""))
    with pytest.raises(DataError, match=r"x\.whl (cannot be read|has no descriptions)") as caught:
        read_documents(path, lambda fraction: None)
    assert "\n" not in str(caught.value)


def test_splits_of_services():
    names = [f"service-{i}" for i in range(4000)]
    found = [split_of(name) for name in names]
    assert found == [split_of(name) for name in names]
    for split, share in HELD_OUT.items():
        assert found.count(split) / len(names) == pytest.approx(share, abs=0.015)
    assert set(found) == {"train", *HELD_OUT}


def runs(text):
    """Every eight words in a row, written out."""
    found = words(text)
    return {tuple(found[i : i + RUN]) for i in range(len(found) - RUN + 1)}


def plain_split(documents, characters):
    """`split_documents` in sets of words."""
    order = sorted(documents, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    result, known = {"train": [], "validation": [], "test": []}, set()
    for split in result:
        new = set()
        for text in order:
            if split_of(documents[text]) != split or (split != "train" and runs(text) & known):
                continue
            if split == "train" and sum(map(len, result[split])) >= characters:
                break
            result[split].append(text)
            new |= runs(text)
        known |= new
    return result


@pytest.mark.parametrize("characters", [10**9, 20_000])
def test_splits_against_sets_of_words(characters):
    rng = np.random.default_rng(0)
    names = {split: [next(services_of(split))] for split in ("train", "validation", "test")}
    documents = {}
    for i in range(900):
        # Few words and long runs of them: about half of what is held out must go.
        start = int(rng.integers(6))
        numbers = [(start + k + (rng.random() < 0.3)) % 9 for k in range(int(rng.integers(8, 13)))]
        split = ("train", "validation", "test")[i % 3]
        documents[f"{sentence(*numbers)} {i}"] = names[split][0]
    result = split_documents(documents, characters)
    expected = plain_split(documents, characters)
    assert result == expected
    for split in HELD_OUT:
        assert 20 < len(result[split]) < 280
    shortened = sum(map(len, result["train"]))
    assert (shortened < 20_500) == (characters == 20_000)


def test_a_text_of_another_split_makes_no_run_with_its_neighbour(monkeypatch):
    """Runs end where a text ends."""
    train, held = next(services_of("train")), next(services_of("validation"))
    halves = sentence(0, 1, 2, 3, 4, 5, 6, 7), sentence(8, 8, 8, 8, 8, 8, 8, 8)
    across = " ".join([*halves[0].split()[4:], *halves[1].split()[:4]])
    backwards = " ".join([*halves[1].split()[4:], *halves[0].split()[:4]])
    documents = {halves[0]: train, halves[1]: train, across: held, backwards: held}
    result = split_documents(documents, 10**9)
    assert set(result["validation"]) == {across, backwards}


def test_the_order_depends_on_the_texts_only():
    name = next(services_of("train"))
    texts = [f"{LONG} {i}" for i in range(50)]
    first = split_documents(dict.fromkeys(texts, name), 10**9)
    second = split_documents(dict.fromkeys(reversed(texts), name), 10**9)
    assert first == second
    assert first["train"] != texts
    assert sorted(first["train"]) == sorted(texts)


def test_hashes_of_runs_tell_orders_and_words_apart():
    numbers = {}
    texts = [sentence(*np.random.default_rng(i).permutation(9)[:8]) for i in range(2000)]
    hashes, owners = splits_module._runs(texts, numbers)
    assert len(hashes) == len(owners) == 2000
    assert len(set(hashes.tolist())) == len(set(texts))
