"""`mutations.unbroken` for methods that inherit or build on the class whose source is changed."""

import inspect

from mutations import holds, mutate

from matprec.algorithms import adadiag, adafacdiag, adafactor, galore, hfac, rotated

# Each after what it is built on.
MODULES = [rotated, adadiag, galore, adafactor, adafacdiag, hfac]


def unbroken(monkeypatch, mutation):
    """The names of the identities that should fail under a mutation and do not."""
    module, original, mutated, *must_fail = mutation
    mutate(monkeypatch, module, original, mutated)
    for dependent in MODULES:
        if dependent is not module:
            whole = inspect.getsource(dependent)
            mutate(monkeypatch, dependent, whole, whole)
    return [identity.__name__ for identity in must_fail if holds(identity)]
