"""`imagenet_vit_small` in JAX."""
