"""torch optimizers: `matprec.torch.ASGO(params, lr=..., ...)` and its like.

>>> import torch, matprec.torch
>>> model = torch.nn.Linear(3, 4)
>>> optimizer = matprec.torch.ASGO(model.parameters(), lr=1e-2, weight_decay=0.1)
>>> model(torch.ones(2, 3)).sum().backward()
>>> optimizer.step()
"""

from matprec import algorithms
from matprec.torch.optimizer import MatrixOptimizer


class ASGO(MatrixOptimizer):
    __doc__ = f"{algorithms.asgo.__doc__}\n{MatrixOptimizer.__doc__}"
    algorithm_class = algorithms.ASGO


class Shampoo(MatrixOptimizer):
    __doc__ = f"{algorithms.shampoo.__doc__}\n{MatrixOptimizer.__doc__}"
    algorithm_class = algorithms.Shampoo


class NAdamW(MatrixOptimizer):
    __doc__ = f"{algorithms.nadamw.__doc__}\n{MatrixOptimizer.__doc__}"
    algorithm_class = algorithms.NAdamW


BY_ALGORITHM = {cls.algorithm_class: cls for cls in (ASGO, NAdamW, Shampoo)}

__all__ = ["ASGO", "BY_ALGORITHM", "MatrixOptimizer", "NAdamW", "Shampoo"]
