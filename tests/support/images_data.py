"""The real images, prepared once into <repository>/data."""

import workload_cases as cases

from workloads_overrides.small.images import dataset

NAMES = ("imagenet_resnet_small", "imagenet_vit_small")


def data_dir() -> str:
    return cases.data_dir(NAMES[0])


def images() -> dataset.Images:
    return dataset.load(data_dir())
