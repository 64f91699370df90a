"""Changes of a source text at places that its syntax tree names; all other text stays as it is."""

import ast
from itertools import accumulate


class Edits:
    """Replacements in one text, applied together.

    Args:
      text: Python source; the nodes given to the methods are of its tree.
    """

    def __init__(self, text: str) -> None:
        self._source = text.encode()
        lengths = (len(line) for line in self._source.splitlines(keepends=True))
        self._starts = [0, *accumulate(lengths)]
        self._edits: list[tuple[int, int, bytes]] = []

    def start(self, node: ast.AST) -> int:
        """Where a node begins, in bytes: the columns of syntax trees count those."""
        return self._starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Where a node ends, in bytes."""
        return self._starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def segment(self, node: ast.AST) -> str:
        """A node's source."""
        return self._source[self.start(node) : self.end(node)].decode()

    def between(self, start: int, end: int) -> str:
        """The text from byte `start` to byte `end`."""
        return self._source[start:end].decode()

    def replace(self, start: int, end: int, text: str) -> None:
        """Put `text` in the place of the bytes from `start` to `end`."""
        self._edits.append((start, end, text.encode()))

    def replace_node(self, node: ast.AST, text: str) -> None:
        """Put `text` in the place of a node."""
        self.replace(self.start(node), self.end(node), text)

    def remove_lines(self, node: ast.AST) -> None:
        """Take out a statement's lines, those of its decorators and of a comment right above."""
        decorators = getattr(node, "decorator_list", [])
        first = min(item.lineno for item in (node, *decorators)) - 1  # type: ignore[attr-defined]
        while first and self._line(first - 1).lstrip().startswith("#"):
            first -= 1
        self.replace(self._starts[first], self._starts[node.end_lineno], "")  # type: ignore[attr-defined]

    def _line(self, index: int) -> str:
        return self.between(self._starts[index], self._starts[index + 1])

    def apply(self) -> str:
        """The changed text."""
        source = self._source
        for start, end, text in sorted(self._edits, reverse=True):
            source = source[:start] + text + source[end:]
        return source.decode()
