"""What the data sheets say of the GPUs that predictions are made for."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One device.

    Attributes:
      product: its name, of which logs' `gpu_model_name` contains `short`.
      peak: dense FLOP/s of matrix products by precision of their inputs; all add in fp32.
      bandwidth: of its memory, bytes/s.
      link: NVLink, bytes/s in one direction, all links together.
      source: data sheet.
    """

    product: str
    short: str
    peak: Mapping[str, float]
    bandwidth: float
    link: float
    source: str

    @property
    def model_precision(self) -> str:
        """What frameworks take for a model's float32 products under AlgoPerf's settings."""
        return "tf32" if "tf32" in self.peak else "fp32"


GPUS: dict[str, Gpu] = {
    "v100": Gpu(
        product="V100-SXM2-16GB",
        short="V100",
        peak={"fp32": 15.7e12, "fp16": 125e12},
        bandwidth=900e9,
        link=150e9,
        source="NVIDIA V100 Tensor Core GPU data sheet, January 2020: V100 SXM2",
    ),
    "a100": Gpu(
        product="A100-SXM4-40GB",
        short="A100",
        peak={"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12, "fp16": 312e12},
        bandwidth=1555e9,
        link=300e9,
        source="NVIDIA A100 Tensor Core GPU data sheet: A100 40GB SXM",
    ),
    "h100": Gpu(
        product="H100-SXM5-80GB",
        short="H100",
        # The sheet gives tensor cores' figures with sparsity; half of that is dense.
        peak={"fp32": 67e12, "tf32": 494.7e12, "bf16": 989.4e12, "fp16": 989.4e12},
        bandwidth=3350e9,
        link=450e9,
        source="NVIDIA H100 Tensor Core GPU data sheet: H100 SXM",
    ),
}
