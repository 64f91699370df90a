"""`imagenet_resnet_small` in JAX."""
