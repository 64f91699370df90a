"""Self-tuning: AlgoPerf's runner hands over None as `hyperparameters`, its reference test {}."""

import ast
from collections.abc import Iterable, Iterator

from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry, Module
from benchmark.entries.check.signatures import FUNCTIONS

_NAME = "hyperparameters"


def check(entry: Entry) -> Iterator[Defect]:
    """Reads of `hyperparameters` that fail without any, in AlgoPerf's functions and what they call
    with it. A read below a condition that looks at `hyperparameters` counts as safe."""
    if entry.ruleset != "self_tuning" or entry.submission is None:
        return
    seen: set[int] = set()
    for name, function in FUNCTIONS.items():
        if _NAME in function.arguments and name in entry.submission.top:
            for path, node in entry.functions(name)[:1]:
                yield from _reads(entry, entry.modules[path], node, _NAME, seen)


def _reads(
    entry: Entry, module: Module, function: ast.FunctionDef, name: str, seen: set[int]
) -> Iterator[Defect]:
    """Unsafe reads of the argument `name` in one function, and in those that it is handed to."""
    if id(function) in seen or _is_assigned(function, name):
        return
    seen.add(id(function))
    telling = _telling_names(function, name)
    for node in _unconditional(function.body, telling):
        if isinstance(node, ast.Attribute | ast.Subscript) and _is_name(node.value, name):
            member = f".{node.attr}" if isinstance(node, ast.Attribute) else "[...]"
            yield Defect(
                module.path,
                node.lineno,
                f"{function.name} reads {name}{member}, and self-tuning has none",
                "None and {}",
            )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for callee_module, callee in _resolve(entry, module, node.func.id):
                for argument in _handed(node, callee, name):
                    yield from _reads(entry, callee_module, callee, argument, seen)


def _unconditional(nodes: Iterable[ast.AST], telling: set[str]) -> Iterator[ast.AST]:
    """Nodes and what is in them, but for what a condition on `telling` names guards."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.Lambda) and telling & _arguments(node):
            continue  # another one of this name
        yield node
        if isinstance(node, ast.If | ast.IfExp | ast.While) and _names(node.test) & telling:
            yield from _unconditional([node.test], telling)
            if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return | ast.Raise):
                return  # and so the condition guards what follows
        elif isinstance(node, ast.BoolOp) and _names(node.values[0]) & telling:
            yield from _unconditional(node.values[:1], telling)
        elif isinstance(node, ast.Try):
            yield from _unconditional([*node.orelse, *node.finalbody], telling)
        else:
            yield from _unconditional(ast.iter_child_nodes(node), telling)


def _telling_names(function: ast.FunctionDef, name: str) -> set[str]:
    """`name`, and names that are assigned from it."""
    found = {name}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and _names(node.value) & found:
            found |= {
                target.id
                for item in node.targets
                for target in ast.walk(item)
                if isinstance(target, ast.Name)
            }
    return found


def _is_assigned(function: ast.FunctionDef, name: str) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        for node in ast.walk(function)
    )


def _resolve(entry: Entry, module: Module, name: str) -> Iterator[tuple[Module, ast.FunctionDef]]:
    """The entry's functions that a name stands for in a module."""
    for statement in module.top.get(name, []):
        if isinstance(statement, ast.FunctionDef):
            yield module, statement
    for binding in module.imports:
        if binding.local == name and binding.path in entry.modules and binding.attribute:
            other = entry.modules[binding.path]
            for statement in other.top.get(binding.attribute, []):
                if isinstance(statement, ast.FunctionDef):
                    yield other, statement


def _handed(call: ast.Call, callee: ast.FunctionDef, name: str) -> Iterator[str]:
    """The callee's arguments that get `name` as it is."""
    names = [argument.arg for argument in (*callee.args.posonlyargs, *callee.args.args)]
    for argument, value in zip(names, call.args, strict=False):
        if _is_name(value, name):
            yield argument
    for keyword in call.keywords:
        if keyword.arg and _is_name(keyword.value, name):
            yield keyword.arg


def _arguments(function: ast.FunctionDef | ast.Lambda) -> set[str]:
    given = function.args
    return {argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)}


def _names(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
