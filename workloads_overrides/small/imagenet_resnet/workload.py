"""`imagenet_resnet_small` without its framework: sizes and targets."""

from pathlib import Path

from ..images.workload import BaseImagesWorkload


class BaseImagenetResnetSmallWorkload(BaseImagesWorkload):
    """AlgoPerf's ImageNet ResNet-50 with two stages of two blocks and 16 filters at first."""

    targets_path = Path(__file__).parent / "targets.json"
    max_shift = 4
    stage_sizes: tuple[int, ...] = (2, 2)
    num_filters = 16
