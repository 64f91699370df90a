"""AlgoPerf's ResNet (He et al., arXiv:1512.03385) in flax: bottleneck blocks, strides on 3x3.

Written from the architecture; the same modules and names as `imagenet_resnet_pytorch.models`.
"""

import functools

import jax
from flax import linen as nn

Conv = functools.partial(nn.Conv, use_bias=False)


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch norm, beside a shortcut.

    The last batch norm's scale starts at zero, so that the block starts as its shortcut
    (arXiv:1706.02677). The shortcut is a 1x1 convolution with batch norm where shapes differ.
    """

    filters: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(
            nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5
        )
        strides, same = (self.stride, self.stride), ((1, 1), (1, 1))
        y = Conv(self.filters, (1, 1), name="conv_1")(x)
        y = nn.relu(norm(name="bn_1")(y))
        y = Conv(self.filters, (3, 3), strides, padding=same, name="conv_2")(y)
        y = nn.relu(norm(name="bn_2")(y))
        y = Conv(4 * self.filters, (1, 1), name="conv_3")(y)
        y = norm(scale_init=nn.initializers.zeros, name="bn_3")(y)
        if x.shape != y.shape:
            x = Conv(4 * self.filters, (1, 1), strides, name="conv_proj")(x)
            x = norm(name="bn_proj")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Stem of convolution, batch norm and max pooling, stages of blocks, mean, dense head.

    Attributes:
      stage_sizes: blocks per stage. Later stages begin with a stride of 2 and double the filters.
      num_filters: of the stem and of the first stage's 3x3 convolutions.
    """

    num_classes: int
    stage_sizes: tuple[int, ...]
    num_filters: int

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, dropout_rate: float | jax.Array = 0.0
    ) -> jax.Array:
        """Logits (B, num_classes) of images (B, h, w, c). There is no dropout, as in AlgoPerf."""
        del dropout_rate
        wide, same = ((3, 3), (3, 3)), ((1, 1), (1, 1))
        x = Conv(self.num_filters, (7, 7), (2, 2), padding=wide, name="conv_init")(x)
        x = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, name="bn_init")(x)
        x = nn.max_pool(nn.relu(x), (3, 3), (2, 2), padding=same)  # type: ignore[arg-type]
        for i, size in enumerate(self.stage_sizes):
            for j in range(size):
                stride = 2 if i > 0 and j == 0 else 1
                block = BottleneckBlock(self.num_filters * 2**i, stride, name=f"block_{i}_{j}")
                x = block(x, train)
        x = x.mean((1, 2))
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(), name="head")(x)
