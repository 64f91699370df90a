"""`imagenet_resnet_small`: AlgoPerf's ImageNet ResNet, scaled down, on digits."""
