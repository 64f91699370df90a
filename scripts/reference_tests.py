"""Run AlgoPerf's own reference test for submissions x workloads x frameworks on fake batches.

Example: python scripts/reference_tests.py --submissions=asgo,caspr --workloads=ogbg,imagenet_vit --python=ENVIRONMENT_WITH_ALGOPERF/bin/python --output_dir=experiments/reference_tests
"""  # noqa: E501

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import GOES_ON, UserError, run_main

FLAGS = flags.FLAGS

REPOSITORY = Path(__file__).resolve().parent.parent
# Global batch sizes that keep a test short on a CPU.
BATCH_SIZES = {
    "ogbg": 2,
    "imagenet_vit": 2,
    "imagenet_resnet": 2,
    "fastmri": 2,
    "criteo1tb_test": 2,
    "librispeech_conformer": 2,
    "librispeech_deepspeech": 2,
    "wmt": 2,
    "criteo1tb": 2,
    "mnist": 2,
    "cifar": 2,
}
DEFAULT_WORKLOADS = [*BATCH_SIZES][:7]

flags.DEFINE_list("submissions", ["all"], "Names of submissions, or all.")
flags.DEFINE_list(
    "workloads", DEFAULT_WORKLOADS, f"Official workloads, of {', '.join(BATCH_SIZES)}."
)
flags.DEFINE_list("frameworks", ["jax", "pytorch"], "jax, pytorch or both.")
flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
flags.DEFINE_string(
    "harness_dir", None, "A clone of AlgoPerf's repository; default: the one installed."
)
flags.DEFINE_string("python", sys.executable, "Interpreter of the environment with the harness.")
flags.DEFINE_string(
    "submission_root",
    None,
    "Folder of exported entries, {external_tuning,self_tuning}/<name>/submission.py, to be tested "
    "instead of this repository's submissions and without this repository.",
)
flags.DEFINE_string("repository", str(REPOSITORY), "Checkout whose submissions are tested.")
flags.DEFINE_integer("jobs", 1, "Tests side by side.", lower_bound=1)
flags.DEFINE_float("time_limit", 1800.0, "Seconds that one test may take.", lower_bound=1.0)
flags.DEFINE_integer(
    "global_batch_size", None, "Of every workload; default: one that is short.", lower_bound=1
)
flags.DEFINE_integer("num_train_steps", 1, "Training steps of each test.", lower_bound=1)
flags.DEFINE_integer(
    "jax_num_cpu_devices", None, "Virtual CPU devices for JAX; default: one.", lower_bound=1
)
flags.DEFINE_string("compilation_cache_dir", None, "Folder of JAX's persistent compilation cache.")
flags.DEFINE_boolean("retry", False, "Run again what has failed or run into its time limit.")
flags.DEFINE_boolean("summary", False, "Print the table of what there is; run nothing.")


def main() -> int:
    from benchmark import progress
    from benchmark.reference import entries, harness, matrix
    from benchmark.reference.summary import print_summary

    _check_list("workloads", list(BATCH_SIZES))
    _check_list("frameworks", list(entries.FRAMEWORKS))
    how = _options()
    output_dir = Path(FLAGS.output_dir).expanduser().resolve()
    if FLAGS.submission_root is not None:
        root = _folder("submission_root")
        found = entries.of_exports(root, FLAGS.submissions, FLAGS.frameworks)
    else:
        root = _folder("repository")
        found = entries.of_repository(root, FLAGS.submissions, FLAGS.frameworks)
    official = harness.find(FLAGS.python, FLAGS.harness_dir)
    if FLAGS.submission_root is not None and official.packages_of_ours:
        raise UserError(
            f"--python={FLAGS.python}: has {', '.join(official.packages_of_ours)} installed, which "
            "an exported entry must do without; use another environment"
        )
    tests = matrix.tests(found, root, FLAGS.workloads, official, how)
    if not FLAGS.summary:
        # A parent that stops us means the same as Ctrl-C: tests must not go on alone.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        todo = []
        for test in tests:
            result = test.load(output_dir)
            again = FLAGS.retry and result is not None and result.status != "passed"
            if result is None or again or not result.stands(how.time_limit_sec):
                todo.append(test)
        with progress.reporter() as reporter:
            reporter.note(f"{len(todo)} of {len(tests)} tests to run, in {output_dir}")
            matrix.Runner(official, output_dir, how, reporter).run(todo, FLAGS.jobs)
    return 1 if print_summary(tests, output_dir) else 0


def _options():
    from benchmark.reference.matrix import Options

    devices = FLAGS.jax_num_cpu_devices
    sizes = {name: FLAGS.global_batch_size or BATCH_SIZES[name] for name in FLAGS.workloads}
    if devices is not None:
        for name, size in sizes.items():
            if size % devices and FLAGS.global_batch_size is not None:
                raise UserError(
                    f"--global_batch_size={size}: not a multiple of --jax_num_cpu_devices={devices}"
                )
            sizes[name] = -(-size // devices) * devices
    cache = FLAGS.compilation_cache_dir
    return Options(
        batch_sizes=sizes,
        num_train_steps=FLAGS.num_train_steps,
        jax_num_cpu_devices=devices,
        time_limit_sec=FLAGS.time_limit,
        compilation_cache=None if cache is None else Path(cache).expanduser().resolve(),
    )


def _check_list(flag: str, allowed: list[str]) -> None:
    for name in getattr(FLAGS, flag) or [""]:
        if name not in allowed:
            raise UserError(f"--{flag}: {name!r} is unknown; allowed: {', '.join(allowed)}")


def _folder(flag: str) -> Path:
    path = Path(getattr(FLAGS, flag)).expanduser().resolve()
    if not path.is_dir():
        raise UserError(f"--{flag}={getattr(FLAGS, flag)}: no such folder")
    return path


if __name__ == "__main__":
    run_main(main, on_interrupt=GOES_ON)
