"""Fixtures that several rooms' tests share. A test process has one thread."""

import os
import signal

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Parity of two frameworks is tested in full single precision, on accelerators too.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")

import pytest  # noqa: E402

# A shell starts background jobs with Ctrl-C ignored, and children would inherit that: tests that
# interrupt them need it back, whoever runs the suite.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def x64():
    """JAX with 64-bit types for one test."""
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def quick_compilation():
    """JAX that compiles without optimisation, in half the time, for one test."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    import torch

    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
