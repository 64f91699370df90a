"""A wheel for another Python: fetched only where its pin says that it is just read."""

import zipfile
from dataclasses import replace

import pytest

from workloads_overrides import DataError
from workloads_overrides.base.files import file_sha256
from workloads_overrides.small.wheel import Wheel, download_wheel


@pytest.fixture
def wheel(tmp_path, pip_sees):
    """One that asks for Python 2; pip finds no other."""
    path = tmp_path / "index" / "ancient-1.0-py3-none-any.whl"
    path.parent.mkdir()
    metadata = "Metadata-Version: 2.1\nName: ancient\nVersion: 1.0\nRequires-Python: <3\n"
    with zipfile.ZipFile(path, "w") as archive:
        info = "ancient-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", metadata + "Requires-Dist: not-to-be-had\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    pip_sees(path.parent)
    return Wheel("ancient==1.0", path.name, file_sha256(path))


def test_it_is_refused_as_a_rule(tmp_path, wheel):
    with pytest.raises(DataError, match=r"cannot download ancient==1\.0 with pip: .*Python"):
        download_wheel(wheel, tmp_path)


def test_it_is_fetched_where_any_python_will_do(tmp_path, wheel):
    path = download_wheel(replace(wheel, any_python=True), tmp_path)
    assert path == tmp_path / wheel.filename
    assert file_sha256(path) == wheel.sha256
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [wheel.filename]
