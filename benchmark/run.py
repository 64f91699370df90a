"""One submission on one workload: data, folders, log files, and one trial after another.

Under torchrun all ranks run this together (`benchmark.ranks`), and rank 0 alone touches folders.
"""

import contextlib
import dataclasses
import logging
import secrets
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import workloads_overrides
from benchmark import backend, metadata, search_space, submission, trial_folder
from benchmark.errors import UserError, one_line, summary
from benchmark.log import MetricsLogger, write_json
from benchmark.plan import Options, Plan, PlannedTrial, plan
from benchmark.progress import Reporter
from benchmark.ranks import Ranks, join
from benchmark.trial import Result, Trial

log = logging.getLogger(__name__)


def run(options: Options, reporter: Reporter, root: Path = submission.REPOSITORY) -> list[Result]:
    """Runs the trials that are not finished yet; returns the results of all, in order. Under
    torchrun an error ends the last of them.

    Raises:
        UserError: before any training. What a submission raises later ends in its trial's result.
    """
    with join(options.framework) as ranks:
        planned = ranks.together(lambda: plan(options, root))
        finished = ranks.from_first(lambda: _finished(options, planned))
        ranks.from_first(
            lambda: prepare_data(options.workload, options.data_dir, reporter, options.data_rows)
        )
        if options.cpu_core is not None:
            backend.use_one_thread(options.framework)
        drawn = ranks.from_first(lambda: secrets.randbits(32))
        seed = drawn if options.rng_seed is None else options.rng_seed
        if ranks.first and not planned.workload.has_measured_targets and not options.target_setting:
            reporter.note(f"{options.workload}: its targets were not measured: no run ends at them")
        results = []
        for trial in planned.trials:
            result = finished.get(trial.folder)
            if result is None:
                result = _run_trial(options, planned, trial, seed, reporter, ranks)
                reporter.end(trial.folder.name, str(result))
            else:
                reporter.note(f"{trial.folder} is finished and kept: {result}")
            results.append(result)
            if ranks.parted:
                break
        return results


def _finished(options: Options, planned: Plan) -> dict[Path, Result | None]:
    """The results of the trials that are finished and kept."""
    return {
        trial.folder: trial_folder.read_result(trial.folder)
        for trial in planned.trials
        if not options.overwrite and trial_folder.finished_with(trial.folder, trial.settings)
    }


def prepare_data(
    workload: str, data_dir: str, reporter: Reporter, rows: Mapping[str, int] | None = None
) -> None:
    """Fetches and prepares the workload's data where that has not been done yet, or checks that it
    is there and has enough `rows`, as `workloads_overrides.prepare_data` does.

    Raises:
        UserError: the data cannot be had.
    """
    shown = False

    def show(what: str, done: float) -> None:
        nonlocal shown
        shown = True
        reporter.update("data", done, what)

    try:
        workloads_overrides.prepare_data(workload, Path(data_dir).expanduser(), show, rows)
    except workloads_overrides.DataError as error:
        raise UserError(one_line(error)) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"{workload}: data not prepared, for want of the package {error.name}; without it, run "
            f"scripts/prepare_data.py --workloads={workload} --data_dir={data_dir} in this "
            "repository's own environment first"
        ) from error
    if shown:
        reporter.end("data", f"{workload} is prepared in {data_dir}")


def _run_trial(
    options: Options,
    planned: Plan,
    trial: PlannedTrial,
    seed: int,
    reporter: Reporter,
    ranks: Ranks,
) -> Result:
    with contextlib.ExitStack() as stack:
        in_use = trial_folder.in_use(trial.folder, options.overwrite, trial.settings)
        found = ranks.from_first(lambda: stack.enter_context(in_use))
        if isinstance(found, Result):
            reporter.note(f"{trial.folder} was finished by another process meanwhile and is kept")
            return found
        if found is not None:
            reporter.note(f"an unfinished run was set aside as {found}")
        if ranks.first:
            stack.enter_context(_log_file(trial.folder / "run.log"))
            _write_settings(options, planned, trial, seed)
        return _train(options, planned, trial, seed, reporter, ranks, stack)


def _write_settings(options: Options, planned: Plan, trial: PlannedTrial, seed: int) -> None:
    folder, module = trial.folder, planned.submission
    log.info("options: %s", options)
    log.info("rng_seed: %d", seed)
    flags = dataclasses.asdict(options) | {"submission_path": module.path}
    write_json(folder / "flags_0.json", flags)
    collected = metadata.collect(planned.workload, options.framework, seed)
    collected["global_batch_size"] = module.global_batch_size(options.workload)
    collected["num_devices"] = backend.load(options.framework).num_devices
    write_json(folder / "meta_data_0.json", collected)
    if trial.point is not None:
        write_json(folder / "hparams.json", trial.point)


def _train(
    options: Options,
    planned: Plan,
    trial: PlannedTrial,
    seed: int,
    reporter: Reporter,
    ranks: Ranks,
    stack: contextlib.ExitStack,
) -> Result:
    """Runs the trial; rank 0 writes its result. `stack` holds the folder and its log file."""
    folder = trial.folder
    running = Trial(
        planned.workload,
        options.workload,
        planned.submission,
        None if trial.point is None else search_space.as_hyperparameters(trial.point),
        rules=options.rules(),
        backend=backend.load(options.framework),
        logger=MetricsLogger(folder) if ranks.first else None,
        data_dir=str(Path(options.data_dir).expanduser()),
        report=lambda shown: reporter.update(folder.name, shown.done, str(shown)),
        now=ranks.now,
        agree=lambda row: ranks.from_first(lambda: row),
    )

    def failed(message: str, trace: str) -> Result:
        log.error("the run ended with an error\n%s", trace)
        return _ended(folder, running.result("finished", "error", message))

    def end_all(message: str, trace: str) -> None:
        """After an error of another rank, from a thread; the process ends with it."""
        reporter.end(folder.name, str(failed(message, trace)))
        stack.close()
        reporter.__exit__(None, None, None)
        print(f"error: {message}", file=sys.stderr, flush=True)

    reporter.update(folder.name, 0.0, "compiling the first step")
    with ranks.watch(end_all):
        try:
            result = running.run(_random_state(options, seed))
        except Exception as error:
            message, trace = summary(error), traceback.format_exc().rstrip()
            ranks.fail(message, trace)
            return failed(message, trace)
    return _ended(folder, result) if ranks.first else result


def _ended(folder: Path, result: Result) -> Result:
    log.info("%s", result)
    if result.peak_memory_bytes is not None:
        log.info("memory used at most: %.2f GiB", result.peak_memory_bytes / 2**30)
    trial_folder.write_result(folder, result)
    return result


def _random_state(options: Options, seed: int) -> Any:
    """The random state that AlgoPerf's harness starts a trial from."""
    random = backend.load(options.framework).random
    key = random.key(seed)
    return random.split(key, 2)[0] if options.tuning_ruleset == "external" else key


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Sends this package's log, and everybody's warnings, to `path`."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("benchmark").setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
