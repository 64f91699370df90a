"""optax transformations: `matprec.jax.asgo(learning_rate, ...)` and its like.

>>> import jax.numpy as jnp, optax, matprec.jax
>>> optimizer = matprec.jax.asgo(learning_rate=1e-2, weight_decay=0.1)
>>> params = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}
>>> state = optimizer.init(params)
>>> updates, state = optimizer.update(params, state, params)
>>> params = optax.apply_updates(params, updates)
"""

from matprec import algorithms
from matprec.jax.alias import make_alias
from matprec.jax.transform import PreconditionState, counters, precondition

adadiag = make_alias("adadiag", algorithms.AdaDiag)
adadiag_plus_plus = make_alias("adadiag_plus_plus", algorithms.AdaDiagPlusPlus)
adafacdiag = make_alias("adafacdiag", algorithms.AdafacDiag)
adafacdiag_plus_plus = make_alias("adafacdiag_plus_plus", algorithms.AdafacDiagPlusPlus)
adafactor = make_alias("adafactor", algorithms.Adafactor)
asgo = make_alias("asgo", algorithms.ASGO)
asgo_theory = make_alias("asgo_theory", algorithms.ASGOTheory)
caspr = make_alias("caspr", algorithms.CASPR)
caspr_adaptive = make_alias("caspr_adaptive", algorithms.CASPRAdaptive)
dasgo = make_alias("dasgo", algorithms.DASGO)
galore = make_alias("galore", algorithms.GaLore)
hfac = make_alias("hfac", algorithms.HFac)
hfacdiag = make_alias("hfacdiag", algorithms.HFacDiag)
kl_shampoo = make_alias("kl_shampoo", algorithms.KLShampoo)
muon = make_alias("muon", algorithms.Muon)
nadamw = make_alias("nadamw", algorithms.NAdamW)
shampoo = make_alias("shampoo", algorithms.Shampoo)
soap = make_alias("soap", algorithms.SOAP)

BY_ALGORITHM = {
    alias.algorithm_class: alias
    for alias in (
        adadiag,
        adadiag_plus_plus,
        adafacdiag,
        adafacdiag_plus_plus,
        adafactor,
        asgo,
        asgo_theory,
        caspr,
        caspr_adaptive,
        dasgo,
        galore,
        hfac,
        hfacdiag,
        kl_shampoo,
        muon,
        nadamw,
        shampoo,
        soap,
    )
}

__all__ = [
    "BY_ALGORITHM",
    "PreconditionState",
    "adadiag",
    "adadiag_plus_plus",
    "adafacdiag",
    "adafacdiag_plus_plus",
    "adafactor",
    "asgo",
    "asgo_theory",
    "caspr",
    "caspr_adaptive",
    "counters",
    "dasgo",
    "galore",
    "hfac",
    "hfacdiag",
    "kl_shampoo",
    "make_alias",
    "muon",
    "nadamw",
    "precondition",
    "shampoo",
    "soap",
]
