"""`wmt_small` in PyTorch."""

from typing import Any, cast

import numpy as np
from torch import nn

from ....base.pytorch_workload import Batch, gather
from ....base.softmax_pytorch import PytorchSoftmaxWorkload
from ..workload import BaseWmtSmallWorkload
from .decode import translate
from .models import Transformer


class WmtSmallWorkload(BaseWmtSmallWorkload, PytorchSoftmaxWorkload):
    """Under DDP a rank has its own rows of a batch; otherwise one device has all of it."""

    def _make_model(self) -> Transformer:
        return Transformer(self.sizes)

    def _eval_arrays(
        self, params: nn.Module, batch: Batch, model_state: Any, rng: Any
    ) -> dict[str, np.ndarray]:
        arrays = super()._eval_arrays(params, batch, model_state, rng)
        # DDP hides the model's other methods.
        model = cast(Transformer, getattr(params, "module", params))
        translations = translate(model, batch["inputs"], self.sizes.max_length)
        arrays["translations"] = gather(translations).cpu().numpy()
        arrays["references"] = gather(batch["targets"]).cpu().numpy()
        return arrays
