"""`imagenet_vit_small` in PyTorch."""

from ....base.softmax_pytorch import PytorchSoftmaxWorkload
from ..workload import BaseImagenetVitSmallWorkload
from .models import ViT


class ImagenetVitSmallWorkload(BaseImagenetVitSmallWorkload, PytorchSoftmaxWorkload):
    """Every parameter and the fixed positions live in the module."""

    def _make_model(self) -> ViT:
        return ViT(self.image_shape, self.num_classes, self.size)
