"""The algorithms, one file for each family; see `base` for what an algorithm is."""

from matprec.algorithms.adadiag import AdaDiag, AdaDiagPlusPlus
from matprec.algorithms.adafacdiag import AdafacDiag, AdafacDiagPlusPlus
from matprec.algorithms.adafactor import Adafactor
from matprec.algorithms.asgo import ASGO, DASGO, ASGOTheory
from matprec.algorithms.base import Algorithm, MatrixAlgorithm, RefreshingAlgorithm
from matprec.algorithms.caspr import CASPR
from matprec.algorithms.caspr_adaptive import CASPRAdaptive
from matprec.algorithms.galore import GaLore
from matprec.algorithms.hfac import HFac, HFacDiag
from matprec.algorithms.kl_shampoo import KLShampoo
from matprec.algorithms.muon import Muon
from matprec.algorithms.nadamw import NAdamW
from matprec.algorithms.shampoo import Shampoo
from matprec.algorithms.soap import SOAP

__all__ = [
    "ASGO",
    "CASPR",
    "DASGO",
    "SOAP",
    "ASGOTheory",
    "AdaDiag",
    "AdaDiagPlusPlus",
    "AdafacDiag",
    "AdafacDiagPlusPlus",
    "Adafactor",
    "Algorithm",
    "CASPRAdaptive",
    "GaLore",
    "HFac",
    "HFacDiag",
    "KLShampoo",
    "MatrixAlgorithm",
    "Muon",
    "NAdamW",
    "RefreshingAlgorithm",
    "Shampoo",
]
