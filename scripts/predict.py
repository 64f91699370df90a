"""Predict on paper what optimizers cost per step on V100, A100 or H100 GPUs, and time to target.

Example: python scripts/predict.py --gpu=a100 --num_gpus=4 --workload=wmt --step_ratio=0.8

--calibrate writes the constants anew from V100 logs; --validate prints what the kept ones predict
of logs beside what these say, on V100s and on A100s, where nothing is fitted.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.choices import choose
from benchmark.errors import UserError, run_main

FLAGS = flags.FLAGS

flags.DEFINE_enum("gpu", "a100", ["v100", "a100", "h100"], "The GPUs.")
flags.DEFINE_integer("num_gpus", 8, "How many share a batch and refreshes.", lower_bound=1)
flags.DEFINE_list("workload", ["wmt"], "Workloads of AlgoPerf, llama_60m to llama_1.3b, or all.")
flags.DEFINE_list("optimizers", ["all"], "Names of scripts/list_optimizers.py, or all.")
flags.DEFINE_enum("framework", "pytorch", ["jax", "pytorch"], "The optimizers' framework.")
flags.DEFINE_float(
    "step_ratio", 1.0, "Steps to target over nadamw's, of all others.", lower_bound=0.0
)
flags.DEFINE_integer("refresh_every", None, "Steps between refreshes.", lower_bound=1)
flags.DEFINE_enum(
    "root_method",
    "eigh",
    ["eigh", "newton", "newton_schulz", "polar_express"],
    "How optimizers that can choose compute their roots.",
)
flags.DEFINE_enum(
    "precision",
    "fp32",
    ["fp32", "tf32", "bf16", "fp16"],
    "Of the optimizers' matrix products; fp32 is what they run in.",
)
flags.DEFINE_string("calibration", None, "JSON file of the constants; else those of this project.")
flags.DEFINE_string("output", None, "CSV file to write.")
flags.DEFINE_bool("calibrate", False, "Fit the constants to --logs_v100 and write them.")
flags.DEFINE_bool("validate", False, "Compare predictions with logs.")
flags.DEFINE_list("logs_v100", [], "Log trees of V100s, older ones first.")
flags.DEFINE_list("logs_a100", [], "Log trees of A100s.")


def main() -> int:
    if FLAGS.calibrate and FLAGS.validate:
        raise UserError("--calibrate and --validate: one at a time")
    if FLAGS.calibrate:
        return _calibrate()
    return _validate() if FLAGS.validate else _predict()


def _predict() -> int:
    from speed.predict import algorithms, models, stored
    from speed.predict.gpus import GPUS

    gpu = GPUS[FLAGS.gpu]
    if FLAGS.precision not in gpu.peak:
        raise UserError(f"--precision={FLAGS.precision}: {FLAGS.gpu} has {', '.join(gpu.peak)}")
    workloads = choose("workload", FLAGS.workload, models.known())
    chosen = choose("optimizers", FLAGS.optimizers, algorithms.names())
    calibration = stored.read(_calibration())
    hyperparameters = {"root_method": FLAGS.root_method}
    if FLAGS.refresh_every is not None:
        hyperparameters["refresh_every"] = FLAGS.refresh_every
    names = []
    for name in chosen:
        try:
            algorithms.build(name, hyperparameters)
            names.append(name)
        except ValueError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
    if not names:
        raise UserError(f"--root_method={FLAGS.root_method}: no optimizer is left")
    # Here, because they import PyTorch, which messages need not wait for.
    import pandas as pd
    from rich.console import Console
    from rich.progress import track

    from speed.predict import tables
    from speed.predict.forecast import Machine, NoReference

    machine = Machine(gpu, FLAGS.num_gpus)
    console = Console(stderr=True)
    found = []
    for workload in track(
        workloads, "predicting", console=console, transient=True, disable=not console.is_terminal
    ):
        try:
            found.append(
                tables.table(
                    calibration,
                    workload,
                    FLAGS.framework,
                    machine,
                    names,
                    precision=FLAGS.precision,
                    step_ratio=FLAGS.step_ratio,
                    hyperparameters=hyperparameters,
                )
            )
        except NoReference as error:
            print(f"{workload}: {error}", file=sys.stderr)
    if not found:
        return 1
    for table in found:
        _print(table)
    print(f"{FLAGS.num_gpus} {gpu.product}, {FLAGS.framework}, products in {FLAGS.precision}")
    print(
        f"time_ratio: to target, over {tables.BASELINE}'s, with {FLAGS.step_ratio:g} of its steps; "
        f"even_baseline, even_rival: of its and of {tables.RIVAL}'s steps, for equal times"
    )
    _write(pd.concat(found, ignore_index=True))
    return 0


def _calibrate() -> int:
    from speed.predict import stored

    if not FLAGS.logs_v100:
        raise UserError("--calibrate: name folders of logs, --logs_v100=...")
    calibration = stored.from_logs([Path(name) for name in FLAGS.logs_v100])
    stored.write(calibration, _calibration())
    for name in ("efficiency", "launch", "factorisation"):
        value = getattr(calibration, name)
        print(f"{name}: {value.middle:.3g} ({value.least:.3g} to {value.most:.3g})")
    print(f"wrote {_calibration()}")
    return 0


def _validate() -> int:
    import pandas as pd

    from speed.predict import step_times, stored, validate
    from speed.predict.gpus import GPUS

    trees = [(name, "v100") for name in FLAGS.logs_v100]
    trees += [(name, "a100") for name in FLAGS.logs_a100]
    if not trees:
        raise UserError("--validate: name folders of logs, --logs_v100=... or --logs_a100=...")
    calibration = stored.read(_calibration())
    written = []
    for name, gpu in trees:
        times = step_times.read(Path(name), GPUS[gpu])
        # Of V100 logs each predicts itself; others start from the newest ones.
        table = validate.predictions(calibration, times, times[0].logs if gpu == "v100" else None)
        differences = validate.differences(calibration, times)
        print(f"{name}: {times[0].devices} {times[0].gpu}, seconds per step")
        _print(table)
        if not differences.empty:
            print("Steps less those of another entry, milliseconds")
            _print(differences)
        tests = validate.by_workload(table)
        if not tests.empty:
            print("Tests by workload")
            _print(tests)
        print(f"{validate.summary(table)}\n")
        written.append(table.assign(logs=name))
    _write(pd.concat(written, ignore_index=True))
    return 0


def _calibration() -> Path:
    from speed.predict import stored

    return stored.PATH if FLAGS.calibration is None else Path(FLAGS.calibration)


def _print(table: Any) -> None:
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}", na_rep="-"))
    print()


def _write(table: Any) -> None:
    if FLAGS.output:
        table.to_csv(FLAGS.output, index=False, lineterminator="\n")


if __name__ == "__main__":
    run_main(main)
