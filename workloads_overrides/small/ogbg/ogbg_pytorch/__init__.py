"""`ogbg_small` in PyTorch."""
