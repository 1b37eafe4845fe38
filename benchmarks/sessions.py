"""The same cells on two days: simulated days with truth, beside what less alignment or centroids alone reach.

Each pair of days is a field of 300 cells that is rotated by 1 to 3 degrees, shifted by up to 15 px and warped by up to 4 px;
on each day 20 to 40 % of its cells are not found, and those found are drawn anew. F1, precision and recall of the pairs are
means over the seeds (sd).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
from _table import write_table
from known_answers.days import Days, draw_days

from calcium_helpers import register_sessions
from calcium_helpers.metrics import match_points
from calcium_helpers.sessions import SessionMatch

NEAR_PX = 6.0  # half a cell
LOST = (0.2, 0.4)


def register(days: Days, alignment: str) -> SessionMatch:
    """Match, without a word where nothing agrees."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return register_sessions(days.a, days.b, alignment=alignment)


def by_centroid(match: SessionMatch) -> np.ndarray:
    """Pairs (ids of a, of b) of centroids no further than ``NEAR_PX`` apart, of least total distance."""
    rows = match_points(match.a.centroids, match.aligned.centroids, max_distance_px=NEAR_PX).pairs
    return np.column_stack([match.a.ids[rows[:, 0]], match.aligned.ids[rows[:, 1]]])


METHODS: dict[str, Callable[[dict[str, SessionMatch]], np.ndarray]] = {
    "rotation, shift and blocks": lambda match: match["non-rigid"].pairs,
    "rotation and shift only": lambda match: match["rigid"].pairs,
    "not aligned": lambda match: match["none"].pairs,
    "aligned, nearest centroids": lambda match: by_centroid(match["non-rigid"]),
    "not aligned, nearest centroids": lambda match: by_centroid(match["none"]),
}


def score(pairs: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """F1, precision and recall."""
    right = len(set(map(tuple, pairs.tolist())) & set(map(tuple, truth.tolist())))
    return 2 * right / (len(pairs) + len(truth)), right / max(len(pairs), 1), right / len(truth)


def main() -> None:
    """Draw days, match them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--dry-run", action="store_true", help="print the scores of each seed, write nothing")
    options = parser.parse_args()
    scores: dict[str, list[tuple[float, float, float]]] = {name: [] for name in METHODS}
    unrelated, sums = [], []
    for seed in options.seeds:
        days = draw_days(seed, lost=float(np.random.default_rng(seed).uniform(*LOST)))
        match = {name: register(days, name) for name in ("non-rigid", "rigid", "none")}
        for name, method in METHODS.items():
            scores[name].append(score(method(match), days.pairs))
        other = Days(days.a, draw_days(seed + 1000).b, days.pairs, days.moved)
        unrelated.append(len(register(other, "non-rigid").pairs))
        right = scores["rotation, shift and blocks"][-1][1] * len(match["non-rigid"].pairs)
        sums.append((match["non-rigid"].probability.sum(), right))
    print(f"pairs in unrelated fields: {unrelated}; right pairs expected and true: {np.round(sums, 1).tolist()}")
    rows = [
        {
            "method": name,
            **{key: f"{np.mean(of):.2f} ± {np.std(of, ddof=1):.2f}" for key, of in columns},
            "pairs of days": len(values),
        }
        for name, values in scores.items()
        for columns in [list(zip(("F1", "precision", "recall"), zip(*values, strict=True), strict=True))]
    ]
    if options.dry_run:
        print(*rows, sep="\n")
    else:
        write_table("sessions", rows, "python benchmarks/sessions.py")


if __name__ == "__main__":
    main()
