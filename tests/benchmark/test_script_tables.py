"""Tables of scripts in terminals of any width and in files."""

import io
import re
import subprocess
import sys

from rich.console import Console

from benchmark import tables

HEADINGS = [tables.Heading("name"), tables.Heading("value\nin s", numeric=True)]


def printed(rows: list[tuple[str, ...]], **console) -> list[str]:
    out = io.StringIO()
    tables.print_rows(HEADINGS, rows, Console(file=out, **console))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_table():
    assert printed([("a", "1.5"), ("[b]", "10.25")], width=100) == [
        "      value",
        "name   in s",
        "─" * 12,
        "a       1.5",
        "[b]   10.25",
    ]


def test_a_narrow_terminal_folds_texts_never_numbers():
    lines = printed([("a very long name", "1,234,567")], width=20, force_terminal=True)
    assert all(len(line) <= 60 for line in lines)
    text = "\n".join(lines)
    assert "1,234,567" in text
    assert "a very long name" not in text
    assert "a very" in text


def test_a_file_gets_whole_lines_without_colours():
    code = (
        "from benchmark.tables import Heading, print_rows;"
        "print_rows([Heading('a'), Heading('b')], [('x' * 300, 'y' * 300)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": tables.__file__.removesuffix("benchmark/tables.py")},
    )
    assert done.returncode == 0, done.stderr
    assert re.search("^x{300} +y{300} *$", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout
