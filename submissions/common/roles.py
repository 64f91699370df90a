"""From AlgoPerf's parameter types to the roles that decide how a tensor is laid out."""

from algoperf_api.spec import ParameterType

_ROLES: dict[str, str] = {
    "WEIGHT": "matrix",
    "CONV_WEIGHT": "conv",
    "EMBEDDING": "embedding",
    "ATTENTION_Q": "attention_in",
    "ATTENTION_K": "attention_in",
    "ATTENTION_V": "attention_in",
    "ATTENTION_OUT": "attention_out",
    "ATTENTION_QKV": "fused_qkv",
    "ATTENTION_KV": "fused_qkv",
}


def role_of(parameter_type: ParameterType, is_output: bool) -> str:
    """The role of a parameter; biases and norms are vectors, output weights are heads."""
    role = _ROLES.get(parameter_type.name, "vector")
    return "head" if is_output and role == "matrix" else role
