"""`wmt_small` in JAX."""
