"""The C4 workloads in JAX."""
