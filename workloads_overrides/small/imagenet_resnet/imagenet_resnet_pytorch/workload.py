"""`imagenet_resnet_small` in PyTorch."""

from ....base.softmax_pytorch import PytorchSoftmaxWorkload
from ..workload import BaseImagenetResnetSmallWorkload
from .models import ResNet


class ImagenetResnetSmallWorkload(BaseImagenetResnetSmallWorkload, PytorchSoftmaxWorkload):
    """The running statistics are buffers of the module."""

    def _make_model(self) -> ResNet:
        channels = self.image_shape[-1]
        return ResNet(channels, self.num_classes, self.stage_sizes, self.num_filters)
