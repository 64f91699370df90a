"""Tiny data sets as tensorflow-datasets prepares them, written by the package itself."""

from pathlib import Path


def write_c4(folder: Path, splits: dict[str, list], shards: int, feature: str = "text") -> Path:
    """`folder/c4/en/3.1.0` with documents of str or bytes; returns that folder."""
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {feature: tfds.features.Text(), "url": tfds.features.Text()}
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        "c4",
        version="3.1.0",
        config="en",
        features=features,
        split_datasets={
            split: [(i, {feature: text, "url": "u"}) for i, text in enumerate(texts)]
            for split, texts in splits.items()
        },
        data_dir=str(folder),
        download_config=tfds.download.DownloadConfig(num_shards=shards),
        disable_shuffling=True,
    )
    return folder / "c4" / "en" / "3.1.0"
