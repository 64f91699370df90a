"""A workload in JAX: a flax module over batches that are sharded over all devices."""

import abc
import functools
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from algoperf_api import jax_sharding_utils, param_utils, spec

from .measured import Batch, MeasuredWorkload


class JaxWorkload(MeasuredWorkload):
    """Arrays of a batch are global and sharded over all devices by their leading axis.

    The module is called as `module(*inputs, train=..., dropout_rate=...)` and returns logits. In
    training it may draw from the stream "dropout" and change the collection "batch_stats", which
    is the model state (None for a module without one).
    """

    @property
    def _num_shards(self) -> int:
        return jax.device_count()

    def _place(self, batch: Batch) -> Batch:
        return jax_sharding_utils.shard_along_batch_dim(batch)

    @abc.abstractmethod
    def _make_model(self) -> nn.Module:
        """The module; it is made once."""

    @abc.abstractmethod
    def _example_batch(self) -> Batch:
        """A smallest batch, to initialise the module with."""

    def _model_inputs(self, batch: Batch) -> tuple[Any, ...]:
        """What of a batch the module takes."""
        return (batch["inputs"],)

    @abc.abstractmethod
    def _eval_rows(self, logits: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """What an evaluation needs of a batch, per row; compiled."""

    @functools.cached_property
    def _model(self) -> nn.Module:
        return self._make_model()

    @functools.cached_property
    def _init(self) -> Any:
        """The module's `init`, compiled without optimisation, which is quicker: it runs once, on
        the example."""
        return jax.jit(
            functools.partial(self._model.init, train=False, dropout_rate=0.0),
            compiler_options={"xla_backend_optimization_level": 0},
        )

    def init_model_fn(self, rng: jax.Array) -> tuple[Any, Any]:
        """(parameters, model state or None) on every device; sets shapes and types."""
        inputs = self._model_inputs(self._example_batch())
        state = dict(self._init({"params": rng}, *inputs))
        params = state.pop("params")
        self._param_shapes = param_utils.jax_param_shapes(params)
        self._param_types = param_utils.jax_param_types(self._param_shapes)
        return jax_sharding_utils.replicate(params), jax_sharding_utils.replicate(state) or None

    def model_fn(
        self,
        params: Any,
        augmented_and_preprocessed_input_batch: Batch,
        model_state: Any,
        mode: spec.ForwardPassMode,
        rng: Any,
        update_batch_norm: bool,
        dropout_rate: float | jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """(logits, model state). `rng` and the rate (None: the default one) count in TRAIN only.

        In TRAIN the statistics of this batch normalise it, whether or not `update_batch_norm`
        lets them into the model state; in EVAL the model state's do, and it stays as it is.
        """
        train = mode == spec.ForwardPassMode.TRAIN
        logits, changed = self._model.apply(
            {"params": params, **(model_state or {})},
            *self._model_inputs(augmented_and_preprocessed_input_batch),
            train=train,
            dropout_rate=self.default_dropout_rate if dropout_rate is None else dropout_rate,
            rngs={"dropout": rng} if train else None,
            mutable=["batch_stats"] if train else [],
        )
        keep = model_state is None or not train or not update_batch_norm
        return logits, model_state if keep else dict(changed)

    @functools.partial(
        jax.jit,
        static_argnums=(0,),
        in_shardings=(
            jax_sharding_utils.get_replicate_sharding(),
            jax_sharding_utils.get_batch_dim_sharding(),
            jax_sharding_utils.get_replicate_sharding(),
            jax_sharding_utils.get_replicate_sharding(),
        ),
        out_shardings=jax_sharding_utils.get_replicate_sharding(),
    )
    def _eval_batch(
        self, params: Any, batch: Batch, model_state: Any, rng: Any
    ) -> dict[str, jax.Array]:
        mode = spec.ForwardPassMode.EVAL
        logits, _ = self.model_fn(params, batch, model_state, mode, rng, update_batch_norm=False)
        return self._eval_rows(logits, batch)

    def _eval_arrays(
        self, params: Any, batch: Batch, model_state: Any, rng: Any
    ) -> dict[str, np.ndarray]:
        """`_eval_rows` of the global batch, on the host."""
        rows = self._eval_batch(params, batch, model_state, rng)
        return {name: np.asarray(array) for name, array in rows.items()}
