"""Prepare C4 for the full-size workloads, from files on disk: tokens in shards, once.

Example: python scripts/prepare_c4.py --workload=c4_60m --input_dir=c4/en --tokenizer_path=spiece.model --data_dir=data
"""  # noqa: E501

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark import cores
from benchmark.errors import GOES_ON, UserError, one_line, run_main
from workloads_overrides import DataError
from workloads_overrides.c4.amounts import WORKLOADS
from workloads_overrides.c4.corpus.vocabulary import KINDS
from workloads_overrides.c4.meta import LAYOUTS

if TYPE_CHECKING:
    from benchmark.progress import Reporter
    from workloads_overrides.c4.sources.unit import Source

FLAGS = flags.FLAGS

flags.DEFINE_enum("workload", "c4_60m", WORKLOADS, "It decides how many tokens are prepared.")
flags.DEFINE_string("data_dir", "data", "Folder that gets the subfolder c4.")
flags.DEFINE_enum("source", "jsonl", ["jsonl", "tfds", "hf"], "Where the documents come from.")
flags.DEFINE_string(
    "input_dir",
    None,
    "Of jsonl: folder of allenai/c4's files c4-train.*.json.gz and c4-validation.*.json.gz, as "
    "many as are needed. Of tfds: a prepared c4/en of tensorflow-datasets, or what is around it.",
)
flags.DEFINE_string("hf_dataset", "allenai/c4", "Of hf: the data set's name on the Hub.")
flags.DEFINE_string("hf_config", "en", "Of hf: the data set's configuration.")
flags.DEFINE_string(
    "hf_revision", None, "Of hf: a commit of the data set; without it, the newest, which is told."
)
flags.DEFINE_enum(
    "tokenizer",
    "t5",
    KINDS,
    "T5's, which the targets are for, by its file; any SentencePiece model by its file; one that "
    "is trained on the first documents; or bytes, for trials.",
)
flags.DEFINE_string("tokenizer_path", None, "File of the tokenizer, such as T5's spiece.model.")
flags.DEFINE_string("tokenizer_sha256", None, "SHA-256 that this file must have; T5's is known.")
flags.DEFINE_integer("vocab_size", 32_000, "Pieces of a trained tokenizer.", lower_bound=4)
flags.DEFINE_enum(
    "layout",
    "packed",
    LAYOUTS,
    "One stream of documents, or GaLore's: a document per row, cut or padded.",
)
flags.DEFINE_integer("train_rows", None, "Instead of the workload's, for trials.", lower_bound=1)
flags.DEFINE_integer(
    "eval_rows", None, "Of validation and of test; likewise for trials.", lower_bound=1
)
flags.DEFINE_integer("jobs", None, "Processes; default: one per core.", lower_bound=1)
flags.DEFINE_boolean(
    "skip_bad_lines", False, "Leave out, and count, documents that cannot be read."
)
flags.DEFINE_boolean(
    "overwrite", False, "Prepare anew what is there, or what was begun with other options."
)
flags.DEFINE_boolean("verify", False, "Only check a prepared folder's files against meta.json.")


def main() -> int:
    from benchmark import progress

    with progress.reporter() as reporter:
        try:
            return _verify(reporter) if FLAGS.verify else _prepare(reporter)
        except DataError as error:
            raise UserError(one_line(error)) from error


def _prepare(reporter: "Reporter") -> int:
    from workloads_overrides.c4.amounts import amounts_of
    from workloads_overrides.c4.corpus.run import Request, prepare_corpus
    from workloads_overrides.c4.corpus.vocabulary import Vocabulary

    path = FLAGS.tokenizer_path
    request = Request(
        source=_source(),
        data_dir=Path(FLAGS.data_dir).expanduser(),
        workload=FLAGS.workload,
        amounts=amounts_of(FLAGS.workload, FLAGS.layout, FLAGS.train_rows, FLAGS.eval_rows),
        vocabulary=Vocabulary(
            kind=FLAGS.tokenizer,
            path=Path(path).expanduser() if path else None,
            sha256=FLAGS.tokenizer_sha256,
            size=FLAGS.vocab_size,
        ),
        jobs=FLAGS.jobs or len(cores.available()),
        skip_bad_lines=FLAGS.skip_bad_lines,
        overwrite=FLAGS.overwrite,
    )
    prepare_corpus(request, reporter)
    return 0


def _source() -> "Source":
    """The documents, as the flags say."""
    if FLAGS.source == "hf":
        from workloads_overrides.c4.sources.hf import HfSource

        return HfSource(FLAGS.hf_dataset, FLAGS.hf_config, FLAGS.hf_revision)
    if not FLAGS.input_dir:
        raise UserError(f"--source={FLAGS.source} needs --input_dir, the folder of its files")
    folder = Path(FLAGS.input_dir).expanduser()
    if FLAGS.source == "tfds":
        from workloads_overrides.c4.sources.tfds import TfdsSource

        return TfdsSource(folder)
    from workloads_overrides.c4.sources.jsonl import JsonlSource

    return JsonlSource(folder)


def _verify(reporter: "Reporter") -> int:
    from workloads_overrides.c4.digests import damaged_files
    from workloads_overrides.c4.meta import FOLDER

    folder = Path(FLAGS.data_dir).expanduser() / FOLDER
    problems = damaged_files(folder, lambda name, done: reporter.update("c4", done, name))
    for problem in problems:
        reporter.note(problem)
    if not problems:
        reporter.end("c4", f"{folder} is undamaged")
    return 1 if problems else 0


if __name__ == "__main__":
    run_main(main, on_interrupt=GOES_ON)
