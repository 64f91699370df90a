"""The frameworks' own Adafactor for AlgoPerf, in JAX."""

from submissions.common.jax import (  # noqa: F401
    data_selection,
    get_batch_size,
    initializer,
    prepare_for_eval,
    update_params,
)

init_optimizer_state, check_hyperparameters = initializer("adafactor_original")
