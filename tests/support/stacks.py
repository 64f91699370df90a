"""Running one algorithm on one stack without an adapter, and the matrix functions to judge it by.

Inputs and outputs are float64 NumPy arrays, whichever array namespace runs the steps.
"""

import numpy as np
import scipy.linalg

from matprec import step as stepping


def stream(shape, steps=5, seed=0):
    """Gradients of a stack of two matrices, (2, m, n) each, of changing scale."""
    rng = np.random.default_rng([seed, *shape])
    return [rng.normal(size=(2, *shape)) * 10 ** rng.uniform(-1, 1) for _ in range(steps)]


def run(xp, algorithm, grads, decay=None):
    """Updates and states after every step of one stack, as lists of NumPy arrays.

    `decay`, weight_decay * parameters (B, m, n), is for algorithms that add it themselves.
    """
    state = stepping.init(xp, algorithm, xp.asarray(grads[0]))
    everywhere = xp.asarray(np.ones(len(grads[0]), bool))
    updates, states = [], []
    for count, grad in enumerate(grads, 1):

        def cond(number, due, count=count):
            started = count >= due.algorithm.start_step
            chosen = due.choose(stepping.is_due(due.algorithm, count), started)
            return due.refresh(chosen, due.carry) if xp.any(chosen) else due.carry

        (update,), (state,) = stepping.step(
            xp,
            [algorithm],
            [state],
            [xp.asarray(grad)],
            owners=[range(len(grad))],
            live=[everywhere],
            finite=[everywhere],
            decays=[None if decay is None else xp.asarray(decay)],
            cond=cond,
        )
        updates.append(np.asarray(update))
        states.append({key: np.asarray(value) for key, value in state.items()})
    return updates, states


def close(actual, desired, tolerance=1e-8):
    """Entries agree up to `tolerance` times the largest one."""
    assert np.shape(actual) == np.shape(desired)
    error = np.max(np.abs(np.subtract(actual, desired)))
    assert error <= tolerance * np.max(np.abs(desired))


def polar(x):
    return np.stack([scipy.linalg.polar(matrix)[0] for matrix in x])


def power(a, exponent):
    """A^exponent for a stack of positive definite matrices, by Schur and Pade."""
    return np.stack([scipy.linalg.fractional_matrix_power(x, exponent) for x in a])


def norms(x):
    return np.linalg.norm(x, axis=(-2, -1))


def transposed(x):
    return np.swapaxes(x, -1, -2)


def orthogonal(n, seed):
    return np.linalg.qr(np.random.default_rng([seed, n]).normal(size=(n, n))).Q


def signed_permutation(n, seed):
    rng = np.random.default_rng([seed, n])
    return np.eye(n)[rng.permutation(n)] * rng.choice([-1.0, 1.0], n)
