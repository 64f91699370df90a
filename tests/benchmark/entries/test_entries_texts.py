"""submission_info.yml, requirements.txt and README, as texts."""

import pytest
import yaml

from benchmark.entries import info, requirements
from benchmark.entries.layout import FIELDS
from benchmark.entries.readme import readme
from benchmark.errors import UserError

GENERAL = {
    "submission_name": "sgd",
    "authors": "A: B, Ç. D",
    "affiliations": "E",
    "version": "1.0",
    "framework": "JAX, PyTorch",
    "ruleset": "external_tuning",
    "description": "Word " * 60,
    "more": "ignored",
}


@pytest.mark.parametrize("ruleset", ["external_tuning", "self_tuning"])
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_fields_as_the_competitions_ci_reads_them(tmp_path, ruleset, framework):
    text = info.write_fields(GENERAL, "sgd_x", ruleset, framework, tmp_path / "i.yml")
    # It reads line by line, without indentation and what follows #.
    lines = [line.split("#")[0].strip() for line in text.split("\n")]
    fields = yaml.safe_load("\n".join(lines))
    assert fields == yaml.safe_load(text)
    assert tuple(fields) == FIELDS
    assert fields == {
        "submission_name": {"jax": "sgd (JAX)", "pytorch": "sgd (PyTorch)"}[framework],
        "submission_folder": "sgd_x",
        "authors": "A: B, Ç. D",
        "affiliations": "E",
        "version": "1.0",
        "ruleset": {"external_tuning": "external", "self_tuning": "self-tuning"}[ruleset],
        "framework": {"jax": "JAX", "pytorch": "PyTorch"}[framework],
        "description": ("Word " * 60).strip(),
    }


@pytest.mark.parametrize("field", ["submission_name", "authors", "version", "description"])
@pytest.mark.parametrize("value", ["", "  ", "no #1", "two\nlines"])
def test_fields_that_would_be_lost_are_refused(tmp_path, field, value):
    with pytest.raises(UserError, match=rf"i.yml: .*{field}.*allowed: "):
        info.write_fields(GENERAL | {field: value}, "f", "self_tuning", "jax", tmp_path / "i.yml")


def test_reading_fields(tmp_path):
    path = tmp_path / "submission_info.yml"
    path.write_text("version: 1.0\nauthors:\n")
    assert info.read(path) == {"version": "1.0", "authors": ""}
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"submission_info\.yml: "):
        info.read(path)
    with pytest.raises(UserError, match=r"nowhere\.yml: No such file"):
        info.read(tmp_path / "nowhere.yml")


REQUIREMENTS = """
# What this is.

Array_API.Compat==1.16.0  # one namespace
numpy==2.4.6
# A reason above,
# on two lines.
heavyball>=1  # and behind

-e git+https://example.com/x.git@1#egg=Learned_opt
plain
"""


def test_requirements_with_their_reasons():
    found = {item.name: item for item in requirements.parse(REQUIREMENTS)}
    assert {name: (item.line, item.comment) for name, item in found.items()} == {
        "array-api-compat": (4, "one namespace"),
        "numpy": (5, ""),
        "heavyball": (8, "and behind"),
        "learned-opt": (10, ""),
        "plain": (11, ""),
    }
    assert found["array-api-compat"].text == "Array_API.Compat==1.16.0"
    reason = list(requirements.parse("# one\n# two\nx\n\n# three\n\ny"))
    assert [item.comment for item in reason] == ["one two", ""]


def test_requirements_of_imports(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text(REQUIREMENTS)
    modules = ["jax", "array_api_compat", "numpy", "absl", "scipy"]
    assert requirements.of_imports(modules, path) == "Array_API.Compat==1.16.0  # one namespace\n"
    for module in ("plain", "unknown"):
        with pytest.raises(UserError, match=f"an entry imports {module}, and no line"):
            requirements.of_imports([*modules, module], path)


def test_readme_tells_points_and_what_is_the_same_in_all():
    fields = dict.fromkeys(FIELDS, "x") | {"submission_folder": "sgd_jax"}
    values = {"rate": 0.1, "beta1": 0.9, "clip": None, "kind": "plain"}
    points = [{"rate": 0.123456789, "one_minus_beta1": 1}, {"rate": 2, "one_minus_beta1": 0.5}]
    text = readme(fields, "jax", "external_tuning", "a paper", values, points)
    assert "| rate | 0.123457 | 2 |\n| one_minus_beta1 | 1 | 0.5 |\n" in text
    rest = text.partition("The others")[2]
    assert '| clip | null |\n| kind | "plain" |\n' in rest
    assert "rate" not in rest
    assert "beta1" not in rest
    own = readme(fields, "jax", "self_tuning", "a paper", values, [])
    assert "| beta1 | 0.9 |\n| clip | null |\n" in own
    for folder in ("submissions/self_tuning/sgd_jax", "--framework=jax", "a paper"):
        assert folder in own
