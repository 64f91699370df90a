"""torch optimizers: `matprec.torch.ASGO(params, lr=..., ...)` and its like.

>>> import torch, matprec.torch
>>> model = torch.nn.Linear(3, 4)
>>> optimizer = matprec.torch.ASGO(model.parameters(), lr=1e-2, weight_decay=0.1)
>>> model(torch.ones(2, 3)).sum().backward()
>>> optimizer.step()
"""

from matprec import algorithms
from matprec.torch.optimizer import MatrixOptimizer, make_class

ASGO = make_class(algorithms.ASGO)
ASGOTheory = make_class(algorithms.ASGOTheory)
AdaDiag = make_class(algorithms.AdaDiag)
AdaDiagPlusPlus = make_class(algorithms.AdaDiagPlusPlus)
AdafacDiag = make_class(algorithms.AdafacDiag)
AdafacDiagPlusPlus = make_class(algorithms.AdafacDiagPlusPlus)
Adafactor = make_class(algorithms.Adafactor)
CASPR = make_class(algorithms.CASPR)
CASPRAdaptive = make_class(algorithms.CASPRAdaptive)
DASGO = make_class(algorithms.DASGO)
GaLore = make_class(algorithms.GaLore)
HFac = make_class(algorithms.HFac)
HFacDiag = make_class(algorithms.HFacDiag)
KLShampoo = make_class(algorithms.KLShampoo)
Muon = make_class(algorithms.Muon)
NAdamW = make_class(algorithms.NAdamW)
SOAP = make_class(algorithms.SOAP)
Shampoo = make_class(algorithms.Shampoo)

BY_ALGORITHM = {
    cls.algorithm_class: cls
    for cls in (
        ASGO,
        ASGOTheory,
        AdaDiag,
        AdaDiagPlusPlus,
        AdafacDiag,
        AdafacDiagPlusPlus,
        Adafactor,
        CASPR,
        CASPRAdaptive,
        DASGO,
        GaLore,
        HFac,
        HFacDiag,
        KLShampoo,
        Muon,
        NAdamW,
        SOAP,
        Shampoo,
    )
}

__all__ = [
    "ASGO",
    "BY_ALGORITHM",
    "CASPR",
    "DASGO",
    "SOAP",
    "ASGOTheory",
    "AdaDiag",
    "AdaDiagPlusPlus",
    "AdafacDiag",
    "AdafacDiagPlusPlus",
    "Adafactor",
    "CASPRAdaptive",
    "GaLore",
    "HFac",
    "HFacDiag",
    "KLShampoo",
    "MatrixOptimizer",
    "Muon",
    "NAdamW",
    "Shampoo",
    "make_class",
]
