"""What happens before an evaluation, on the clock."""

from collections.abc import Callable
from typing import Any

from absl import logging

from algoperf_api import spec


def make_prepare_for_eval(
    counters: Callable[[Any], dict[str, Any]], show_average: Callable[[Any, Any, Any], Any]
) -> Callable[..., Any]:
    """AlgoPerf's function.

    Args:
      counters: reads the optimizer's counters out of its state.
      show_average: (optimizer_state, params, model_state) -> the same, with averaged weights
        where the run has them.
    """

    def prepare_for_eval(
        workload: spec.Workload,
        current_param_container: Any,
        current_params_types: Any,
        model_state: Any,
        hyperparameters: Any,
        loss_type: spec.LossType,
        optimizer_state: Any,
        eval_results: list[tuple[int, Any]],
        global_step: int,
        rng: Any,
    ) -> tuple[Any, Any, Any]:
        """Shows averaged weights, if there are; logs gradients not finite and failed roots."""
        del current_params_types, hyperparameters, loss_type, eval_results, rng
        counted = {name: float(value) for name, value in counters(optimizer_state).items()}
        if any(counted.values()):
            logging.warning("step %d: %s", global_step, counted)
            if workload.metrics_logger is not None:
                workload.metrics_logger.append_scalar_metrics(counted, global_step)
        return show_average(optimizer_state, current_param_container, model_state)

    return prepare_for_eval
