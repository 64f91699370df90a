"""The algorithms, one file each; see `base` for what an algorithm is."""

from matprec.algorithms import asgo, nadamw, shampoo
from matprec.algorithms.asgo import ASGO
from matprec.algorithms.base import Algorithm, MatrixAlgorithm
from matprec.algorithms.nadamw import NAdamW
from matprec.algorithms.shampoo import Shampoo

__all__ = ["ASGO", "Algorithm", "MatrixAlgorithm", "NAdamW", "Shampoo", "asgo", "nadamw", "shampoo"]
