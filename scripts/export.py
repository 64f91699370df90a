"""Write optimizers of this repository as AlgoPerf entries, folders that stand alone.

Example: python scripts/export.py --submission=asgo --framework=jax --ruleset=self_tuning --output_dir=entries
"""  # noqa: E501

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.entries.layout import FRAMEWORKS, RULESETS
from benchmark.errors import UserError, run_main

FLAGS = flags.FLAGS

REPOSITORY = Path(__file__).resolve().parent.parent

flags.DEFINE_list("submission", None, "Names of optimizers, or all.", required=True)
flags.DEFINE_list("framework", list(FRAMEWORKS), f"Of {', '.join(FRAMEWORKS)}, or all.")
flags.DEFINE_list("ruleset", list(RULESETS), f"Of {', '.join(RULESETS)}, or all.")
flags.DEFINE_string(
    "output_dir", None, "Gets <ruleset>/<submission>_<framework>/ for each.", required=True
)
flags.DEFINE_boolean("overwrite", False, "Replace entries that are there.")


def main() -> int:
    from benchmark.entries.export import Request, check_places, export
    from submissions.common.hyperparameters import make_run
    from submissions.registry import OPTIMIZERS

    output_dir = Path(FLAGS.output_dir).expanduser().resolve()
    requests = []
    for name in _chosen("submission", list(OPTIMIZERS)):
        optimizer = OPTIMIZERS[name]
        values = {
            "self_tuning": dict(make_run(name, None).values),
            "external_tuning": optimizer.hyperparameters,
        }
        requests += [
            Request(name, framework, ruleset, optimizer.source, values[ruleset])
            for framework in _chosen("framework", list(FRAMEWORKS))
            for ruleset in _chosen("ruleset", list(RULESETS))
        ]
    check_places(requests, output_dir, FLAGS.overwrite)
    for request in requests:
        print(export(request, output_dir, REPOSITORY, FLAGS.overwrite), flush=True)
    return 0


def _chosen(flag: str, allowed: list[str]) -> list[str]:
    """The values of a flag, each once."""
    given = list(dict.fromkeys(getattr(FLAGS, flag))) or [""]
    if given == ["all"]:
        return allowed
    for value in given:
        if value not in allowed:
            raise UserError(f"--{flag}: {value!r} is unknown; allowed: all, {', '.join(allowed)}")
    return given


if __name__ == "__main__":
    run_main(main)
