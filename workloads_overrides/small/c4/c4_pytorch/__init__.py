"""`c4_small` in PyTorch."""
