"""`imagenet_resnet_small` in PyTorch."""
