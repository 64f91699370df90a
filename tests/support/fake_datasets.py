"""What `sources.hf` uses of the package `datasets`; a folder plays the Hub."""

import gzip
import json
import types
from pathlib import Path

COMMIT = "1588ec454efa1a09f29cd18ddd04fe05fc8653a2"


class FakeDatasets(types.ModuleType):
    """The module. `hub` has the folders of data sets by name; `failing` addresses cannot be read
    any further than two lines; `asked` has every address that was read."""

    def __init__(self, hub: dict[str, Path]) -> None:
        super().__init__("datasets")
        self.hub = hub
        self.failing: set[str] = set()
        self.asked: list[str] = []
        self.logging = types.SimpleNamespace(set_verbosity=lambda level: None, CRITICAL=50)

    def disable_progress_bars(self):
        pass

    def load_dataset_builder(self, dataset, config, revision=None):
        folder = self.hub.get(dataset, Path(dataset))
        if not (folder / config).is_dir():
            # As the package does: several lines, of which the cause says more.
            raise ValueError(f"BuilderConfig '{config}' not\nfound.") from OSError("no network")
        files = {}
        for split in ("train", "validation"):
            names = sorted(f"{config}/{p.name}" for p in folder.glob(f"{config}/c4-{split}.*"))
            if dataset in self.hub:
                start = f"hf://datasets/{dataset}@{revision or COMMIT}"
            else:
                start = dataset
            if names:
                files[split] = [f"{start}/{name}" for name in names]
        return types.SimpleNamespace(config=types.SimpleNamespace(data_files=files or None))

    def load_dataset(self, builder, data_files, split, streaming):
        assert (builder, split, streaming) == ("json", "train", True)
        (address,) = data_files
        self.asked.append(address)
        path = address
        for dataset, folder in self.hub.items():
            for commit in (COMMIT, "0ld"):
                path = path.replace(f"hf://datasets/{dataset}@{commit}", str(folder))
        return self._lines(address, Path(path))

    def _lines(self, address, path):
        for number, line in enumerate(gzip.decompress(path.read_bytes()).splitlines()):
            if address in self.failing and number == 2:
                raise ConnectionError("the Hub does not\nanswer")
            yield json.loads(line)
