"""Time-to-target scoring of log trees: `score_tree(root)`."""

from benchmark.scoring.facts import FACTS
from benchmark.scoring.profile import INTEGRALS
from benchmark.scoring.scores import Scores, score_tree
from benchmark.scoring.selection import submission_names
from benchmark.scoring.targets import Target
from benchmark.scoring.time_to_target import MODES

__all__ = ["FACTS", "INTEGRALS", "MODES", "Scores", "Target", "score_tree", "submission_names"]
