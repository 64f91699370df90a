"""`imagenet_vit_small` without its framework: sizes and targets."""

from dataclasses import dataclass
from pathlib import Path

from ..images.workload import BaseImagesWorkload


@dataclass(frozen=True)
class VitSize:
    """Sizes of a vision transformer; the MLPs are four times as wide as the rest."""

    width: int
    depth: int
    num_heads: int
    patch_size: int

    @property
    def mlp_dim(self) -> int:
        return 4 * self.width


class BaseImagenetVitSmallWorkload(BaseImagesWorkload):
    """AlgoPerf's ImageNet ViT (its S/16) with 16 patches of 7x7 pixels, width 64 and depth 2."""

    targets_path = Path(__file__).parent / "targets.json"
    max_shift = 1
    size = VitSize(width=64, depth=2, num_heads=4, patch_size=7)
