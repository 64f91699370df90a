"""Both small ImageNet workloads have the same images."""

from ..images.prepare import prepare

__all__ = ["prepare"]
