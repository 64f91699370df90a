"""What `matprec.jax` shows to the world: signatures, documentation, examples, and its imports."""

import doctest
import inspect
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import optimizers
import pytest

import matprec.jax
from matprec import settings

names = pytest.mark.parametrize("name", optimizers.NAMES)


@names
def test_signature(name):
    alias = getattr(matprec.jax, name)
    parameters = inspect.signature(alias).parameters
    assert list(parameters)[:2] == ["learning_rate", "weight_decay"]
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    mine = settings.hyperparameters(optimizers.ALGORITHMS[name])
    assert defaults.items() >= mine.items()
    assert defaults["weight_layout"] == "in_out"
    assert {"roles", "stack_bytes", "state_dtype"} <= set(alias.static_args) <= set(parameters)
    assert ("fallback" in parameters) == (name in optimizers.MATRIX_NAMES)
    assert alias.__name__ == name
    integers = {key for key, value in mine.items() if type(value) is int} | {"block_size"}
    assert integers & mine.keys() == mine.keys() & set(alias.static_args)


@names
def test_documentation(name):
    documentation = inspect.getdoc(getattr(matprec.jax, name)) or ""
    assert documentation.startswith(
        f"{optimizers.ALGORITHMS[name].__name__} as an optax optimizer."
    )
    for part in ("Args:", "Returns:", "Raises:", "U_t", "inject_hyperparams"):
        assert part in documentation


def test_example():
    result = doctest.testmod(matprec.jax)
    assert result.attempted > 5
    assert result.failed == 0


def test_importing_brings_no_torch():
    code = "import sys, matprec.jax; print('torch' in sys.modules, 'matprec.torch' in sys.modules)"
    root = pathlib.Path(matprec.jax.__file__).parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def precisions_of_products(jaxpr):
    """Of all matrix products in a jaxpr and in the ones inside it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for value in jax.tree.leaves(tuple(equation.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from precisions_of_products(inner)


@pytest.mark.parametrize("name", optimizers.MATRIX_NAMES)
def test_products_are_computed_in_full_precision(name):
    """On accelerators the default would be TF32 or bf16."""
    optimizer = getattr(matprec.jax, name)(0.1)
    params = {"w": jnp.ones((3, 4))}
    jaxpr = jax.make_jaxpr(optimizer.update)(params, optimizer.init(params), params)
    precisions = list(precisions_of_products(jaxpr.jaxpr))
    assert precisions or name not in optimizers.REFRESHING_NAMES
    assert set(precisions) <= {(jax.lax.Precision.HIGHEST,) * 2}
