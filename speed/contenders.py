"""What can be timed: this project's optimizers and the frameworks' own, by name."""

from submissions.registry import OPTIMIZERS

# Of every contender; parameters and gradients are normal with the deviation SCALE.
LEARNING_RATE, WEIGHT_DECAY, SCALE = 1e-4, 0.1, 0.02

# The one that times are divided by comes first.
REFERENCES: dict[str, tuple[str, ...]] = {
    "pytorch": ("torch_adamw_fused", "torch_adamw_foreach", "torch_muon"),
    "jax": ("optax_adamw",),
}


def contenders(framework: str) -> list[str]:
    """All names for `jax` or `pytorch`, the references first; of this project's those whose
    mathematics is its own."""
    own = [name for name, optimizer in OPTIMIZERS.items() if optimizer.algorithm is not None]
    return [*REFERENCES[framework], *own]


def refreshes(name: str) -> bool:
    """Whether an optimizer has steps of two kinds."""
    return name in OPTIMIZERS and "refresh_every" in OPTIMIZERS[name].hyperparameters
