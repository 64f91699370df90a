"""`device_rows` in PyTorch."""

import torch
from device_rows import IMAGE, KERNEL, LAYERS, WIDTH, DeviceRows
from torch import nn

from workloads_overrides.base.softmax_pytorch import PytorchSoftmaxWorkload


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(IMAGE[-1], WIDTH, KERNEL, bias=False)
        for name, (out, into) in LAYERS.items():
            self.add_module(name, nn.Linear(into, out, bias=name == "head"))

    def forward(self, x: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        assert dropout_rate == 0.0
        x = torch.tanh(self.conv(x.movedim(-1, 1))).mean((2, 3))
        for name in ("square_0", "square_1", "square_2"):
            x = x + torch.tanh(self.get_submodule(name)(x))
        x = x + self.get_submodule("wide")(torch.tanh(self.get_submodule("tall")(x)))
        return self.get_submodule("head")(x)


class DeviceRowsTorch(DeviceRows, PytorchSoftmaxWorkload):
    def _make_model(self) -> nn.Module:
        return _Model().to(getattr(torch, self.dtype.name))
