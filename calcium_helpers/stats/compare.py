"""Two recordings or conditions side by side: differences with their intervals, tests, effect sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

NEEDED = ("roi", "measure", "unit", "value")
COLUMNS = (
    "measure", "unit", "n_a", "n_b", "value_a", "value_b", "difference", "low", "high", "effect", "effect_name", "test",
    "p", "q",
)  # fmt: skip


def compare(a: pd.DataFrame, b: pd.DataFrame, *, paired: bool = False, confidence: float = 0.95) -> pd.DataFrame:
    """Compare each measure between two tables, as of two recordings or conditions.

    Unpaired: Mann-Whitney U, and Cliff's delta as effect (Cliff 1993, doi:10.1037/0033-2909.114.3.494): the chance that a value
    of ``b`` is above one of ``a``, less the chance that it is below. Paired: Wilcoxon's signed ranks over the rois that both
    have, and the matched-pairs rank-biserial correlation (Kerby 2014, doi:10.2466/11.IT.3.1): the share of ranks with a rise
    less that with a fall. Both effects run from -1 to 1. The interval of the difference of means is Student's t, unpaired with
    Welch's degrees of freedom: with few units the bootstrap's is too short.

    Parameters
    ----------
    a, b : DataFrame
        Tidy tables, as from `measure_cells`: one row a roi and measure with ``roi, measure, unit, value``. Rois are the units,
        and must be independent for the p to hold. What is not finite is left out.
    paired : bool
        Whether the same ``roi`` in both is the same unit.
    confidence : float
        Of the interval.

    Returns
    -------
    DataFrame
        One row a measure: ``measure, unit, n_a, n_b, value_a, value_b`` (means), ``difference`` (b - a), ``low, high, effect,
        effect_name, test, p, q`` (Benjamini-Hochberg over the measures). NaN where there are too few.

    Raises
    ------
    ValueError
        Where columns are missing, units differ, or a roi has a measure twice.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
    wide_a, wide_b = _widen(a, "a"), _widen(b, "b")
    units = pd.concat([a, b]).groupby("measure", sort=False)["unit"].unique()
    rows = []
    for measure, found in units.items():
        if len(found) > 1:
            raise ValueError(f"a and b must have the same units, got {measure} in {' and in '.join(map(str, found))}")
        x, y = (wide[measure].dropna() if measure in wide else pd.Series(dtype=float) for wide in (wide_a, wide_b))
        if paired:
            x, y = x.align(y, join="inner")
        compared = (_compare_pairs if paired else _compare_groups)(x.to_numpy(), y.to_numpy(), confidence)
        rows.append({"measure": measure, "unit": found[0], "n_a": len(x), "n_b": len(y), **compared})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(q=adjust(table["p"].to_numpy(dtype=float)))


def adjust(p: np.ndarray) -> np.ndarray:
    """Turn p into q: the share of false ones among all that are as small (Benjamini & Hochberg 1995); NaN stays NaN."""
    q, tested = np.full(len(p), np.nan), np.isfinite(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested])
    return q


def _widen(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Make one row a roi and one column a measure; NaN for what is not finite."""
    if missing := [column for column in NEEDED if column not in table]:
        raise ValueError(f"{name} lacks the columns {missing}; needed are {list(NEEDED)}")
    if (twice := table.duplicated(["roi", "measure"])).any():
        roi, measure = table.loc[twice, ["roi", "measure"]].iloc[0]
        raise ValueError(f"{name} must have each measure of a roi once, got {measure} of roi {roi} twice")
    wide = table.pivot(index="roi", columns="measure", values="value").astype(float)
    return wide.where(np.isfinite(wide))


def _compare_groups(x: np.ndarray, y: np.ndarray, confidence: float) -> dict[str, Any]:
    """Compare two samples."""
    row = _describe(x, y) | {"effect_name": "Cliff's delta", "test": "Mann-Whitney U"}
    if len(x) and len(y):
        test = stats.mannwhitneyu(y, x)
        row |= {"effect": 2 * test.statistic / (len(x) * len(y)) - 1, "p": test.pvalue}
    if min(len(x), len(y)) > 1 and (np.ptp(x) or np.ptp(y)):
        row["low"], row["high"] = _interval(row["difference"], (x, y), confidence)
    return row


def _compare_pairs(x: np.ndarray, y: np.ndarray, confidence: float) -> dict[str, Any]:
    """Compare matched values."""
    row = _describe(x, y) | {"effect_name": "rank-biserial correlation", "test": "Wilcoxon signed-rank"}
    steps = y - x
    if len(steps):
        ranks = stats.rankdata(np.abs(steps[steps != 0]))
        rises = np.sign(steps[steps != 0]) @ ranks
        row |= {"effect": rises / max(ranks.sum(), 1), "p": stats.wilcoxon(steps).pvalue if len(ranks) else 1.0}
    if len(steps) > 1 and np.ptp(steps):
        row["low"], row["high"] = _interval(row["difference"], (steps,), confidence)
    return row


def _interval(difference: float, samples: tuple[np.ndarray, ...], confidence: float) -> tuple[float, float]:
    """Student's t interval of a difference of means, with Welch's degrees of freedom of several samples."""
    parts = np.array([sample.var(ddof=1) / len(sample) for sample in samples])
    freedom = parts.sum() ** 2 / (parts**2 / [len(sample) - 1 for sample in samples]).sum()
    half = stats.t.ppf((1 + confidence) / 2, freedom) * parts.sum() ** 0.5
    return difference - half, difference + half


def _describe(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Means and their difference, and nothing yet of what needs more values."""
    value_a, value_b = (values.mean() if len(values) else np.nan for values in (x, y))
    unknown = dict.fromkeys(("low", "high", "effect", "p"), np.nan)
    return {"value_a": value_a, "value_b": value_b, "difference": value_b - value_a, **unknown}
