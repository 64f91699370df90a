"""Structured-preconditioner optimizers, written once for JAX and PyTorch.

`matprec.jax` holds optax transformations, `matprec.torch` torch optimizers; `matprec.algorithms`
holds their mathematics over stacks of matrices, in the Python array API.
"""
