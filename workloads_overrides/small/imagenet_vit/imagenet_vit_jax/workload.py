"""`imagenet_vit_small` in JAX."""

import jax.numpy as jnp

from ....base.jax_workload import Batch
from ....base.softmax_jax import JaxSoftmaxWorkload
from ..workload import BaseImagenetVitSmallWorkload
from .models import ViT


class ImagenetVitSmallWorkload(BaseImagenetVitSmallWorkload, JaxSoftmaxWorkload):
    """There is no model state."""

    def _make_model(self) -> ViT:
        return ViT(self.num_classes, self.size)

    def _example_batch(self) -> Batch:
        return {"inputs": jnp.ones((1, *self.image_shape))}
