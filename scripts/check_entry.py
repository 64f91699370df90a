"""Check AlgoPerf entries, anybody's, for what AlgoPerf's own checker does not look at.

Example: python scripts/check_entry.py --import_timeout=60 entries/self_tuning/asgo_jax

One line for each defect, and exit status 1; or one line for each entry that has none. Checked are
files, signatures, submission_info.yml, requirements and licence, the search space against the
code, self-tuning without hyperparameters, imports that leave the folder, environment variables,
and that only get_batch_size reads a workload's name. Fingerprints of workloads by the shapes of
their parameters are out of reach.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import UserError, run_main

FLAGS = flags.FLAGS

flags.DEFINE_boolean("import_entries", True, "Import the entries too, in a process of their own.")
flags.DEFINE_string(
    "python",
    sys.executable,
    "Interpreter that imports them; best that of an environment with AlgoPerf.",
)
flags.DEFINE_float(
    "import_timeout", 600.0, "Seconds that importing them all may take.", lower_bound=1.0
)


def main(folders: list[str]) -> int:
    from benchmark.entries.check import Entry, asking, check

    if not folders:
        raise UserError("no entry given (allowed: folders <ruleset>/<name> with submission.py)")
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"{folder}: no such folder (allowed: folders <ruleset>/<name>)")
    entries = [Entry(Path(folder)) for folder in folders]
    answers = [None] * len(entries)
    if FLAGS.import_entries:
        answers = asking.ask(entries, FLAGS.python, FLAGS.import_timeout)
    status = 0
    for folder, entry, answer in zip(folders, entries, answers, strict=True):
        defects = check(entry, answer)
        for defect in defects:
            print(defect.text(folder.rstrip("/")))
        if any(defect.fatal for defect in defects):
            status = 1
        else:
            how = "imported" if answer and "batch_sizes" in answer else "not imported"
            print(f"{folder}: fine ({len(entry.files)} files, {how})")
    return status


if __name__ == "__main__":
    # Entries are arguments, everything else is --name=value.
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    rest = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    run_main(lambda: main(given), [sys.argv[0], *rest])
