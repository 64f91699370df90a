"""The tables for a paper or a README: scores.md and scores.tex."""

import re

import pandas as pd

from benchmark.report import format as fmt
from benchmark.report.entries import columns
from benchmark.report.leaderboard import leaderboard, times
from benchmark.report.statement import caveat, how_scored, mixed_line, result, target_lines
from benchmark.scoring import Scores

PREAMBLE = r"""% \usepackage{booktabs, longtable}
% Wide tables: \usepackage{pdflscape} and the landscape environment, or \small.
"""
MIXED = r"\textbf{Mixed runs: times do not compare.}"
NO_CREDIT = "*"
LEGEND = (
    "Time to target in seconds, median over studies; - not reached; * reached, but without credit. "
    "Speed-up: the baseline's time / the submission's, above 1 is faster; over all workloads, a "
    "miss as the budget plus 1 s, with its 95 % bootstrap interval over studies, and over the "
    "workloads that both reach, with their number."
)


def as_markdown(scores: Scores) -> str:
    """Both tables with how they were scored. Names are escaped, for none is meant as markup."""
    parts = ["# Time to target", _escaped(result(scores))]
    parts += [f"**{_escaped(line)}**" for line in [mixed_line(scores)] if line]
    parts += [_escaped(line) for line in [caveat(scores)] if line]
    told = how_scored(scores).items()
    parts.append("\n".join(f"* {heading}: {_escaped(text)}." for heading, text in told))
    parts += ["## Leaderboard", _markdown_table(leaderboard_table(scores)), _escaped(LEGEND)]
    parts += ["## Entries", _markdown_table(entries_table(scores))]
    parts.append("\n".join(f"* {_escaped(line)}" for line in target_lines(scores)))
    return "\n\n".join(parts) + "\n"


def as_latex(scores: Scores) -> str:
    """Both tables, to be put in with \\input; the comment in front names the packages needed."""
    entries = entries_table(scores)
    comments = [result(scores), mixed_line(scores), caveat(scores)]
    comments += [f"{heading}: {text}" for heading, text in how_scored(scores).items()]
    comments += [LEGEND, *target_lines(scores)]
    # A line end in a name would end the comment.
    lines = "".join(f"% {' '.join(text.split())}\n" for text in comments if text)
    mark = f"{MIXED}\n\n" if scores.mixed else ""
    return (
        f"{PREAMBLE}{lines}\n{mark}{_latex_table(leaderboard_table(scores))}\n"
        f"{_latex_table(entries, longtable=True)}"
    )


def leaderboard_table(scores: Scores) -> pd.DataFrame:
    """Text: place, submission, score, workloads with credit, speed-ups, times of base workloads."""
    cells = times(scores)
    rows = []
    for place in leaderboard(scores):
        row = {
            "#": str(place.rank),
            "submission": place.submission,
            "score": fmt.score(place.score),
            "credit": f"{place.credited} of {len(scores.base_targets)}",
        }
        for speedup in place.speedups:
            row[f"speed-up over {speedup.baseline}"] = speedup.over_all_text
            row[f"where both reach: {speedup.baseline}"] = speedup.over_both_text
        for workload in scores.base_targets:
            cell = cells[place.submission][workload]
            lost = cell.seconds >= 0 and cell.seconds < float("inf") and cell.no_credit
            row[f"{workload} (s)"] = fmt.seconds(cell.seconds) + (NO_CREDIT if lost else "")
        rows.append(row)
    return pd.DataFrame(rows)


def entries_table(scores: Scores) -> pd.DataFrame:
    """Text: `entries.columns` with their spread."""
    return pd.DataFrame({column.name: column.cells for column in columns(scores, spread=True)})


def _markdown_table(table: pd.DataFrame) -> str:
    text = table.map(_escaped).rename(columns=_escaped)
    # Without numbers: text that looks like one, such as a submission called 1e3, stays as it is.
    aligned = ["left" if _is_name(name) else "right" for name in table.columns]
    return text.to_markdown(index=False, disable_numparse=True, colalign=aligned)


def _latex_table(table: pd.DataFrame, *, longtable: bool = False) -> str:
    aligned = "".join("l" if _is_name(name) else "r" for name in table.columns)
    return table.to_latex(index=False, escape=True, longtable=longtable, column_format=aligned)


def _is_name(column: str) -> bool:
    return column in ("submission", "workload", "no credit")


def _escaped(text: str) -> str:
    """Without what Markdown would take for markup; an underscore inside a word is none."""
    text = re.sub(r"([\\`*<>|\[\]&~$])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
