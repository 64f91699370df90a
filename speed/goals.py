"""What the steps shall reach, decided from the table of their times at one thread.

Every goal is a pure function of the table of `speed.table`: a list of `Verdict`s, one per contender
and model that it can be decided for, empty where nothing that it needs was timed.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from speed.tensors import copies

PEERS_AT_MOST = {"pytorch": 0.85, "jax": 0.4}
PEERS_ON = ("ogbg", "wmt_no_embedding", "imagenet_vit", "llama_60m")
FLOOR_AT_MOST = {"ogbg": 2.5, "imagenet_vit": 1.5, "llama_60m": 1.5}
ASGO_AT_MOST = 0.4
COMPILED_ON = ("ogbg", "imagenet_vit", "llama_60m")
COMPILED_BELOW_S, COMPILED_AT_MOST = 5.0, 2.5
PEAK_BELOW = 1.5
STACKS_AT_MOST = 1.5
RANKS, RANK_AT_MOST = 2, 0.6
COPIES_AT_MOST = 1.2
# Of the state beside the formulas: a step count or two for each parameter group.
SCALARS_MB = 1e-4

Row = Mapping[str, Any]


class Verdict(NamedTuple):
    """figure: what was reached; limit: in words; reached; who: contender and model, and what else
    there is to say."""

    figure: float
    limit: str
    reached: bool
    who: str


def fastest_peer(table: pd.DataFrame) -> list[Verdict]:
    """Goal 1: Shampoo's and SOAP's amortised step / the fastest peer's."""
    found = []
    for row in _ours(table, "shampoo", "soap"):
        peers = [
            other
            for other in _rows(table)
            if _place(other) == _place(row)
            and other["family"] == row["family"]
            and other["contender"] != row["contender"]
        ]
        if row["model"] in PEERS_ON and peers:
            fastest = min(peers, key=lambda other: other["amortised_ms"])
            figure = row["amortised_ms"] / fastest["amortised_ms"]
            limit = PEERS_AT_MOST[row["framework"]]
            who = f"{_who(row)}, against {fastest['contender']}"
            found.append(_at_most(figure, limit, who))
    return found


def close_to_the_floor(table: pd.DataFrame) -> list[Verdict]:
    """Goal 2: a step without refresh / its floor."""
    return [
        _at_most(row["over_floor"], FLOOR_AT_MOST[row["model"]], _who(row))
        for row in _ours(table)
        if row["model"] in FLOOR_AT_MOST and not row["staggered"]
    ]


def one_side_is_cheap(table: pd.DataFrame) -> list[Verdict]:
    """Goal 3: ASGO's amortised step / Shampoo's on ogbg."""
    shampoos = {_place(row): row for row in _ours(table, "shampoo")}
    return [
        _at_most(
            row["amortised_ms"] / shampoos[_place(row)]["amortised_ms"], ASGO_AT_MOST, _who(row)
        )
        for row in _ours(table, "asgo")
        if row["model"] == "ogbg" and _place(row) in shampoos
    ]


def compiles_fast(table: pd.DataFrame) -> list[Verdict]:
    """Goal 4: JAX compiles and takes one step in so many seconds, and / AdamW's."""
    adamw = {
        _place(row): _first_step_s(row) for row in _rows(table) if row["contender"] == "optax_adamw"
    }
    found = []
    for row in _ours(table):
        if row["framework"] == "jax" and row["model"] in COMPILED_ON:
            seconds = _first_step_s(row)
            below = f"below {COMPILED_BELOW_S:g} s"
            found.append(Verdict(seconds, below, seconds < COMPILED_BELOW_S, _who(row)))
            if _place(row) in adamw:
                who = f"{_who(row)}, against optax_adamw"
                found.append(_at_most(seconds / adamw[_place(row)], COMPILED_AT_MOST, who))
    return found


def steps_are_even(table: pd.DataFrame) -> list[Verdict]:
    """Goal 5: the longest step of a staggered run / its median.

    Where the refresh of a single matrix takes longer than a step, no order of refreshes can help;
    such rows are told and do not count as missed.
    """
    found = []
    for row in _ours(table):
        if row["staggered"] and not pd.isna(row["refresh_floor_ms"]):
            figure = row["max_over_p50"]
            excepted = row["matrix_refresh_ms"] > row["p50_ms"]
            note = f", excepted: one refresh takes {row['matrix_refresh_ms']:.3g} ms or more"
            who = _who(row) + (note if excepted else "")
            reached = excepted or figure < PEAK_BELOW
            found.append(Verdict(figure, f"below {PEAK_BELOW:g}", reached, who))
    return found


def memory_as_stated(table: pd.DataFrame) -> list[Verdict]:
    """Goal 6: bytes of the state / the formula's, and memory beside it / the largest stack."""
    found = []
    for row in _ours(table):
        exact = abs(row["state_mb"] - row["formula_mb"]) <= SCALARS_MB
        figure = row["state_mb"] / row["formula_mb"]
        found.append(Verdict(figure, "the formula's state, 1", exact, _who(row)))
        who = f"{_who(row)}, memory beside the state in largest stacks"
        found.append(_at_most(row["temporary_mb"] / row["stack_mb"], STACKS_AT_MOST, who))
    return found


def refreshes_are_shared(table: pd.DataFrame) -> list[Verdict]:
    """Goal 7: by how much a refresh prolongs a step, in the slowest of two ranks / in one process;
    and the matrices that one of several devices decomposes / an even share, rounded up."""
    found = []
    for row in _ours(table):
        ranks = [
            other
            for other in table.to_dict("records")
            if (other["ranks"], other["threads"]) == (RANKS, 1)
            and (_place(other), other["contender"]) == (_place(row), row["contender"])
        ]
        if ranks:
            alone = _refresh_cost_ms(row)
            # Of a tiny model it may be lost in the noise.
            figure = max(map(_refresh_cost_ms, ranks)) / alone if alone > 0 else math.nan
            shares = " and ".join(f"{rank['refresh_share']:.3g}" for rank in ranks)
            # Without a refresh they do what one process does: more time is what they disturb
            # each other by, or others both.
            slower = max(rank["plain_ms"] for rank in ranks) / row["plain_ms"]
            who = f"{_who(row)}, {RANKS} ranks, shares by count {shares}"
            who += f", steps without refresh {slower:.3g} times as long"
            found.append(_at_most(figure, RANK_AT_MOST, who))
        if not pd.isna(row["over_share"]):
            who = f"{_who(row)}, {row['devices']} devices, matrices of a stack:"
            found.append(_at_most(row["over_share"], 1, f"{who} {row['device_shares']}"))
    return found


def costs_scale(table: pd.DataFrame) -> list[Verdict]:
    """Goal 8: the largest cost per parameter / the smallest, over models of different numbers of
    matrices of one shape."""
    groups: dict[Any, dict[int, Row]] = {}
    for row in _ours(table):
        if found := copies(row["model"]):
            number, shape = found
            groups.setdefault((row["framework"], row["contender"], shape), {})[number] = row
    verdicts = []
    for (framework, contender, shape), rows in groups.items():
        numbers = sorted(rows)
        kinds = {"plain_ms": "step without refresh", "amortised_ms": "amortised step"}
        if all(rows[n]["plain_ms"] == rows[n]["amortised_ms"] for n in numbers):
            del kinds["amortised_ms"]
        for column, kind in kinds.items() if len(rows) > 1 else ():
            costs = [1e6 * rows[n][column] / rows[n]["parameters"] for n in numbers]
            if any(map(pd.isna, costs)):
                continue
            model = f"{', '.join(map(str, numbers))} matrices of {'x'.join(map(str, shape))}"
            told = ", ".join(f"{cost:.3g}" for cost in costs)
            who = f"{contender} on {model} in {framework}, {kind}: {told} ns per parameter"
            verdicts.append(_at_most(max(costs) / min(costs), COPIES_AT_MOST, who))
    return verdicts


GOALS: dict[int, Callable[[pd.DataFrame], list[Verdict]]] = {
    1: fastest_peer,
    2: close_to_the_floor,
    3: one_side_is_cheap,
    4: compiles_fast,
    5: steps_are_even,
    6: memory_as_stated,
    7: refreshes_are_shared,
    8: costs_scale,
}


def lines(table: pd.DataFrame) -> tuple[list[str], bool]:
    """One line per verdict, and whether no goal that could be decided was missed."""
    told, reached = [], True
    for number, goal in GOALS.items():
        verdicts = goal(table)
        if not verdicts:
            told.append(f"goal {number}: not timed")
        for verdict in verdicts:
            reached &= verdict.reached
            missed = "" if verdict.reached else ", MISSED"
            told.append(
                f"goal {number}: {verdict.figure:.3g} ({verdict.limit}) {verdict.who}{missed}"
            )
    # Only decompositions tell how many matrices they take.
    told += [
        f"goal 7: not counted: {_who(row)} decomposes nothing in a refresh"
        for row in _ours(table)
        if row["devices"] > 1 and pd.isna(row["over_share"])
    ]
    return told, reached


def _rows(table: pd.DataFrame) -> Iterator[Row]:
    """Rows of one process with one thread."""
    for row in table.to_dict("records"):
        if (row["threads"], row["ranks"]) == (1, 1):
            yield row


def _ours(table: pd.DataFrame, *names: str) -> Iterator[Row]:
    """Rows of this project's optimizers of these names, of all where none is given."""
    for row in _rows(table):
        if row["contender"] == row["family"] and (not names or row["contender"] in names):
            yield row


def _place(row: Row) -> tuple[str, str]:
    return row["framework"], row["model"]


def _who(row: Row) -> str:
    return f"{row['contender']} on {row['model']} in {row['framework']}"


def _refresh_cost_ms(row: Row) -> float:
    return row["refresh_ms"] - row["plain_ms"]


def _first_step_s(row: Row) -> float:
    step_ms = row["p50_ms"] if row["staggered"] else row["plain_ms"]
    return row["compile_s"] + step_ms / 1e3


def _at_most(figure: float, limit: float, who: str) -> Verdict:
    return Verdict(figure, f"at most {limit:g}", figure <= limit, who)
