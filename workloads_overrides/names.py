"""Which workloads there are, and in which frameworks."""

FRAMEWORKS: tuple[str, ...] = ("jax", "pytorch")

# AlgoPerf's own format. A workload's folder also holds `prepare.py`, with
# `prepare(data_dir, progress)` for a small workload and `check(name, data_dir, progress, rows)` for
# one of full size. Of several names of one class the first counts: the others are
# aliases.
WORKLOADS: dict[str, dict] = {
    "ogbg_small": {
        "workload_path": "small/ogbg/ogbg",
        "workload_class_name": "OgbgSmallWorkload",
    },
    "wmt_small": {
        "workload_path": "small/wmt/wmt",
        "workload_class_name": "WmtSmallWorkload",
    },
    "c4_small": {
        "workload_path": "small/c4/c4",
        "workload_class_name": "C4SmallWorkload",
    },
    "imagenet_resnet_small": {
        "workload_path": "small/imagenet_resnet/imagenet_resnet",
        "workload_class_name": "ImagenetResnetSmallWorkload",
    },
    "imagenet_vit_small": {
        "workload_path": "small/imagenet_vit/imagenet_vit",
        "workload_class_name": "ImagenetVitSmallWorkload",
    },
    "c4_60m": {
        "workload_path": "c4/c4",
        "workload_class_name": "C4Llama60MWorkload",
    },
    "c4": {
        "workload_path": "c4/c4",
        "workload_class_name": "C4Workload",
    },
    "c4_130m": {
        "workload_path": "c4/c4",
        "workload_class_name": "C4Workload",
    },
    "c4_350m": {
        "workload_path": "c4/c4",
        "workload_class_name": "C4Llama350MWorkload",
    },
}

# For one CPU core, on data that is fetched when it is first needed.
SMALL_WORKLOADS: tuple[str, ...] = tuple(name for name in WORKLOADS if name.endswith("_small"))


def canonical(name: str) -> str:
    """The workload that `name` stands for: the first of its class, or any other name as it is."""
    entry = WORKLOADS.get(name)
    return next((known for known in WORKLOADS if WORKLOADS[known] == entry), name)
