"""One training run: AlgoPerf's loop, clock and evaluation rule.

As in AlgoPerf's harness, the clock runs during data selection, parameter updates (so also while
they compile) and `prepare_for_eval`, and stands still during evaluation and logging. The first
evaluation comes after step 1, the next ones `eval_period_time_sec` of wall time after the last one
ended; the budget is looked at only there. A run stops when the validation and the test target are
met, when its budget is spent, after `max_global_steps`, or when the submission raises
`TrainingCompleteError`.

This project's own choices:
* The clock is read only when the device has finished the arrays that the submission returned, so
  that no training work runs during the untimed evaluation. JAX works asynchronously on CPUs too.
* A RuntimeError in an evaluation ends the run; the harness logs it and trains on without a row.
* The clock is `time.time`, as in the harness: submissions find its values in `train_state`.
* Seconds of compilation are logged beside the clock, as `accumulated_compile_time`.

Of several ranks (`benchmark.ranks`) each runs a trial of its own, and all decide the same: the
clock and the rows of evaluations are common to them. One alone has a logger.
"""

import inspect
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from algoperf_api.spec import TrainingCompleteError, Workload
from benchmark.backend import Backend
from benchmark.log import MetricsLogger
from benchmark.submission import Submission

# AlgoPerf's longer budget where a submission tunes itself (rules since v0.6).
SELF_TUNING_FACTOR = 1.5
_REPORT_PERIOD_SEC = 0.5
# Metrics that a submission may log, and that a user must hear of when they are not zero.
_COUNTERS = ("skipped_updates", "failed_roots")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """When to evaluate and when to stop.

    `eval_every_steps` evaluates after step 1 and every so many steps instead of by the clock.
    `target_setting` never stops at a target or at the budget: it is for the runs that set them.
    """

    tuning_ruleset: str = "external"
    max_global_steps: int | None = None
    eval_every_steps: int | None = None
    target_setting: bool = False

    def budget(self, workload: Workload) -> float:
        """Seconds of submission time."""
        factor = 1.0 if self.tuning_ruleset == "external" else SELF_TUNING_FACTOR
        return factor * workload.max_allowed_runtime_sec


@dataclass(frozen=True)
class Progress:
    """What a running trial shows: train loss if the submission logged one, the last value of the
    validation metric and its target, how much of the run is done (0 to 1) and seconds of budget
    left. In 60 columns, so that a label and a bar fit beside it."""

    step: int
    loss: float | None
    metric: float | None
    target: float | None
    done: float
    seconds_left: float | None

    def __str__(self) -> str:
        parts = [f"step {self.step}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4f}")
        if self.metric is not None:
            target = "" if self.target is None else f" of {self.target:.4f}"
            parts.append(f"validation {self.metric:.4f}{target}")
        if self.seconds_left is not None:
            parts.append(f"{self.seconds_left:.0f} s left")
        return "  ".join(parts)


@dataclass(frozen=True)
class Result:
    """How a trial ended; `result.json`. Times in seconds of the submission's clock. The peak of
    memory is the process's, so that of earlier trials in it counts as well; None in old files."""

    status: str
    reason: str
    message: str
    global_step: int
    accumulated_submission_time: float
    compile_time: float
    peak_memory_bytes: int | None = None

    def __str__(self) -> str:
        if self.reason == "error":
            return f"error at step {self.global_step}: {self.message}"
        remarks = f"; {self.message}" if self.message else ""
        return (
            f"{self.reason} at step {self.global_step}, {self.accumulated_submission_time:.1f} s "
            f"(compiling {self.compile_time:.1f} s){remarks}"
        )


class _Stopwatch:
    """The submission's clock: seconds between `start` and `stop`, and those spent compiling."""

    def __init__(self, backend: Backend, now: Callable[[], float]) -> None:
        self._backend = backend
        self._now = now
        self.compile_seconds = 0.0

    def start(self, tree: Any) -> float:
        """Starts when `tree` is computed; returns the time."""
        self._backend.wait(tree)
        self._compiled = self._backend.compile_seconds()
        self._started = self._now()
        return self._started

    def stop(self, tree: Any) -> tuple[float, float]:
        """Stops when `tree` is computed; returns the time and the seconds since `start`."""
        self._backend.wait(tree)
        stopped = self._now()
        self.compile_seconds += self._backend.compile_seconds() - self._compiled
        return stopped, stopped - self._started


class Trial:
    """One run of a submission on a workload. `run` trains to the end and returns the result.

    `logger` is None on all ranks but one, as in AlgoPerf. `now` is the clock, `agree` gives all
    ranks one of their rows of an evaluation: ranks call both equally often, so that on every one
    there is a `report` or on none.
    """

    def __init__(
        self,
        workload: Workload,
        workload_name: str,
        submission: Submission,
        hyperparameters: Any,
        *,
        rules: Rules,
        backend: Backend,
        logger: MetricsLogger | None,
        data_dir: str,
        report: Callable[[Progress], None] | None = None,
        now: Callable[[], float] = time.time,
        agree: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: row,
    ) -> None:
        self.workload: Any = workload  # one of this project's, which have more than AlgoPerf asks
        self.submission = submission
        self.hyperparameters = hyperparameters
        self.rules = rules
        self.random = backend.random
        self.logger = logger
        self.data_dir = data_dir
        self.global_batch_size = submission.global_batch_size(workload_name)
        self.global_step = 0
        self.eval_results: list[tuple[int, dict[str, Any]]] = []
        # AlgoPerf's keys; submissions whose update_params names `train_state` read them.
        self.train_state: dict[str, Any] = {
            "validation_goal_reached": False,
            "test_goal_reached": False,
            "is_time_remaining": True,
            "last_eval_time": 0,
            "training_complete": False,
            "accumulated_submission_time": 0,
            "accumulated_eval_time": 0,
            "accumulated_logging_time": 0,
            "last_step_end_time": None,
        }
        wants_state = "train_state" in inspect.signature(submission.update_params).parameters
        self._state_argument = (
            {"train_state": MappingProxyType(self.train_state)} if wants_state else {}
        )
        self._backend = backend
        self._watch = _Stopwatch(backend, now)
        self._now = now
        self._agree = agree
        self._budget = rules.budget(workload)
        self._report = report
        self._last_report = 0.0
        self._ended_by_submission = False

    @property
    def _has_target(self) -> bool:
        """Whether the run may end at a target: not at a placeholder."""
        return self.workload.has_measured_targets and not self.rules.target_setting

    def run(self, rng: Any) -> Result:
        """Trains from the random state `rng`. Whatever the submission raises comes through."""
        self._set_up(rng)
        state = self.train_state
        self._started = state["last_step_end_time"] = self._watch.start(self._state)
        while self._goes_on():
            data_rng, update_rng, prepare_rng, eval_rng = self.random.split(
                self.random.fold_in(self._rng, self.global_step), 4
            )
            step_end = self._step(data_rng, update_rng)
            if self._evaluation_is_due(step_end):
                self._prepare_for_eval(prepare_rng)
                state["is_time_remaining"] = (
                    self.rules.target_setting or state["accumulated_submission_time"] < self._budget
                )
                if state["is_time_remaining"]:
                    self._evaluate(eval_rng)
            self._tell(step_end)
            state["last_step_end_time"] = self._watch.start(self._state)
        self._log({"score": state["accumulated_submission_time"]})
        return self.result("finished", self._reason(), self._remarks())

    def result(self, status: str, reason: str, message: str = "") -> Result:
        return Result(
            status=status,
            reason=reason,
            message=message,
            global_step=self.global_step,
            accumulated_submission_time=self.train_state["accumulated_submission_time"],
            compile_time=self._watch.compile_seconds,
            peak_memory_bytes=self._backend.peak_memory_bytes(),
        )

    def _set_up(self, rng: Any) -> None:
        """Data, model and optimizer; off the clock, as in the harness."""
        data_rng, optimizer_rng, model_rng, self._rng = self.random.split(rng, 4)
        self._input_queue = self.workload._build_input_queue(
            data_rng, "train", data_dir=self.data_dir, global_batch_size=self.global_batch_size
        )
        params, model_state = self.workload.init_model_fn(model_rng)
        optimizer_state = self.submission.init_optimizer_state(
            self.workload, params, model_state, self.hyperparameters, optimizer_rng
        )
        self._state = (optimizer_state, params, model_state)
        if self.logger is not None:
            self.workload.attach_metrics_logger(self.logger)

    def _goes_on(self) -> bool:
        state = self.train_state
        return (
            state["is_time_remaining"]
            and not self._targets_are_met()
            and not state["training_complete"]
        )

    def _targets_are_met(self) -> bool:
        return self.train_state["validation_goal_reached"] and self.train_state["test_goal_reached"]

    def _reason(self) -> str:
        if self._targets_are_met():
            return "targets_reached"
        if not self.train_state["is_time_remaining"]:
            return "budget"
        return "submission_ended" if self._ended_by_submission else "max_global_steps"

    def _remarks(self) -> str:
        """What the submission has logged of updates that it skipped, if any."""
        counts = {name: self._latest(name) for name in _COUNTERS}
        return ", ".join(f"{name} {count:g}" for name, count in counts.items() if count)

    def _log(self, row: dict[str, Any], is_eval: bool = False) -> None:
        if self.logger is not None:
            self.logger.append_scalar_metrics(
                row, self.global_step, preemption_count=0, is_eval=is_eval
            )

    def _latest(self, name: str) -> Any:
        """The last value logged under `name`, or None."""
        return None if self.logger is None else self.logger.latest(name)

    def _step(self, data_rng: Any, update_rng: Any) -> float:
        """One step; the clock has been running since `last_step_end_time`. Returns its end."""
        optimizer_state, params, model_state = self._state
        batch = self.submission.data_selection(
            self.workload,
            self._input_queue,
            optimizer_state,
            params,
            model_state,
            self.hyperparameters,
            self.global_step,
            data_rng,
        )
        try:
            self._state = self.submission.update_params(
                batch=batch, rng=update_rng, **self._state_argument, **self._common_arguments()
            )
        except TrainingCompleteError:
            self._ended_by_submission = True
        self.global_step += 1
        self.train_state["training_complete"] = (
            self._ended_by_submission or self.global_step == self.rules.max_global_steps
        )
        step_end, seconds = self._watch.stop(self._state)
        self.train_state["accumulated_submission_time"] += seconds
        return step_end

    def _common_arguments(self) -> dict[str, Any]:
        """The keyword arguments that update_params and prepare_for_eval share."""
        optimizer_state, params, model_state = self._state
        return {
            "workload": self.workload,
            "current_param_container": params,
            "current_params_types": self.workload.model_params_types,
            "model_state": model_state,
            "hyperparameters": self.hyperparameters,
            "loss_type": self.workload.loss_type,
            "optimizer_state": optimizer_state,
            "eval_results": self.eval_results,
            "global_step": self.global_step,
        }

    def _evaluation_is_due(self, step_end: float) -> bool:
        if self.train_state["training_complete"]:
            return True
        if self.rules.eval_every_steps is not None:
            return self.global_step == 1 or self.global_step % self.rules.eval_every_steps == 0
        since_last = step_end - self.train_state["last_eval_time"]
        return since_last >= self.workload.eval_period_time_sec

    def _prepare_for_eval(self, rng: Any) -> None:
        if self.submission.prepare_for_eval is None:
            return
        self._watch.start(self._state)
        self._state = self.submission.prepare_for_eval(rng=rng, **self._common_arguments())
        _, seconds = self._watch.stop(self._state)
        self.train_state["accumulated_submission_time"] += seconds

    def _evaluate(self, rng: Any) -> None:
        """Evaluates all splits, off the clock, and logs the row."""
        _, params, model_state = self._state
        state = self.train_state
        start = self._now()
        row = self.workload.eval_model(
            self.workload.eval_batch_size,
            params,
            model_state,
            rng,
            self.data_dir,
            None,
            self.global_step,
        )
        row = self._agree(row)
        if not self.rules.target_setting:
            for split in ("validation", "test"):
                reached = getattr(self.workload, f"has_reached_{split}_target")(row)
                state[f"{split}_goal_reached"] = state[f"{split}_goal_reached"] or bool(reached)
        end = state["last_eval_time"] = self._now()
        state["accumulated_eval_time"] += end - start
        row |= {
            "score": state["accumulated_submission_time"],
            "total_duration": end - self._started,
            "accumulated_submission_time": state["accumulated_submission_time"],
            "accumulated_eval_time": state["accumulated_eval_time"],
            "accumulated_logging_time": state["accumulated_logging_time"],
            "accumulated_compile_time": self._watch.compile_seconds,
            "global_step": self.global_step,
            "preemption_count": 0,
        }
        self.eval_results.append((self.global_step, row))
        log.info("step %d, %.2f s: %s", self.global_step, row["score"], row)
        self._log(row, is_eval=True)
        state["accumulated_logging_time"] += self._now() - end
        self._last_report = 0.0  # an evaluation is news

    def _tell(self, now: float) -> None:
        """Reports progress, off the clock and at most twice a second."""
        if self._report is None or now - self._last_report < _REPORT_PERIOD_SEC:
            return
        self._last_report = self._now()
        used = self.train_state["accumulated_submission_time"]
        done = 0.0 if self.rules.target_setting else used / self._budget
        if self.rules.max_global_steps is not None:
            done = max(done, self.global_step / self.rules.max_global_steps)
        last = self.eval_results[-1][1] if self.eval_results else {}
        loss = self._latest("loss")
        self._report(
            Progress(
                step=self.global_step,
                loss=None if loss is None else float(loss),
                metric=last.get(f"validation/{self.workload.target_metric_name}"),
                target=self.workload.validation_target_value if self._has_target else None,
                done=min(done, 1.0),
                seconds_left=None if self.rules.target_setting else max(0.0, self._budget - used),
            )
        )
