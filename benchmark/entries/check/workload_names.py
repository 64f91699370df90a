"""Nothing but `get_batch_size` may know which workload it is.

What a syntax tree shows is found: names of workloads, their classes, AlgoPerf's flags. Not found
is what a submission concludes from shapes of parameters or from sizes of data sets.
"""

import ast
from collections.abc import Iterator

from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry, names_bound
from benchmark.entries.check.reach import only_from
from workloads_overrides.shapes.harness import WORKLOADS

# A submission must have a batch size for these.
OFFICIAL = WORKLOADS
_VARIANTS = {
    "criteo1tb": ("embed_init", "layernorm", "resnet", "test"),
    "fastmri": ("layernorm", "model_size", "tanh"),
    "imagenet_resnet": ("gelu", "large_bn_init", "silu"),
    "imagenet_vit": ("glu", "map", "post_ln"),
    "librispeech_conformer": ("attention_temperature", "gelu", "layernorm"),
    "librispeech_deepspeech": ("no_resnet", "norm_and_spec_aug", "tanh"),
    "ogbg": ("gelu", "model_size", "silu"),
    "wmt": ("attention_temp", "glu_tanh", "post_ln"),
}
_OTHER = ("cifar", "mnist", "finewebedu_lm", "imagenet", "librispeech", "conformer", "deepspeech")
NAMES = {
    *OFFICIAL,
    *_OTHER,
    *(f"{base}_{variant}" for base, variants in _VARIANTS.items() for variant in variants),
}
_ALLOWED = "only in get_batch_size"
_TELLING = ("__class__", "__module__", "__qualname__", "__doc__", "__dict__")
_ASKING = ("type", "isinstance", "str", "repr", "vars", "dir")


def check(entry: Entry) -> Iterator[Defect]:
    """Every place outside of what serves `get_batch_size` alone that reads a workload's name."""
    free = only_from(entry, "get_batch_size")
    for path, module in entry.modules.items():
        for statement in module.tree.body:
            bound = names_bound(statement)
            if bound and all((path, name) in free for name in bound):
                continue
            nodes = list(ast.walk(statement))
            alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
            for node in nodes:
                if id(node) not in alone and (told := _evidence(node)):
                    yield Defect(path, getattr(node, "lineno", 0), told, _ALLOWED)


def _evidence(node: ast.AST) -> str | None:
    """How a node can tell the workload, None if it cannot."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if node.value.lower() in NAMES:
            return f"a workload's name, {node.value!r}"
    elif isinstance(node, ast.Name | ast.arg | ast.Attribute):
        name = {ast.Name: "id", ast.arg: "arg", ast.Attribute: "attr"}[type(node)]
        if getattr(node, name) == "workload_name":
            return "reads workload_name"
        if isinstance(node, ast.Attribute):
            return _attribute(node)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in _ASKING and any(_is_workload(argument) for argument in node.args):
            return f"{node.func.id}(workload) tells which workload it is"
    elif isinstance(node, ast.FormattedValue) and _is_workload(node.value):
        return "a workload as text tells which it is"
    elif isinstance(node, ast.ImportFrom | ast.Import):
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        if any(name.startswith("algoperf.workloads") for name in names):
            return "imports AlgoPerf's workloads"
    return None


def _attribute(node: ast.Attribute) -> str | None:
    if node.attr in _TELLING and _is_workload(node.value):
        return f"workload.{node.attr} tells which workload it is"
    if node.attr == "workload" and _last_name(node.value) == "FLAGS":
        return "FLAGS.workload"
    if node.attr == "argv" and _last_name(node.value) == "sys":
        return "sys.argv holds the workload's name"
    return None


def _is_workload(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "workload"


def _last_name(node: ast.AST) -> str | None:
    return getattr(node, "attr", None) or getattr(node, "id", None)
