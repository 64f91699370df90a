"""Adam's pieces against the formulas written out, and against torch's AdamW."""

import array_api_compat.torch as xp
import numpy as np
import pytest
import torch

from matprec import moments

RNG = np.random.default_rng(0)
MEAN, GRADS = (torch.tensor(RNG.normal(size=(3, 2, 5))) for _ in range(2))
SECOND = torch.tensor(RNG.uniform(0.5, 2.0, size=(3, 2, 5)))
T = torch.tensor([1.0, 2.0, 50.0], dtype=torch.float64)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9, 0.999])
def test_corrected_mean(beta1, nesterov):
    found = moments.corrected_mean(xp, MEAN, GRADS, beta1, T, nesterov=nesterov)
    for row, t in enumerate(T.tolist()):
        mixed = beta1 * MEAN[row] + (1 - beta1) * GRADS[row] if nesterov else MEAN[row]
        expected = mixed / (1 - beta1**t)
        np.testing.assert_allclose(found[row].numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("beta2", [0.5, 0.999, 1.0])
@pytest.mark.parametrize("eps", [0.0, 1e-8, 0.1])
def test_adam(beta2, eps):
    found = moments.adam(xp, MEAN, SECOND, beta2, eps, T)
    for row, t in enumerate(T.tolist()):
        corrected = SECOND[row] if beta2 == 1 else SECOND[row] / (1 - beta2**t)
        expected = MEAN[row] / (corrected.sqrt() + eps)
        np.testing.assert_allclose(found[row].numpy(), expected.numpy(), rtol=1e-12)


def test_ten_steps_of_adam_are_torchs():
    beta1, beta2, eps = 0.9, 0.99, 1e-8
    param = torch.nn.Parameter(torch.zeros(2, 5, dtype=torch.float64))
    oracle = torch.optim.Adam([param], lr=1.0, betas=(beta1, beta2), eps=eps)
    mean = second = total = torch.zeros(1, 2, 5, dtype=torch.float64)
    for step in range(1, 11):
        grads = torch.tensor(RNG.normal(size=(1, 2, 5)))
        mean = beta1 * mean + (1 - beta1) * grads
        second = beta2 * second + (1 - beta2) * grads**2
        t = torch.tensor([float(step)], dtype=torch.float64)
        hat = moments.corrected_mean(xp, mean, grads, beta1, t, nesterov=False)
        total = total - moments.adam(xp, hat, second, beta2, eps, t)
        param.grad = grads[0]
        oracle.step()
    np.testing.assert_allclose(total[0].numpy(), param.detach().numpy(), rtol=1e-12)
