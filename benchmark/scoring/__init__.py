"""Time-to-target scoring of log trees: `score_tree(root)`."""

from benchmark.scoring.facts import FACTS
from benchmark.scoring.scores import Scores, score_tree
from benchmark.scoring.selection import submission_names
from benchmark.scoring.targets import Target

__all__ = ["FACTS", "Scores", "Target", "score_tree", "submission_names"]
