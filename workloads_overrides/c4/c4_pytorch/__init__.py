"""The C4 workloads in PyTorch."""
