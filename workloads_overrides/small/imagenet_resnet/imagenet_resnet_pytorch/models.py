"""AlgoPerf's ResNet (He et al., arXiv:1512.03385) in PyTorch: bottleneck blocks, strides on 3x3.

Written from the architecture; the same modules and names as `imagenet_resnet_jax.models`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ....base.pytorch_batch_norm import BatchNorm
from ....base.pytorch_init import lecun_normal_


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=(size - 1) // 2, bias=False)


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch norm, beside a shortcut.

    The last batch norm's scale starts at zero, so that the block starts as its shortcut
    (arXiv:1706.02677). The shortcut is a 1x1 convolution with batch norm where shapes differ.
    """

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * filters
        self.conv_1 = _conv(inputs, filters, 1)
        self.bn_1 = BatchNorm(filters)
        self.conv_2 = _conv(filters, filters, 3, stride)
        self.bn_2 = BatchNorm(filters)
        self.conv_3 = _conv(filters, outputs, 1)
        self.bn_3 = BatchNorm(outputs)
        nn.init.zeros_(self.bn_3.weight)
        self.has_projection = inputs != outputs or stride != 1
        if self.has_projection:
            self.conv_proj = _conv(inputs, outputs, 1, stride)
            self.bn_proj = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn_1(self.conv_1(x)))
        y = F.relu(self.bn_2(self.conv_2(y)))
        y = self.bn_3(self.conv_3(y))
        if self.has_projection:
            x = self.bn_proj(self.conv_proj(x))
        return F.relu(x + y)


class ResNet(nn.Module):
    """Stem of convolution, batch norm and max pooling, stages of blocks, mean, dense head.

    Args:
      channels: of the images.
      stage_sizes: blocks per stage. Later stages begin with a stride of 2 and double the filters.
      num_filters: of the stem and of the first stage's 3x3 convolutions.
    """

    def __init__(
        self, channels: int, num_classes: int, stage_sizes: tuple[int, ...], num_filters: int
    ) -> None:
        super().__init__()
        self.conv_init = _conv(channels, num_filters, 7, 2)
        self.bn_init = BatchNorm(num_filters)
        self._blocks: list[str] = []
        inputs = num_filters
        for i, size in enumerate(stage_sizes):
            filters = num_filters * 2**i
            for j in range(size):
                stride = 2 if i > 0 and j == 0 else 1
                self._blocks.append(f"block_{i}_{j}")
                self.add_module(self._blocks[-1], BottleneckBlock(inputs, filters, stride))
                inputs = 4 * filters
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                lecun_normal_(module)
        nn.init.normal_(self.head.weight, std=1e-2)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, dropout_rate: float = 0.0) -> Tensor:
        """Logits (B, num_classes) of images (B, h, w, c). There is no dropout, as in AlgoPerf."""
        del dropout_rate
        x = self.bn_init(self.conv_init(x.permute(0, 3, 1, 2)))
        x = F.max_pool2d(F.relu(x), 3, 2, padding=1)
        for name in self._blocks:
            x = self.get_submodule(name)(x)
        return self.head(x.mean((2, 3)))
