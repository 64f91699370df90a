"""Which files an entry gets, on a repository of a few lines."""

import ast
import importlib.util

import pytest

from benchmark.entries.closure import closure
from benchmark.entries.references import Sources
from benchmark.entries.rewrite import relative, rewrite
from benchmark.errors import UserError

FILES = {
    "lib/__init__.py": "",
    "lib/algorithms/__init__.py": (
        '"""All."""\n\nfrom lib.algorithms.one import One\nfrom lib.algorithms.two import Two\n\n'
        '__all__ = ["One", "Two"]\n'
    ),
    "lib/algorithms/one.py": "from lib import tools\n\nclass One:\n    number = tools.ONE\n",
    "lib/algorithms/two.py": "from lib.heavy import HEAVY\n\nclass Two:\n    number = HEAVY\n",
    "lib/tools.py": "import math\n\nONE = math.cos(0)\n",
    "lib/heavy.py": "import lib.tools as tools\n\nHEAVY = tools.ONE + 1\n",
    "subs/__init__.py": "",
    "subs/registry.py": (
        "from lib import algorithms\n\n\n"
        "def Row(name, algorithm):\n    return name, algorithm\n\n\n"
        'ROWS = dict((Row("one", algorithms.One), Row("two", algorithms.Two)))\n'
    ),
    "subs/run.py": (
        "from api import spec\nfrom subs.registry import ROWS\n\n\n"
        "def run(name):\n    from lib.tools import ONE\n\n    return ROWS[name], ONE, spec\n"
    ),
}


@pytest.fixture
def sources(tmp_path):
    def build(**changed):
        for name, text in (FILES | changed).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Sources(tmp_path, ("lib", "subs"))

    return build


def rows(name):
    return {"subs.registry": ("ROWS", name)}


def test_an_unused_algorithm_and_what_only_it_imports_stay_behind(sources):
    found = closure("subs.run", sources(), rows("one"))
    assert set(found) == {
        "lib",
        "lib.algorithms",
        "lib.algorithms.one",
        "lib.tools",
        "subs",
        "subs.registry",
        "subs.run",
    }
    assert found["lib.algorithms"] == (
        '"""All."""\n\nfrom lib.algorithms.one import One\n\n__all__ = ["One"]\n'
    )
    assert found["subs.run"] == FILES["subs/run.py"]


def test_the_other_row_brings_the_other_files(sources):
    found = closure("subs.run", sources(), rows("two"))
    assert {"lib.algorithms.two", "lib.heavy", "lib.tools"} < set(found)
    assert "lib.algorithms.one" not in found


def test_without_a_row_the_whole_table_stands(sources):
    found = closure("subs.run", sources())
    assert found["subs.registry"] == FILES["subs/registry.py"]
    assert {"lib.algorithms.one", "lib.algorithms.two"} < set(found)


@pytest.mark.parametrize(
    "text",
    [
        "from lib import algorithms\n\nprint(algorithms)\n",  # handed on whole
        "from lib.algorithms import *\n",
        "from lib.algorithms import One, Two\n",
        "def f():\n    import lib.algorithms as a\n\n    return a.Two, a.One\n",
    ],
)
def test_whole_packages(sources, text):
    found = closure("subs.run", sources(**{"subs/run.py": text}))
    assert {"lib.algorithms.one", "lib.algorithms.two", "lib.heavy"} < set(found)


def test_relative_imports_are_followed(sources):
    found = closure(
        "lib.algorithms.one",
        sources(**{"lib/algorithms/one.py": "from ..heavy import HEAVY\nfrom . import two\n"}),
    )
    assert {"lib.heavy", "lib.algorithms.two"} < set(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import lib.tools\n", r"run.py:1: import lib.tools: .*allowed: from ... import"),
        ("\nfrom lib.none import x\n", "run.py:2: no module lib.none"),
        ("from lib.algorithms import Three\n", "__init__.py: no Three at the top level"),
    ],
)
def test_imports_that_cannot_be_followed(sources, text, told):
    with pytest.raises(UserError, match=told):
        closure("subs.run", sources(**{"subs/run.py": text}))


def test_a_start_that_is_not_there(sources):
    with pytest.raises(UserError, match=r"no module subs\.walk below"):
        closure("subs.walk", sources())


def place(module):
    return module.removeprefix("subs").strip(".")


def test_imports_become_relative_and_algoperfs(sources, monkeypatch):
    monkeypatch.setattr("benchmark.entries.rewrite.STAND_IN", "api")
    text = rewrite(FILES["subs/run.py"], "subs.run", sources(), place)
    assert text == FILES["subs/run.py"].replace("from api import", "from algoperf import").replace(
        "from subs.registry", "from .registry"
    ).replace("from lib.tools", "from .lib.tools")


@pytest.mark.parametrize(
    ("package", "target", "name"),
    [
        ("", "lib.tools", ".lib.tools"),
        ("", "", "."),
        ("common", "", ".."),
        ("common", "common.data", ".data"),
        ("common", "common", "."),
        ("lib.jax", "lib.algorithms.base", "..algorithms.base"),
        ("lib.jax", "common.data", "...common.data"),
        ("lib.jax", "lib", ".."),
        ("lib", "library", "..library"),
    ],
)
def test_relative_names(package, target, name):
    parts = package.split(".") if package else []
    assert relative(parts, target) == name
    # And so Python reads it.
    here = ".".join(["entry", *parts])
    there = importlib.util.resolve_name(name, here)
    assert there == ".".join(["entry", *([target] if target else [])])


@pytest.mark.parametrize(
    "text",
    ["import lib.tools as t\n", "import algoperf_api\n", "from algoperf_api import HAS_ALGOPERF\n"],
)
def test_imports_without_a_counterpart_are_refused(sources, text):
    with pytest.raises(UserError, match=r"run.py:1: .*has no counterpart"):
        rewrite(text, "subs.run", sources(), place)


def test_packages_count_themselves(sources):
    text = FILES["lib/algorithms/__init__.py"]
    rewritten = rewrite(text, "lib.algorithms", sources(), place)
    assert "from .one import One\nfrom .two import Two\n" in rewritten
    assert ast.parse(rewritten)
