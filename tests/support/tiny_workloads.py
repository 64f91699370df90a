"""A two-layer classifier as a workload, in both frameworks, for tests of the training step."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from algoperf_api import jax_sharding_utils, param_utils, spec

INPUTS, HIDDEN, CLASSES = 6, 8, 4


def weights(dtype, seed=0):
    """{name: array} in torch's layout."""
    rng = np.random.default_rng(seed)
    return {
        "hidden.weight": rng.normal(size=(HIDDEN, INPUTS)).astype(dtype) / 2,
        "hidden.bias": np.zeros(HIDDEN, dtype),
        "decoder.weight": rng.normal(size=(CLASSES, HIDDEN)).astype(dtype) / 2,
        "decoder.bias": np.zeros(CLASSES, dtype),
    }


def batches(seed=0, size=16, dtype=np.float32):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(INPUTS, CLASSES))
    while True:
        inputs = rng.normal(size=(size, INPUTS)).astype(dtype)
        targets = np.eye(CLASSES, dtype=dtype)[np.argmax(inputs @ truth, axis=1)]
        yield {"inputs": inputs, "targets": targets, "weights": np.ones(size, dtype)}


class Logger:
    def __init__(self):
        self.rows = []

    def append_scalar_metrics(self, metrics, global_step):
        self.rows.append((global_step, metrics))


class _Tiny:
    """What the submissions read of a workload; not the whole of AlgoPerf's interface."""

    step_hint = 50
    max_allowed_runtime_sec = 100
    loss_type = spec.LossType.SOFTMAX_CROSS_ENTROPY

    def __init__(self, dtype=np.float32):
        self.metrics_logger = Logger()
        self.dtype = dtype


class TinyJax(_Tiny):
    def init_model_fn(self):
        w = weights(self.dtype)
        params = {
            "Dense_0": {"kernel": w["hidden.weight"].T, "bias": w["hidden.bias"]},
            "Decoder": {"kernel": w["decoder.weight"].T, "bias": w["decoder.bias"]},
        }
        self.model_params_types = param_utils.jax_param_types(param_utils.jax_param_shapes(params))
        return jax_sharding_utils.replicate(jax.tree.map(jnp.asarray, params))

    def is_output_params(self, key):
        return key == "Decoder"

    def model_fn(self, params, batch, model_state, mode, rng, update_batch_norm, dropout_rate=0.0):
        hidden = jnp.tanh(batch["inputs"] @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
        logits = hidden @ params["Decoder"]["kernel"] + params["Decoder"]["bias"]
        return logits, model_state

    def loss_fn(self, label_batch, logits_batch, mask_batch=None, label_smoothing=0.0):
        labels = (1 - label_smoothing) * label_batch + label_smoothing / CLASSES
        losses = -jnp.sum(labels * jax.nn.log_softmax(logits_batch), axis=1) * mask_batch
        return {"summed": losses.sum(), "n_valid_examples": mask_batch.sum()}

    def flat(self, params):
        return {
            "hidden.weight": np.asarray(params["Dense_0"]["kernel"]).T,
            "hidden.bias": np.asarray(params["Dense_0"]["bias"]),
            "decoder.weight": np.asarray(params["Decoder"]["kernel"]).T,
            "decoder.bias": np.asarray(params["Decoder"]["bias"]),
        }


class TinyTorch(_Tiny):
    def init_model_fn(self):
        dtype = {np.float32: torch.float32, np.float64: torch.float64}[self.dtype]
        model = torch.nn.Sequential()
        model.add_module("hidden", torch.nn.Linear(INPUTS, HIDDEN, dtype=dtype))
        model.add_module("tanh", torch.nn.Tanh())
        model.add_module("decoder", torch.nn.Linear(HIDDEN, CLASSES, dtype=dtype))
        model.load_state_dict(
            {name: torch.tensor(value) for name, value in weights(self.dtype).items()}
        )
        shapes = param_utils.pytorch_param_shapes(model)
        self.model_params_types = param_utils.pytorch_param_types(shapes)
        return model

    def is_output_params(self, key):
        return key.startswith("decoder.")

    def model_fn(self, params, batch, model_state, mode, rng, update_batch_norm, dropout_rate=0.0):
        return params(torch.as_tensor(batch["inputs"])), model_state

    def loss_fn(self, label_batch, logits_batch, mask_batch=None, label_smoothing=0.0):
        mask = torch.as_tensor(mask_batch)
        labels = (1 - label_smoothing) * torch.as_tensor(label_batch) + label_smoothing / CLASSES
        losses = -(labels * torch.log_softmax(logits_batch, dim=1)).sum(dim=1) * mask
        return {"summed": losses.sum(), "n_valid_examples": mask.sum()}

    def flat(self, params):
        return {name: p.detach().numpy() for name, p in params.named_parameters()}
