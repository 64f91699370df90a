"""Which public names and keyword arguments a newer PyTorch has that an older one has not.

Run in this folder, with the interpreters of two environments:

    OLD_PYTHON torch_names.py list > old.json
    NEW_PYTHON torch_names.py list > new.json
    python torch_names.py diff old.json new.json > ../matprec/torch/torch_new_since_2_5.json
"""

import importlib
import inspect
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

_MODULES = """
torch torch.accelerator torch.amp torch.autograd torch.autograd.functional torch.autograd.graph
torch.backends torch.backends.cpu torch.backends.cuda torch.backends.cudnn torch.compiler torch.cuda
torch.cuda.amp torch.distributed torch.distributed.algorithms.join torch.distributed.checkpoint
torch.distributed.device_mesh torch.distributed.fsdp torch.distributed.nn
torch.distributed.nn.functional torch.distributed.optim torch.distributed.tensor
torch.distributions torch.export torch.fft torch.func torch.library torch.linalg
torch.multiprocessing torch.nested torch.nn torch.nn.attention torch.nn.functional torch.nn.init
torch.nn.parallel torch.nn.utils torch.nn.utils.parametrizations torch.nn.utils.parametrize
torch.nn.utils.rnn torch.nn.utils.stateless torch.optim torch.optim.lr_scheduler
torch.optim.optimizer torch.optim.swa_utils torch.overrides torch.profiler torch.random
torch.serialization torch.sparse torch.special torch.testing torch.utils torch.utils.benchmark
torch.utils.checkpoint torch.utils.data torch.utils.data.distributed torch.utils.dlpack
"""
_CLASSES = """
torch.Tensor torch.nn.Module torch.nn.Parameter torch.optim.Optimizer torch.Generator
torch.autograd.Function torch.UntypedStorage torch.cuda.Event torch.cuda.Stream
torch.nn.parallel.DistributedDataParallel torch.optim.lr_scheduler.LRScheduler
"""
MODULES, CLASSES = _MODULES.split(), _CLASSES.split()

_TYPES = ("bool", "float", "int", "out", "size", "str")  # in docstrings, not keywords of late

Names = dict[str, dict[str, list[str]]]  # module or class -> name -> its parameters


def names() -> Names:
    """Of the PyTorch at hand; a module that it has not is left out."""
    found: Names = {}
    for place in MODULES + CLASSES:
        try:
            owner = importlib.import_module(place)
        except ImportError:
            module, _, name = place.rpartition(".")
            owner = getattr(importlib.import_module(module), name, None)
        if owner is None:
            continue
        members = {name: getattr(owner, name, None) for name in dir(owner) if name[0] != "_"}
        found[place] = {
            name: _parameters(value, name)
            for name, value in members.items()
            if place in CLASSES or _is_torch(value)
        }
    return found


def _is_torch(value: Any) -> bool:
    """Whether a member of a module is PyTorch's, rather than something that it imports."""
    if inspect.ismodule(value):
        return value.__name__.startswith("torch.")
    if isinstance(value, bool | int | str | type(None)):
        return False
    module = getattr(value, "__module__", None)
    return (module or "torch").startswith("torch")


def _parameters(value: Any, name: str) -> list[str]:
    """Of a callable: by its signature or, where C code has none, by its docstring's first lines."""
    if not callable(value):
        return []
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        text = value.__doc__ if isinstance(value.__doc__, str) else ""
        calls = re.findall(rf"^\s*{re.escape(name)}\((.*?)\)", text, re.M)
        found = {word for call in calls for word in re.findall(r"(\w+)\s*(?:=|,|$)", call)}
        return sorted(word for word in found if word.islower() and word not in _TYPES)
    return [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and not parameter.name.startswith("_")
    ]


def difference(old: Names, new: Names) -> dict[str, Any]:
    """(names, keywords) of `new` that `old` has not."""
    fresh = {place: sorted(set(new[place]) - set(old.get(place, ()))) for place in new}
    keywords = {
        f"{place}.{name}": sorted(set(parameters) - set(old[place][name]))
        for place in sorted(new.keys() & old.keys())
        for name, parameters in sorted(new[place].items())
        if name in old[place] and old[place][name]
    }
    return {
        "names": {place: found for place, found in sorted(fresh.items()) if found},
        "keywords": {place: found for place, found in keywords.items() if found},
    }


def main(command: str, *files: str) -> None:
    warnings.simplefilter("ignore")
    if command == "list":
        import torch

        json.dump({"version": torch.__version__, "names": names()}, sys.stdout)
        return
    old, new = (json.loads(Path(file).read_text()) for file in files)
    made = {"old": old["version"], "new": new["version"], **difference(old["names"], new["names"])}
    json.dump(made, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
