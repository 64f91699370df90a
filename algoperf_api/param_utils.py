"""Parameter shapes and types by name: AlgoPerf's functions where installed, else ours.

Ours give the same types for the names that AlgoPerf's and this project's workloads use. The rules
look at lower-cased names in JAX; trees of types therefore have lower-cased keys.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from algoperf_api import HAS_ALGOPERF
from algoperf_api.spec import ParameterType, ShapeTuple

if HAS_ALGOPERF and not TYPE_CHECKING:
    from algoperf.param_utils import (
        jax_param_shapes,
        jax_param_types,
        pytorch_param_shapes,
        pytorch_param_types,
    )
else:
    T = ParameterType

    def _norm_type(name: str, kind: str) -> ParameterType:
        if "weight" in name or "scale" in name:
            return T[f"{kind}_NORM_SCALE"]
        if "bias" in name:
            return T[f"{kind}_NORM_BIAS"]
        raise ValueError(f"{name}: neither scale nor bias of a {kind.lower()} norm")

    def _attention_type(module: str, leaf: str) -> ParameterType:
        """`module` is searched for the projection, `leaf` for what the tensor is in it."""
        if "bias" in leaf:
            return T.ATTENTION_BIAS
        if "in_proj" in module:
            return T.ATTENTION_QKV
        for marks, kind in (
            (("kv_proj",), T.ATTENTION_KV),
            (("k_proj", "key"), T.ATTENTION_K),
            (("q_proj", "query"), T.ATTENTION_Q),
            (("v_proj", "value"), T.ATTENTION_V),
            (("out",), T.ATTENTION_OUT),
            (("scale",), T.WEIGHT),
        ):
            if any(mark in module for mark in marks):
                return kind
        raise ValueError(f"{module}: no known projection of an attention layer")

    def pytorch_param_shapes(model: Any) -> dict[str, ShapeTuple]:
        return {name: ShapeTuple(p.shape) for name, p in model.named_parameters()}

    def pytorch_param_types(param_shapes: Mapping[str, ShapeTuple]) -> dict[str, ParameterType]:
        return {name: _pytorch_type(name) for name in param_shapes}

    def _pytorch_type(name: str) -> ParameterType:
        if "bn" in name:
            return _norm_type(name, "BATCH")
        if "norm" in name or "ln" in name:
            return _norm_type(name, "LAYER")
        if "conv" in name:
            return T.BIAS if "bias" in name else T.CONV_WEIGHT
        if "embed" in name and "weight" in name:
            return T.EMBEDDING
        if "attn" in name or "attention" in name:
            return _attention_type(name, name)
        return T.BIAS if "bias" in name else T.WEIGHT

    def jax_param_shapes(params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: jax_param_shapes(leaf) if isinstance(leaf, Mapping) else ShapeTuple(leaf.shape)
            for name, leaf in params.items()
        }

    def jax_param_types(param_shapes: Mapping[str, Any], parent_name: str = "") -> dict[str, Any]:
        return {
            name.lower(): jax_param_types(leaf, f"{parent_name}/{name.lower()}")
            if isinstance(leaf, Mapping)
            else _jax_type(parent_name, name.lower())
            for name, leaf in param_shapes.items()
        }

    def _jax_type(parent: str, name: str) -> ParameterType:
        if "batchnorm" in parent or "bn" in parent:
            return _norm_type(name, "BATCH")
        if "layernorm" in parent or "ln" in parent:
            return _norm_type(name, "LAYER")
        if "conv" in parent:
            return T.BIAS if "bias" in name else T.CONV_WEIGHT
        if "embedding" in name or ("embedding" in parent and name == "kernel"):
            return T.EMBEDDING
        if "attention" in parent:
            return _attention_type(f"{parent}/{name}", name)
        return T.BIAS if "bias" in name else T.WEIGHT


__all__ = [
    "jax_param_shapes",
    "jax_param_types",
    "pytorch_param_shapes",
    "pytorch_param_types",
]
