"""`imagenet_vit_small` in PyTorch."""
