"""`c4_small` in JAX."""
