"""`ogbg_small` in JAX."""
