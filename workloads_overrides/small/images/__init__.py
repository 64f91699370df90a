"""Handwritten digits for the small ImageNet workloads: preparation, splits, batches."""
