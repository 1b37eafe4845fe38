"""Conditions of many recordings against each other: what counts as one value, and the result in words."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.report.numbers import format_value
from calcium_helpers.stats.compare import adjust, compare

FEWEST_UNITS = 3
ALPHA = 0.05


class Conditions(NamedTuple):
    """Condition ``b`` against ``a``: ``about`` in sentences, ``table`` as `stats.compare` gives it, with ``words``."""

    a: str
    b: str
    about: list[str]
    table: pd.DataFrame


def compare_conditions(cells: pd.DataFrame, quality: pd.DataFrame) -> list[Conditions]:
    """Compare each pair of conditions, with the largest unit that there are enough of: subject, recording or cell.

    Parameters
    ----------
    cells : DataFrame
        One row a cell and measure, of all recordings: ``recording, condition, subject, roi, measure, unit, value``; condition
        and subject are empty where they were not given.
    quality : DataFrame
        The same of whole recordings, such as their noise: compared where recordings or subjects are.

    Returns
    -------
    list of Conditions
        Conditions in order of appearance; ``q`` is over all measures of all pairs. Empty for less than two conditions.
    """
    given = pd.concat([cells, quality])
    given = given[(given["condition"] != "") & given["value"].notna()]
    kind = "subject" if (given["subject"] != "").any() else "recording"
    given = given.assign(roi=given["subject"].where(given["subject"] != "", given["recording"]))
    # A recording counts once, however many cells it has, and a subject once a condition.
    keys = ["condition", "roi", "measure", "unit"]
    recordings = given.groupby([*keys, "recording"], sort=False)["value"].mean()
    units = recordings.groupby(keys, sort=False).mean().reset_index()
    cells = cells.assign(roi=cells.groupby(["recording", "roi"]).ngroup())
    pairs = [_compare_pair(a, b, units, cells, kind) for a, b in combinations(dict.fromkeys(given["condition"]), 2)]
    q = adjust(np.concatenate([pair.table["p"] for pair in pairs]).astype(float)) if pairs else np.zeros(0)
    found = []
    for pair in pairs:
        mine, q = np.split(q, [len(pair.table)])
        table = pair.table.assign(q=mine)
        told = zip(table[["n_a", "n_b"]].min(axis=1), table["effect"], mine, strict=True)
        found.append(pair._replace(table=table.assign(words=[_say(n, effect, q_, pair.b) for n, effect, q_ in told])))
    return found


def _compare_pair(a: str, b: str, units: pd.DataFrame, cells: pd.DataFrame, kind: str) -> Conditions:
    """Compare two conditions, and say what counts as one value."""
    rows = [units[units["condition"] == name] for name in (a, b)]
    names = [set(one["roi"]) for one in rows]
    n_a, n_b = map(len, names)
    both = names[0] & names[1]
    if paired := len(both) >= FEWEST_UNITS:
        left = len(names[0] ^ names[1])
        about = [
            f"{len(both)} subjects were recorded in both conditions, and each is compared with itself: one value a subject and "
            "condition, the mean of its recordings, each of these the mean over its cells."
            + (f" {left} with one condition only are left out." if left else "")
        ]
        rows, n_a, n_b = [one[one["roi"].isin(both)] for one in rows], len(both), len(both)
    elif min(n_a, n_b) >= FEWEST_UNITS:
        about = [
            f"{n_a} {kind}s against {n_b}: one value a {kind}, the mean over its cells. Cells of one recording are not "
            "independent (they share the animal, the day and the light), and do not count one by one."
        ]
        if both:
            about.append(f"{len(both)} of them are in both conditions, too few to be compared with themselves.")
    else:
        about = [
            f"Caution: {n_a} and {n_b} {kind}s are too few to compare {kind}s ({FEWEST_UNITS} a condition are needed), so "
            "cells are counted one by one. Cells of one recording are not independent: p and q are too small and the intervals "
            f"too short. What they tell is how these recordings differ, for whatever reason, not what {b} does."
        ]
        rows = [cells[cells["condition"] == name] for name in (a, b)]
        n_a, n_b = (one["roi"].nunique() for one in rows)
    least = 2 / (2**n_a if paired else comb(n_a + n_b, n_a))
    if least > ALPHA:
        about.append(
            f"So few values cannot give a p below {format_value(least)}, however they differ: look at intervals and effects."
        )
    return Conditions(a, b, about, compare(*rows, paired=paired))


def _say(n: int, effect: float, q: float, b: str) -> str:
    """Say in words what a row of the comparison tells."""
    if n < FEWEST_UNITS:
        return "too few values"
    return f"{'higher' if effect > 0 else 'lower'} in {b}" if q <= ALPHA else "not told apart"
