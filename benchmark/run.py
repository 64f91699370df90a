"""One submission on one workload: data, folders, log files, and one trial after another."""

import contextlib
import dataclasses
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import workloads_overrides
from benchmark import backend, metadata, search_space, submission, trial_folder
from benchmark.errors import UserError, one_line, summary
from benchmark.log import MetricsLogger, write_json
from benchmark.plan import Options, Plan, PlannedTrial, plan
from benchmark.progress import Reporter
from benchmark.trial import Result, Trial

log = logging.getLogger(__name__)


def run(options: Options, reporter: Reporter, root: Path = submission.REPOSITORY) -> list[Result]:
    """Runs the trials that are not finished yet; returns the results of all, in order.

    Raises:
        UserError: before any training. What a submission raises later ends in its trial's result.
    """
    planned = plan(options, root)
    finished = {
        trial.folder: trial_folder.read_result(trial.folder)
        for trial in planned.trials
        if not options.overwrite and trial_folder.finished_with(trial.folder, trial.settings)
    }
    prepare_data(options.workload, options.data_dir, reporter)
    if options.cpu_core is not None:
        backend.use_one_thread(options.framework)
    seed = secrets.randbits(32) if options.rng_seed is None else options.rng_seed
    results = []
    for trial in planned.trials:
        result = finished.get(trial.folder)
        if result is None:
            result = _run_trial(options, planned, trial, seed, reporter)
            reporter.end(trial.folder.name, str(result))
        else:
            reporter.note(f"{trial.folder} is finished and kept: {result}")
        results.append(result)
    return results


def prepare_data(workload: str, data_dir: str, reporter: Reporter) -> None:
    """Fetches and prepares the workload's data where that has not been done yet.

    Raises:
        UserError: the data cannot be had.
    """
    shown = False

    def show(what: str, done: float) -> None:
        nonlocal shown
        shown = True
        reporter.update("data", done, what)

    try:
        workloads_overrides.prepare_data(workload, Path(data_dir).expanduser(), show)
    except workloads_overrides.DataError as error:
        raise UserError(one_line(error)) from error
    if shown:
        reporter.end("data", f"{workload} is prepared in {data_dir}")


def _run_trial(
    options: Options, planned: Plan, trial: PlannedTrial, seed: int, reporter: Reporter
) -> Result:
    with trial_folder.in_use(trial.folder, options.overwrite, trial.settings) as found:
        if isinstance(found, Result):
            reporter.note(f"{trial.folder} was finished by another process meanwhile and is kept")
            return found
        if found is not None:
            reporter.note(f"an unfinished run was set aside as {found}")
        return _train(options, planned, trial, seed, reporter)


def _train(
    options: Options, planned: Plan, trial: PlannedTrial, seed: int, reporter: Reporter
) -> Result:
    folder, module = trial.folder, planned.submission
    with _log_file(folder / "run.log"):
        log.info("options: %s", options)
        log.info("rng_seed: %d", seed)
        flags = dataclasses.asdict(options) | {"submission_path": module.path}
        write_json(folder / "flags_0.json", flags)
        collected = metadata.collect(planned.workload, options.framework, seed)
        collected["global_batch_size"] = module.global_batch_size(options.workload)
        write_json(folder / "meta_data_0.json", collected)
        if trial.point is not None:
            write_json(folder / "hparams.json", trial.point)
        running = Trial(
            planned.workload,
            options.workload,
            module,
            None if trial.point is None else search_space.as_hyperparameters(trial.point),
            rules=options.rules(),
            backend=backend.load(options.framework),
            logger=MetricsLogger(folder),
            data_dir=str(Path(options.data_dir).expanduser()),
            report=lambda shown: reporter.update(folder.name, shown.done, str(shown)),
        )
        reporter.update(folder.name, 0.0, "compiling the first step")
        try:
            result = running.run(_random_state(options, seed))
        except Exception as error:
            log.exception("the run ended with an error")
            result = running.result("finished", "error", summary(error))
        log.info("%s", result)
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
