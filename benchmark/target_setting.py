"""AlgoPerf's target-setting procedure, reduced: tune the baselines, repeat the best over seeds.

AlgoPerf tunes four baselines with 200 points each and repeats the best one with 20 seeds. Here
AdamW and NAdamW are tuned with fewer points, which both get, and everything is written down. Every
run has a fixed number of steps, the horizon of its schedule, and stops at no target. Finished runs
are kept, so that an interrupted setting goes on.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark import metadata, search_space, submission, targets
from benchmark.errors import UserError, one_line
from benchmark.hardware import describe, gpus_for
from benchmark.log import write_json
from benchmark.plan import Options, import_workload
from benchmark.progress import Reporter
from benchmark.runs import Place, execute, plan_runs
from benchmark.scoring import Target
from benchmark.targets import SettingRun

BASELINES = ("adamw", "nadamw")
SEARCH_SPACE = Path(__file__).parent / "target_setting_space.json"
# Steps between evaluations where none are given: long runs are evaluated about so often in all.
_FINEST_STEPS, _EVALUATIONS = 20, 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """The flags of scripts/set_targets.py."""

    workload: str
    framework: str
    experiment_dir: str
    experiment_name: str
    data_dir: str = "data"
    tuning_search_space: str | None = None
    num_trials: int = 10
    num_seeds: int = 5
    step_hint: int | None = None
    eval_every_steps: int | None = None
    rng_seed: int = 0
    overwrite: bool = False
    jobs: int = 2
    smoke_batch_size: int | None = None

    @property
    def space(self) -> str | Path:
        """The file of ranges that the baselines are tuned over."""
        return self.tuning_search_space or SEARCH_SPACE

    @property
    def path(self) -> Path:
        return Path(self.experiment_dir).expanduser() / self.experiment_name


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `targets.json` holds, and the record of each baseline's search."""

    content: dict[str, Any]
    searches: dict[str, dict[str, Any]]


def targets_file(workload: str, framework: str = "pytorch") -> Path:
    """Where a workload's targets stand; the same file in both frameworks."""
    known: Any = import_workload(workload, framework)
    return known.targets_path


def set_targets(setting: Setting, command: str, reporter: Reporter, place: Place) -> Outcome:
    """Runs everything and computes the targets; writes no file outside the experiment's folder.

    Raises:
        UserError: a bad value, or runs that failed.
        KeyboardInterrupt: after every child process has ended.
    """
    for name in (
        "num_trials",
        "num_seeds",
        "jobs",
        "step_hint",
        "eval_every_steps",
        "smoke_batch_size",
    ):
        value = getattr(setting, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}={value}; allowed: >= 1")
    return Procedure(setting, reporter, place).run(command)


class Procedure:
    """The stages of target setting; tuning another submission shares the first one."""

    def __init__(self, setting: Setting, reporter: Reporter, place: Place) -> None:
        self.setting = setting
        self.reporter = reporter
        self.place = place
        place.plan_only(setting.workload, setting.framework)
        self.workload: Any = import_workload(setting.workload, setting.framework)
        self.step_hint = setting.step_hint or self.workload.step_hint
        self.horizon = round(targets.SETTING_SHARE * self.step_hint)
        self.eval_every_steps = setting.eval_every_steps or max(
            _FINEST_STEPS, self.step_hint // _EVALUATIONS
        )
        self.target = Target(setting.workload, self.workload.target_metric_name, 0.0)

    def run(self, command: str) -> Outcome:
        setting = self.setting
        points = search_space.load(setting.space, setting.num_trials, setting.rng_seed)
        trials = self.search(dict.fromkeys(BASELINES, points))
        ranked = {name: targets.ranked(runs) for name, runs in trials.items()}
        best = {name: runs[0] for name, runs in ranked.items()}
        winner = targets.ranked([best[name] for name in BASELINES])[0]
        winner_name = next(name for name in BASELINES if best[name] is winner)
        self.reporter.note(
            f"best baseline: {winner_name}, {self.target.metric} {winner.best('validation'):.4f}, "
            f"{winner.hyperparameters}"
        )
        repeats = self._repeat("repeat", {winner_name: winner}, self.horizon)[winner_name]
        found = targets.targets(repeats, self.step_hint)
        races = self._repeat("race", best, self.step_hint)
        facts = {
            "procedure": one_line(f"{__doc__} {targets.__doc__}"),
            **self.facts(command),
        }
        searches = {name: [run.record() for run in trials[name]] for name in BASELINES}
        content = {
            **found,
            # With other batches and splits it would be another workload's.
            "status": "measured" if setting.smoke_batch_size is None else "smoke",
            **self.workload.data_facts(Path(setting.data_dir).expanduser()),
            "provenance": {
                **facts,
                "winner": {"baseline": winner_name, "hyperparameters": winner.hyperparameters},
                "steps_to_target": {
                    name: targets.spread(runs, found) for name, runs in races.items()
                },
                "repeats": [run.record() for run in repeats],
                "search": searches,
            },
        }
        return Outcome(content, {name: {**facts, "search": searches[name]} for name in BASELINES})

    def search(self, points: Mapping[str, list[search_space.Point]]) -> dict[str, list[SettingRun]]:
        """Every point of every submission, with one seed, at the target-setting horizon."""
        requests = [
            (name, self._options("search", name, mine, 0, self.setting.rng_seed, self.horizon))
            for name, mine in points.items()
        ]
        # A point may make training diverge: that is an outcome, not a failure of the procedure.
        return self._execute("search", requests, may_fail=True)

    def _repeat(
        self, stage: str, best: dict[str, SettingRun], steps: int
    ) -> dict[str, list[SettingRun]]:
        """The best points over fresh seeds: the seed of the search has chosen them."""
        requests = [
            (name, self._options(stage, name, [run.hyperparameters], study, seed, steps))
            for study in range(self.setting.num_seeds)
            for seed in [self.setting.rng_seed + 1 + study]
            for name, run in best.items()
        ]
        return self._execute(stage, requests, may_fail=False)

    def _options(
        self,
        stage: str,
        baseline: str,
        points: list[search_space.Point],
        study: int,
        seed: int,
        steps: int,
    ) -> Options:
        setting = self.setting
        folder = setting.path / stage
        folder.mkdir(parents=True, exist_ok=True)
        space = folder / f"{baseline}_points.json"
        write_json(space, points)
        return Options(
            workload=setting.workload,
            framework=setting.framework,
            submission_path=submission.path_of(baseline, setting.framework),
            experiment_dir=str(folder / baseline),
            experiment_name=f"study_{study}",
            data_dir=setting.data_dir,
            tuning_search_space=str(space),
            num_tuning_trials=len(points),
            rng_seed=seed,
            max_global_steps=steps,
            overwrite=setting.overwrite,
            eval_every_steps=self.eval_every_steps,
            target_setting=True,
            step_hint=steps,
            smoke_batch_size=setting.smoke_batch_size,
        )

    def _execute(
        self, stage: str, requests: Sequence[tuple[str, Options]], may_fail: bool
    ) -> dict[str, list[SettingRun]]:
        planned = [
            (name, run)
            for name, options in requests
            for run in plan_runs(options, f"{stage} {name} seed {options.rng_seed}", self.place)
        ]
        self.reporter.note(f"{stage}: {len(planned)} runs, logs in {self.setting.path / stage}")
        runs = [run for _, run in planned]
        failed = execute(runs, self.setting.jobs, self.reporter, self.place)
        if failed and not may_fail:
            label, told = next(iter(failed.items()))
            raise UserError(f"{len(failed)} runs failed; the first, {label}: {told}")
        found: dict[str, list[SettingRun]] = {}
        for name, run in planned:
            found.setdefault(name, []).append(targets.read_run(run.folder, self.target))
        return found

    def facts(self, command: str) -> dict[str, Any]:
        setting = self.setting
        collected = metadata.collect(self.workload, setting.framework, setting.rng_seed)
        names = ("git_commit_hash", "git_uncommitted_changes", "python_version")
        return {
            "command": command,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "metric": self.target.metric,
            "horizon_of_search_and_repeats": self.horizon,
            **dataclasses.asdict(setting),
            "eval_every_steps": self.eval_every_steps,
            "tuning_search_space": os.path.relpath(setting.space, self.place.root),
            **{name: collected[name] for name in names if name in collected},
            "cpu_model_name": collected["cpu_model_name"],
            "cpu_count": collected["cpu_count"],
            **self._devices(),
            "versions": collected["versions"],
        }

    def _devices(self) -> dict[str, Any]:
        """What a run has for itself: a core, or all GPUs that its framework computes on."""
        if not self.place.count_gpus(self.setting.workload, self.setting.framework):
            return {"cpu_cores_per_run": 1}
        return {"gpus_per_run": describe(gpus_for(self.setting.framework))}
