"""Identities of KL-Shampoo alone; what it shares with CASPR is in `identities_caspr`.

Functions of a shape and of `run(algorithm, grads, decay=None)`, see `identities`.
"""

import numpy as np
from identities_caspr import make_caspr, make_kl
from stacks import close, norms, orthogonal, polar, power, stream, transposed

IDENTITIES = []


def identity(function):
    IDENTITIES.append(function)
    return function


@identity
def statistics_are_whitened_by_the_roots_before_the_step(shape, run):
    grads, (m, n), eps = stream(shape, steps=6), shape, 1e-3
    _, states = run(make_kl(beta2=0.9, eps=eps, refresh_every=2), grads)
    left, right = np.zeros((2, m, m)), np.zeros((2, n, n))
    roots = np.eye(m), np.eye(n)
    for t, (g, state) in enumerate(zip(grads, states, strict=True), 1):
        by_right, by_left = g @ roots[1], roots[0] @ g
        left = 0.9 * left + 0.1 * by_right @ transposed(by_right) / n
        right = 0.9 * right + 0.1 * transposed(by_left) @ by_left / m
        close(state["left"], left)
        close(state["right"], right)
        roots = state["left_root"], state["right_root"]
        if t % 2:
            for factor, root in zip((left, right), roots, strict=True):
                unbiased = factor / (1 - 0.9**t)
                ridge = eps * np.linalg.norm(unbiased, 2, axis=(-2, -1))[:, None, None]
                close(root, power(unbiased + ridge * np.eye(root.shape[-1]), -0.5))


@identity
def the_first_step_inverts_singular_values(shape, run):
    """Each of its roots whitens the gradient by itself: together they do so twice."""
    d = min(shape)
    g = stream((d, d), steps=1)[0]
    (u,), _ = run(make_kl(beta1=0, eps=1e-13), [g])
    close(u, d * transposed(np.linalg.inv(g)), 1e-6)


@identity
def constant_gradients_lead_to_the_polar_factor(shape, run):
    d = min(shape)
    g = stream((d, d), steps=1)[0]
    algorithm = make_kl(beta1=0, beta2=0.5, eps=1e-13, refresh_every=1)
    for g_scaled in (g, 10 * g):
        *_, u = run(algorithm, [g_scaled] * 60)[0]
        close(u, np.sqrt(d) * polar(g), 1e-4)


REPLICAS, STEPS = 60, 240


def covariance(n, seed):
    """A positive definite matrix of condition number 1e3 in general position."""
    basis = orthogonal(n, seed)
    return (basis * np.geomspace(1, 1e3, n)) @ basis.T


def of_unit_trace(x):
    return x / np.trace(x, axis1=-2, axis2=-1)[..., None, None]


@identity
def stationary_gradients_show_their_covariance(shape, run):
    """Where vec(G) has the covariance B kron A, S_R kron S_L tends to it, with its scale."""
    m, n = shape
    a, b = covariance(m, 1), covariance(n, 2)
    noise = np.random.default_rng([9, m, n]).normal(size=(STEPS, REPLICAS, m, n))
    grads = list(np.linalg.cholesky(a) @ noise @ np.linalg.cholesky(b).T)
    settings = {"beta1": 0, "beta2": 0.97, "refresh_every": 5}
    _, (*_, state) = run(make_kl(**settings), grads)
    _, (*_, sums) = run(make_caspr(**settings), grads)
    pairs = zip(state["left"], state["right"], strict=True)
    product = np.mean([np.kron(*pair) for pair in pairs], axis=0) / (1 - 0.97**STEPS) ** 2
    # Measured: 1e-2 to 6e-2, mostly noise of the largest eigenvalues.
    assert np.linalg.norm(product - np.kron(a, b)) < 0.1 * np.linalg.norm(np.kron(a, b))
    for side, truth in (("left", a), ("right", b)):
        truth = of_unit_trace(truth)
        error = np.mean(norms(of_unit_trace(state[side]) - truth))
        # Sums of G G^T show A too, but each with the weights of few of B's axes.
        assert error < 0.7 * np.mean(norms(of_unit_trace(sums[side]) - truth))
        assert error < 0.1 * np.linalg.norm(truth)
