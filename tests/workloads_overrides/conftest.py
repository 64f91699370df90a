"""The real data, prepared once into <repository>/data, and wheels made up for the failure cases."""

import gzip
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from algoperf_api import spec
from workloads_overrides import DataError, import_workload, prepare_data
from workloads_overrides.base.files import file_sha256
from workloads_overrides.small.ogbg import dataset
from workloads_overrides.small.ogbg.source import Source
from workloads_overrides.small.wheel import Wheel

REPOSITORY = Path(__file__).resolve().parents[2]

SMILES = {
    "1-00-0": "OCC",
    "2-00-0": "CCO",  # the same molecule under another number
    "3-00-0": "C[C@H](O)CC",
    "4-00-0": "C[C@@H](O)CC",
    "5-00-0": "c1ccccc1",
    "6-00-0": "CC(=O)O",
    "7-00-0": "CC(=O)[O-].[Na+]",
    "8-00-0": "O",
    "9-00-0": "no structure",
    "10-00-0": "CCCC",
    "11-00-0": "CC#N",
    "12-00-0": "C" * 33,
}
CRC = "CAS\tName\tTm\tTb\trho\tRI\n"
CRC += "".join(
    f"{cas}\tx\t{100 + i}\t{200 + i if i % 2 else ''}\t{800 + i}\t1.{i:02d}\n"
    for i, cas in enumerate(SMILES)
)
TABLES = {
    "Misc/Physical Constants of Organic Compounds.csv": CRC,
    "Phase Change/OpenNotebook Melting Points.tsv": "CAS\tTm\n1-00-0\t999\n99-00-0\t5\n",
    "Phase Change/Yaws Boiling Points.tsv": "CAS\tTb\n1-00-0\t351.4\n2-00-0\t999\n",
    "Environment/Syrres logP data.csv.gz": "CAS\tChemical\tlogP\n5-00-0\tbenzene\t2.13\n",
    "Environment/CRC logP table.tsv": "CAS\tName \tlogP\n5-00-0\tx\t9\n1-00-0\tx\t-0.3\n",
    "Misc/CRC Handbook Organic RI.csv": "CAS\tRI\tRIT\n5-00-0\t1.5011\t293.15\n",
}
IDENTIFIERS = ("pubchem large", "pubchem small", "example user db")


def write_wheel(path: Path) -> Path:
    """A wheel that pip accepts, with the tables above."""
    lines = [f"1\t{cas}\tformula\t1.0\t{smiles}\tinchi\tname" for cas, smiles in SMILES.items()]
    files = {f"chemicals/{name}": text.encode() for name, text in TABLES.items()}
    for name, text in zip(IDENTIFIERS, ("\n".join(lines) + "\n", "", ""), strict=True):
        files[f"chemicals/Identifiers/chemical identifiers {name}.tsv"] = text.encode()
    logp = "chemicals/Environment/Syrres logP data.csv.gz"
    files[logp] = gzip.compress(files[logp])
    info = "chemicals-1.5.2.dist-info/"
    files[info + "METADATA"] = b"Metadata-Version: 2.1\nName: chemicals\nVersion: 1.5.2\n"
    files[info + "WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[info + "RECORD"] = b""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    path.write_bytes(content.getvalue())
    return path


@pytest.fixture(scope="session")
def wheel_file(tmp_path_factory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("index") / "chemicals-1.5.2-py3-none-any.whl")


@pytest.fixture
def source(wheel_file) -> Source:
    """The made-up wheel, pinned, with the molecules that the splitting hash gives each side."""
    wheel = Wheel("chemicals==1.5.2", wheel_file.name, file_sha256(wheel_file))
    return Source(wheel=wheel, num_train=5, num_validation=2, num_test=0)


@pytest.fixture
def pip_sees(monkeypatch):
    """Lets pip see one folder, or nothing, and none of the machine's own settings."""

    def only(folder: Path | None) -> None:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder or ""))

    return only


@pytest.fixture
def pip_index(wheel_file, pip_sees) -> None:
    pip_sees(wheel_file.parent)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    folder = REPOSITORY / "data"
    try:
        prepare_data("ogbg_small", folder)
    except DataError as error:
        pytest.fail(f"the data of ogbg_small cannot be prepared: {error}", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def molecules(data_dir) -> dataset.Molecules:
    return dataset.load(data_dir)


@pytest.fixture(scope="session")
def jax_workload():
    return import_workload("ogbg_small", "jax")


@pytest.fixture(scope="session")
def torch_workload():
    return import_workload("ogbg_small", "pytorch")


@pytest.fixture(params=["jax", "torch"])
def any_workload(request) -> spec.Workload:
    return request.getfixturevalue(f"{request.param}_workload")


@pytest.fixture(scope="session")
def data_rng() -> np.ndarray:
    """Random state that both frameworks take."""
    return np.array([3, 14], np.uint32)
