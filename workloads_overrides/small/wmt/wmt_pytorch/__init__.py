"""`wmt_small` in PyTorch."""
