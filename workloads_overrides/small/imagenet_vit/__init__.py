"""`imagenet_vit_small`: AlgoPerf's ImageNet ViT, scaled down, on digits."""
