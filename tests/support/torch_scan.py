"""Finds uses of given names and keyword arguments of PyTorch in Python source."""

import ast
from collections.abc import Iterator, Mapping, Sequence

# Modules that hand on PyTorch's namespace, and how this repository calls an array namespace.
_SAME_AS_TORCH = ("array_api_compat.torch",)
_NAMESPACES = {"xp": "torch"}
# Attributes of any object are taken for a tensor's, so what other types have too is left out.
_COMMON = {name for kind in (list, dict, str, set, tuple, int) for name in dir(kind)}

Listed = Mapping[str, Sequence[str]]


def uses(source: str, names: Listed, keywords: Listed) -> Iterator[tuple[int, str]]:
    """(line, what) of every use, such as (3, "torch.optim.Muon") or (4, "torch.f(new=)").

    Args:
        source: of one module.
        names: module or class -> names in it, as {"torch.optim": ["Muon"]}; those of torch.Tensor
            are looked for as attributes of anything.
        keywords: function or class -> keyword arguments; methods of torch.Tensor likewise.
    """
    tree = ast.parse(source)
    aliases = dict(_NAMESPACES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import torch.nn` binds torch, `import torch.nn as nn` binds torch.nn.
                bound = alias.asname or alias.name.partition(".")[0]
                aliases[bound] = _canonical(alias.name if alias.asname else bound)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                aliases[alias.asname or alias.name] = _canonical(f"{node.module}.{alias.name}")
    wanted = {f"{place}.{name}" for place, found in names.items() for name in found}
    members = set(names.get("torch.Tensor", ())) - _COMMON
    of_tensors = {
        key.rpartition(".")[2]: set(found)
        for key, found in keywords.items()
        if key.startswith("torch.Tensor.")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            dotted = [_canonical(f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Import):
            dotted = [_canonical(alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute):
            dotted = [name] if (name := _dotted(node, aliases)) else []
            if not dotted and node.attr in members:
                yield node.lineno, f"torch.Tensor.{node.attr}"
        else:
            dotted = []
            if isinstance(node, ast.Call):
                name = _dotted(node.func, aliases)
                new = set(keywords.get(name or "", ()))
                if isinstance(node.func, ast.Attribute):
                    new |= of_tensors.get(node.func.attr, set())
                    name = name or f"torch.Tensor.{node.func.attr}"
                for keyword in node.keywords:
                    if keyword.arg in new:
                        yield node.lineno, f"{name}({keyword.arg}=)"
        for name in dotted:
            # Also in the middle of a name: torch.accelerator.is_available.
            parts = name.split(".")
            starts = (".".join(parts[:end]) for end in range(2, len(parts) + 1))
            new_name = next((start for start in starts if start in wanted), None)
            if new_name is not None:
                yield node.lineno, new_name  # type: ignore[attr-defined]


def _canonical(name: str) -> str:
    for module in _SAME_AS_TORCH:
        if name == module or name.startswith(module + "."):
            return "torch" + name.removeprefix(module)
    return name


def _dotted(node: ast.expr, aliases: Mapping[str, str]) -> str | None:
    """`nn.Linear` -> `torch.nn.Linear`, by what the module has imported."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return None
    return ".".join([aliases[node.id], *reversed(parts)])
