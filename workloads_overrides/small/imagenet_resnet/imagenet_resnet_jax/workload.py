"""`imagenet_resnet_small` in JAX."""

import jax.numpy as jnp

from ....base.jax_workload import Batch
from ....base.softmax_jax import JaxSoftmaxWorkload
from ..workload import BaseImagenetResnetSmallWorkload
from .models import ResNet


class ImagenetResnetSmallWorkload(BaseImagenetResnetSmallWorkload, JaxSoftmaxWorkload):
    """The model state is `{"batch_stats": ...}`: running statistics of the batch norms."""

    def _make_model(self) -> ResNet:
        return ResNet(self.num_classes, self.stage_sizes, self.num_filters)

    def _example_batch(self) -> Batch:
        return {"inputs": jnp.ones((1, *self.image_shape))}
