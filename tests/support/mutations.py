"""Changed formulas that identities must notice.

A mutation is (module, original, mutated, *identities that must fail for one of the shapes). The
module's changed source is executed into a fresh module, whose functions and classes take the place
of the library's for one test; no file is touched. Identities are functions of a shape and of
`run`, see `identities`; they must look classes up in their modules when called.
"""

import functools
import inspect
import types

import array_api_compat.torch
import pytest
from stacks import run

SHAPES = {"wide": (4, 7), "tall": (7, 4), "square": (5, 5)}
RUN_IN_TORCH = functools.partial(run, array_api_compat.torch)

over_shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def over_identities(identities):
    return pytest.mark.parametrize("identity", identities, ids=lambda f: f.__name__)


def over_mutations(mutations):
    names = [f"{module.__name__}: {mutated}" for module, _, mutated, *_ in mutations]
    return pytest.mark.parametrize("mutation", mutations, ids=names)


def mutate(monkeypatch, module, original, mutated):
    """Put what `module`'s source defines after the change in the place of what it defines now."""
    source = inspect.getsource(module)
    assert source.count(original) == 1
    fresh = types.ModuleType(module.__name__)
    exec(compile(source.replace(original, mutated), "mutated", "exec"), fresh.__dict__)
    for name, value in vars(fresh).items():
        if getattr(value, "__module__", None) == module.__name__:
            monkeypatch.setattr(module, name, value)


def holds(identity):
    """Whether an identity holds for all shapes."""
    try:
        for shape in SHAPES.values():
            identity(shape, RUN_IN_TORCH)
    except AssertionError:
        return False
    return True


def unbroken(monkeypatch, mutation):
    """Names of the identities that should fail under a mutation and do not; it stays applied."""
    module, original, mutated, *must_fail = mutation
    mutate(monkeypatch, module, original, mutated)
    return [identity.__name__ for identity in must_fail if holds(identity)]


def never_broken(identities, mutations):
    """The identities that no mutation breaks."""
    broken = {identity for _, _, _, *must_fail in mutations for identity in must_fail}
    return set(identities) - broken
