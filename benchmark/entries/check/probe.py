"""Imports entries and asks them; a program of its own, see `asking`.

Usage: probe.py REQUEST.json ANSWERS.jsonl, with the folder of a stand-in (`stub`) for AlgoPerf
where that is not installed. It stands alone: the interpreter may be that of AlgoPerf's
environment.
"""

import collections
import importlib
import importlib.util
import json
import sys
import traceback
from pathlib import Path


def main():
    request, answers = map(Path, sys.argv[1:])
    asked = json.loads(request.read_text())
    if importlib.util.find_spec("algoperf") is None:
        sys.path.append(asked["stub"])
    with answers.open("w") as file:
        for entry in asked["entries"]:
            answer = _ask(entry["folder"], entry["points"], asked["workloads"])
            file.write(json.dumps(answer) + "\n")
            file.flush()


def _ask(folder, points, workloads):
    """What an entry answers: whether it could be imported, its batch sizes, its points."""
    folder = Path(folder)
    parts = [folder.parent.name, folder.name, "submission"]
    root = folder.parent.parent
    if root.name == "submissions":
        parts, root = [root.name, *parts], root.parent
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(".".join(parts))
    except ModuleNotFoundError as error:
        return {"missing": (error.name or "").split(".")[0], "error": _line(error)}
    except BaseException as error:  # whatever it is, it is the answer
        return {"error": _line(error)}
    finally:
        sys.path.remove(str(root))
        for name in [name for name in sys.modules if name.split(".")[0] == parts[0]]:
            del sys.modules[name]
    answer: dict = {"batch_sizes": {name: _call(module, name) for name in workloads}}
    asking = getattr(module, "check_hyperparameters", None)
    if asking is not None:
        answer["points"] = [_accepts(asking, _namedtuple(point)) for point in points]
        answer["none"] = [_accepts(asking, nothing) for nothing in (None, {})]
    return answer


def _call(module, name):
    """A batch size, or the type of the error."""
    try:
        size = module.get_batch_size(name)
    except Exception as error:
        return type(error).__name__
    return size if type(size) is int else f"not an integer, {size!r}"


def _accepts(asking, hyperparameters):
    try:
        asking(hyperparameters)
    except Exception as error:
        return _line(error)
    return None


def _namedtuple(point):
    return collections.namedtuple("Hyperparameters", point)(**point)


def _line(error):
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-1:]]
    return " ".join([f"{type(error).__name__}: {error}", *(f"({item})" for item in where)])


if __name__ == "__main__":
    main()
