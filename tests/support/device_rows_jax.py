"""`device_rows` in JAX."""

import jax.numpy as jnp
from device_rows import IMAGE, KERNEL, LAYERS, WIDTH, DeviceRows
from flax import linen as nn

from workloads_overrides.base.softmax_jax import JaxSoftmaxWorkload


class _Model(nn.Module):
    dtype: str

    @nn.compact
    def __call__(self, x, train, dropout_rate):
        del train, dropout_rate
        kinds = {"dtype": self.dtype, "param_dtype": self.dtype}
        dense = {
            name: nn.Dense(out, use_bias=name == "head", name=name, **kinds)
            for name, (out, _) in LAYERS.items()
        }
        x = nn.Conv(WIDTH, KERNEL, padding="VALID", use_bias=False, name="conv", **kinds)(x)
        x = jnp.tanh(x).mean((1, 2))
        for name in ("square_0", "square_1", "square_2"):
            x = x + jnp.tanh(dense[name](x))
        x = x + dense["wide"](jnp.tanh(dense["tall"](x)))
        return dense["head"](x)


class DeviceRowsJax(DeviceRows, JaxSoftmaxWorkload):
    def _make_model(self):
        return _Model(self.dtype.name)

    def _example_batch(self):
        return {"inputs": jnp.ones((1, *IMAGE), self.dtype)}
