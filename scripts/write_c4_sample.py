"""Write a sample in the format of C4's files, to try scripts/prepare_c4.py on: it is not C4.

Example: python scripts/write_c4_sample.py --output_dir=c4_sample --num_train_files=12

The text is the documentation of AWS that c4_small uses, from a wheel that pip fetches: 20 MB.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import UserError, one_line, run_main

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "output_dir", None, "Folder to make, for c4-train.* and eight c4-validation.* (.json.gz)."
)
flags.DEFINE_integer("num_train_files", 12, "Files that the training text is dealt out to.", 1, 256)
flags.DEFINE_integer(
    "repeat",
    1,
    "How many times the text is written. Further times have its paragraphs in another order: other "
    "documents, but the same paragraphs, so more bytes and no more to learn from.",
    1,
)


def main() -> int:
    from benchmark import progress
    from workloads_overrides import DataError
    from workloads_overrides.small.c4.sample import write_sample

    if not FLAGS.output_dir:
        raise UserError("--output_dir is missing: the folder to make")
    folder = Path(FLAGS.output_dir).expanduser()
    with progress.reporter() as reporter:
        try:
            written = write_sample(
                folder,
                FLAGS.num_train_files,
                FLAGS.repeat,
                lambda stage, fraction: reporter.update("sample", fraction, stage),
            )
        except DataError as error:
            raise UserError(one_line(error)) from error
        reporter.end(
            "sample",
            f"{written.documents:,} documents of {written.text_bytes / 1e6:.1f} MB in {folder}, in "
            "the format of C4, not C4",
        )
    return 0


if __name__ == "__main__":
    run_main(main)
