"""Cutting files down: what is used stays as it was written, nothing else does."""

import ast

import pytest

from benchmark.entries.edits import Edits
from benchmark.entries.shake import bound, keep_row, shake
from benchmark.errors import UserError

PACKAGE = '''"""Says what is here."""

import os

from package.first import ONE, TWO
from package.second import other  # stays

# About the constant.
CONSTANT = {  # kept as written: ü
    "one": ONE,
}

# About what goes.
@os.fspath
def unused():
    return TWO


__all__ = [
    "CONSTANT",
    "ONE",
    "unused",
]
'''


def test_a_name_brings_what_it_needs_and_its_comments():
    assert shake(PACKAGE, {"CONSTANT"}) == (
        '"""Says what is here."""\n\n\nfrom package.first import ONE\n\n'
        '# About the constant.\nCONSTANT = {  # kept as written: ü\n    "one": ONE,\n}\n\n\n\n'
        '__all__ = ["CONSTANT", "ONE"]\n'
    )


def test_without_names_nothing_is_left():
    assert shake(PACKAGE, set()) == ""


def test_all_names_leave_the_file():
    names = {name for statement in ast.parse(PACKAGE).body for name in bound(statement)}
    kept = shake(PACKAGE, names - {"__all__"})
    assert ast.dump(ast.parse(kept)) == ast.dump(ast.parse(PACKAGE))


def test_a_function_brings_the_imports_that_its_body_and_decorators_need():
    kept = shake(PACKAGE, {"unused"})
    assert "import os" in kept
    assert "import TWO" in kept
    assert "CONSTANT" not in kept.replace('"CONSTANT"', "")


def test_names_that_are_not_there_are_told():
    with pytest.raises(UserError, match="no missing, nowhere at the top level"):
        shake(PACKAGE, {"nowhere", "ONE", "missing"})


REGISTRY = """
ROWS = {
    row.name: row
    for row in (
        Row("first", a=1),
        Row(  # a comment
            "second", a=(2, 3)
        ),
        # gone too
        Row("third", b=[Row("inner")]){comma}
    )
}
"""


@pytest.mark.parametrize("comma", [",", ""])
@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_one_row_stays(name, comma):
    text = keep_row(REGISTRY.replace("{comma}", comma), "ROWS", name)
    (rows,) = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.comprehension)]
    assert isinstance(rows.iter, ast.Tuple)
    assert [row.args[0].value for row in rows.iter.elts] == [name]
    original = next(
        node
        for node in ast.walk(ast.parse(REGISTRY.replace("{comma}", "")))
        if isinstance(node, ast.Call) and node.args and node.args[0].value == name
    )
    assert ast.dump(rows.iter.elts[0]) == ast.dump(original)


def test_a_row_that_is_not_there_is_told():
    with pytest.raises(UserError, match="no row 'fourth' in ROWS"):
        keep_row(REGISTRY.replace("{comma}", ","), "ROWS", "fourth")
    with pytest.raises(UserError, match="no row 'first' in OTHERS"):
        keep_row(REGISTRY.replace("{comma}", ","), "OTHERS", "first")


def test_edits_count_bytes_and_apply_together():
    text = 'é = "ü"; b = 2\nc = 3\n'
    first, second, third = ast.parse(text).body
    edits = Edits(text)
    edits.replace_node(second, "b = 'ß'")
    edits.replace_node(first, "a = 1")
    edits.remove_lines(third)
    assert edits.segment(first) == 'é = "ü"'
    assert edits.apply() == "a = 1; b = 'ß'\n"
