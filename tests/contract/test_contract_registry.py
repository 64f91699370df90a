"""The registry, the algorithms' files, both frameworks and the references belong together.

A new file in `matprec/algorithms` that nobody registered, a registered name that lost one of its
parts and a memory formula that is not what is allocated are noticed here; the submissions' own
files in `tests/submissions/test_submission_files.py`.
"""

import importlib
import pkgutil

import optimizers
import pytest
import torch

import matprec.jax
import matprec.torch
from matprec import algorithms
from matprec.algorithms.base import Algorithm
from submissions.common.hyperparameters import make_run
from submissions.common.pytorch import make_optimizer
from submissions.registry import OPTIMIZERS

# What this project set out to have, in both frameworks.
WANTED = {
    *("adamw", "nadamw", "adafactor_original"),
    *("asgo", "asgo_theory", "dasgo"),
    *("caspr", "caspr_adaptive"),
    *("shampoo", "kl_shampoo"),
    *("soap",),
    *("adadiag", "adadiag_plus_plus"),
    *("adafactor", "adafacdiag", "adafacdiag_plus_plus"),
    *("hfac", "hfacdiag"),
    *("galore",),
    *("muon",),
}

names = pytest.mark.parametrize("name", optimizers.NAMES)

MODULES = {
    module.name: importlib.import_module(f"matprec.algorithms.{module.name}")
    for module in pkgutil.iter_modules(algorithms.__path__)
}


def algorithms_in(module):
    """The algorithms that a module defines: a base that algorithms share states no source."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Algorithm)
        and value.__module__ == module.__name__
        and hasattr(value, "source")
    ]


def test_nothing_is_missing():
    assert OPTIMIZERS.keys() >= WANTED
    assert all(name == optimizer.name for name, optimizer in OPTIMIZERS.items())


def test_every_algorithm_is_registered_once():
    found = [cls for module in MODULES.values() for cls in algorithms_in(module)]
    assert len(found) >= 18
    registered = list(optimizers.ALGORITHMS.values())
    assert sorted(map(repr, found)) == sorted(map(repr, registered))


@pytest.mark.parametrize("module", [name for name in MODULES if not algorithms_in(MODULES[name])])
def test_a_file_without_algorithms_is_shared(module):
    """By several others; what only one needs is in its file, what none needs nowhere."""
    shared = MODULES[module].__name__
    users = {
        other
        for other, where in MODULES.items()
        for value in vars(where).values()
        if other != module
        and shared in (getattr(value, key, "") for key in ("__module__", "__name__"))
    }
    assert len(users) >= 2


@names
def test_an_algorithm_is_complete(name):
    cls = optimizers.ALGORITHMS[name]
    assert getattr(algorithms, cls.__name__) is cls
    assert cls.__name__ in algorithms.__all__
    assert len(cls.source) > 10
    assert cls.refresh_at in ("before", "after", "end", "never")
    assert matprec.jax.BY_ALGORITHM[cls] is optimizers.alias(name)
    assert name in matprec.jax.__all__
    assert optimizers.alias(name).__name__ == name
    assert matprec.torch.BY_ALGORITHM[cls] is optimizers.torch_class(name)
    assert cls.__name__ in matprec.torch.__all__
    assert issubclass(optimizers.torch_class(name), matprec.torch.MatrixOptimizer)
    assert callable(optimizers.reference(name).step)


def test_both_frameworks_have_what_is_registered_and_no_more():
    registered = set(optimizers.ALGORITHMS.values())
    assert matprec.jax.BY_ALGORITHM.keys() == matprec.torch.BY_ALGORITHM.keys() == registered


@names
def test_the_reference_has_the_same_defaults(name):
    theirs = optimizers.reference_parameters(optimizers.reference(name))
    mine = optimizers.defaults(name)
    shared = mine.keys() & theirs.keys()
    assert {key: mine[key] for key in shared} == {key: theirs[key] for key in shared}
    own_to_the_reference = {"shapes", "roles", "weight_layout", "lr", "weight_decay"}
    assert theirs.keys() - shared == own_to_the_reference


@names
def test_hyperparameters_are_checked(name):
    """Every one of them refuses what no optimizer could mean, in one line."""
    cls = optimizers.ALGORITHMS[name]
    for key in optimizers.defaults(name):
        for value in (-1.0, float("nan"), float("inf"), "neither"):
            with pytest.raises(ValueError, match=f"{cls.__name__}: {key}=") as error:
                cls(**{key: value})
            assert "\n" not in str(error.value)


# ---------------------------------------- memory
LONG = 140  # beyond GaLore's rank
PAIRS = [(3, 5), (5, 3), (4, 4), (LONG, LONG + 9), (LONG + 9, LONG), (LONG, LONG)]


def elements(formula, rows, columns, **hyperparameters):
    """A `state_size` formula's value."""
    sizes = {"m": rows, "n": columns, "d": min(rows, columns), "D": max(rows, columns)}
    return eval(formula, {"__builtins__": {"min": min, "max": max}}, sizes | hyperparameters)


@names
@pytest.mark.parametrize("shape", PAIRS, ids=str)
def test_the_state_has_the_size_that_its_formula_says(name, shape):
    state = optimizers.state_of_matrix(name, shape)
    expected = elements(
        OPTIMIZERS[name].state_size, *shape, r=optimizers.defaults(name).get("rank")
    )
    assert sum(array.numel() for array in state.values()) == expected


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - optimizers.ALGORITHMS.keys()))
def test_torchs_own_optimizers_have_it_too(name):
    param = torch.nn.Parameter(torch.ones(LONG, LONG + 9))
    optimizer = make_optimizer(make_run(name, None), [param])
    param.grad = torch.ones_like(param)
    optimizer.step()
    arrays = [x for x in optimizer.state[param].values() if torch.is_tensor(x) and x.ndim > 0]
    assert sum(x.numel() for x in arrays) == elements(OPTIMIZERS[name].state_size, *param.shape)
