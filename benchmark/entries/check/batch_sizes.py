"""`get_batch_size`, as its text shows it: for entries that cannot be imported here."""

import ast
from collections.abc import Iterator

from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry
from benchmark.entries.check.reach import reachable
from benchmark.entries.check.workload_names import OFFICIAL
from benchmark.entries.layout import SUBMISSION


def check(entry: Entry) -> Iterator[Defect]:
    """Official workloads that it does not name, and no ValueError."""
    nodes = []
    line = 0
    for path, name in reachable(entry, {(SUBMISSION, "get_batch_size")}):
        for statement in entry.modules[path].top.get(name, []):
            nodes += ast.walk(statement)
            if isinstance(statement, ast.FunctionDef) and name == "get_batch_size":
                line = statement.lineno * (path == SUBMISSION)
    if not nodes:
        return
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    if unknown := [name for name in OFFICIAL if name not in texts]:
        yield Defect(SUBMISSION, line, f"get_batch_size does not name {', '.join(unknown)}")
    raised = [node for node in nodes if isinstance(node, ast.Raise)]
    if not any("ValueError" in ast.unparse(node) for node in raised):
        yield Defect(
            SUBMISSION, line, "get_batch_size raises no ValueError", "for unknown workloads"
        )
