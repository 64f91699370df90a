"""Both modes against plain loops over the same random logs, written from AlgoPerf's rules (fastest)
and from what its script does (official)."""

import math
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from log_trees import METRIC, TARGET, trial_dir, write_csv

from benchmark.scoring import MODES, score_tree

Row = tuple[int, float, float]  # step, time, value; in the order of the file
Reached = tuple[float, float]  # time and steps


@dataclass
class Race:
    """By (submission, study) and trial the rows of its file; None: a folder without the file."""

    logs: dict[tuple[str, int], dict[int, list[Row] | None]] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        for (submission, study), trials in self.logs.items():
            for trial, rows in trials.items():
                folder = trial_dir(root, submission, study=study, trial=trial)
                folder.mkdir(parents=True)
                if rows is not None:
                    lines = [f"{step},{time!r},{value!r}\n" for step, time, value in rows]
                    write_csv(folder, f"global_step,score,validation/{METRIC}\n{''.join(lines)}")
        (root / "targets.json").write_text(
            '{"base_workloads": ["toy"], "workloads": {"toy": {"target_metric_name": '
            f'"{METRIC}", "validation_target_value": {TARGET}}}}}}}'
        )

    def studies(self, submission: str) -> list[int]:
        return sorted(study for name, study in self.logs if name == submission)


def random_race(chance: random.Random) -> Race:
    """Few different times and values, so that rows, times and values tie often."""
    race = Race()
    trials, most = chance.choice([[1], [1, 2, 3], [1, 2, 10, 3]]), chance.randint(1, 5)
    for submission in chance.sample("abcd", chance.randint(1, 4)):
        studies = most if chance.random() < 0.6 else chance.randint(1, most)
        for study in chance.sample(range(6), studies):
            race.logs[submission, study] = {
                trial: None if chance.random() < 0.2 else random_rows(chance) for trial in trials
            }
    return race


def random_rows(chance: random.Random) -> list[Row]:
    period = chance.choice([1.0, 2.0, 2.5])
    values = [TARGET - 0.1, TARGET - 0.01, TARGET, TARGET + 0.1, math.nan]
    weights = [3, 3, 1, 1, 1]
    rows = [
        (100 * i, period * i, chance.choices(values, weights)[0])
        for i in range(1, chance.randint(3, 8))
    ]
    if chance.random() < 0.2:
        chance.shuffle(rows)
    return rows


def middle(values: list[float]) -> float:
    """The median, of an even number the mean of the middle two."""
    if not values:
        return math.nan
    ordered, half = sorted(values), len(values) // 2
    if len(values) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def by_the_rules(race: Race, submission: str) -> Reached:
    most = max(len(race.studies(name)) for name, _ in race.logs)
    times, steps = [], []
    for study in race.studies(submission):
        hits, fewest = [math.inf], [math.inf]
        for rows in race.logs[submission, study].values():
            met = [(time, step) for step, time, value in rows or [] if value >= TARGET]
            if met:
                hits.append(min(met)[0])
                fewest.append(min(met)[1])
        times.append(min(hits))
        steps.append(min(fewest))
    absent = [math.inf] * (most - len(times))
    return middle(times + absent), middle(steps + absent)


def by_the_script(race: Race, submission: str) -> Reached:
    times, steps = [], []
    for study in race.studies(submission):
        files = {
            f"trial_{trial}": rows
            for trial, rows in race.logs[submission, study].items()
            if rows is not None
        }
        if not files:
            continue
        lowest, reached = math.inf, (math.inf, math.inf)
        for name in sorted(files):
            for index, (step, time, value) in enumerate(files[name]):
                if value >= TARGET:
                    if index < lowest:
                        lowest, reached = index, (time, step)
                    break
        times.append(reached[0])
        steps.append(reached[1])
    return middle(times), middle(steps)


ORACLES = {"fastest": by_the_rules, "official": by_the_script}


@pytest.mark.parametrize("seed", range(25))
def test_times_and_steps_of_random_races(tmp_path: Path, seed: int):
    race = random_race(random.Random(seed))
    race.write(tmp_path)
    for mode in MODES:
        scores = score_tree(tmp_path, targets=tmp_path / "targets.json", mode=mode, baselines=())
        found = scores.table.set_index("submission")
        for submission in {name for name, _ in race.logs}:
            row = found.loc[submission]
            wanted = ORACLES[mode](race, submission)
            got = (row["time_to_target"], row["steps_to_target"])
            assert got == pytest.approx(wanted, nan_ok=True, rel=1e-12), (mode, submission)


def test_the_random_races_hold_what_matters():
    """Else the comparison above would show nothing."""
    races = [random_race(random.Random(seed)) for seed in range(25)]
    entries = [(race, name) for race in races for name in {name for name, _ in race.logs}]
    pairs = [(by_the_rules(*entry)[0], by_the_script(*entry)[0]) for entry in entries]
    assert sum(a != b and math.isfinite(a) and math.isfinite(b) for a, b in pairs) > 10
    assert sum(math.isinf(a) and math.isfinite(b) for a, b in pairs) > 5
    assert sum(a == b for a, b in pairs) > 10
    assert any(math.isnan(b) for _, b in pairs)
    assert any(len(race.studies(name)) % 2 == 0 for race, name in entries)
