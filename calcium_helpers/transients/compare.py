"""Events before and after, neuron by neuron, and what tells two kinds of events apart in neurons not seen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.stats.compare import compare
from calcium_helpers.transients.features import FEATURES

UNITS = {
    "area_px": "px", "area_um2": "um^2", "duration_s": "s", "rise_s": "s", "decay_s": "s", "near_per_min": "1/min",
    "nearest_px": "px", "events": "1", "event_rate": "1/min", "intensity_mean": "a.u.", "intensity_max": "a.u.",
    "intensity_integrated": "a.u. px s",
}  # fmt: skip
FEWEST_NEURONS = 2


class Distinction(NamedTuple):
    """How well a label can be told from features in neurons that were not learned from.

    ``score`` balanced accuracy (0.5 for two labels by chance); ``null`` (n,) the same with permuted labels; ``p`` the share of
    these (and itself) that reach it; ``importance``: ``feature, drop`` of the score when the feature is shuffled.
    """

    score: float
    null: np.ndarray
    p: float
    importance: pd.DataFrame


def compare_conditions(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    neuron: str = "neuron",
    duration_s: tuple[float, float] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare events of the same neurons before and after: number, rate and mean of each feature.

    Neurons are the units, not events, as events of one neuron are not independent. See `stats.compare`.

    Parameters
    ----------
    before, after : DataFrame
        As `measure_events` gives them, with a column that names the neuron. Neurons of one table alone have no events in
        the other: their number counts there as 0, their features are left out. So are events whose neuron is missing (NaN).
    neuron : str
        Name of that column.
    duration_s : tuple of 2 floats, optional
        Length of what was recorded before and after of each neuron, seconds: adds the rate; needed where they differ.
    confidence : float
        Of the intervals.

    Returns
    -------
    DataFrame
        One row a measure (``events``, ``event_rate``, features), as `stats.compare` with ``paired=True``: means, difference
        with interval, rank-biserial correlation, Wilcoxon's p, and q over the measures. Intensities are in units of the
        movie (a.u.).

    Raises
    ------
    ValueError
        Where the column of neurons is missing, or a duration is not above 0.
    """
    for name, table in (("before", before), ("after", after)):
        if neuron not in table:
            raise ValueError(f"{name} needs the column {neuron!r} that names the neuron, got {list(table.columns)}")
    if duration_s is not None and (len(duration_s) != 2 or not all(0 < s < np.inf for s in duration_s)):
        raise ValueError(f"duration_s must be two lengths above 0 (before, after), got {duration_s!r}")
    neurons = pd.concat([before[neuron], after[neuron]]).dropna().unique()
    minutes = (None, None) if duration_s is None else (duration_s[0] / 60, duration_s[1] / 60)
    a, b = (_by_neuron(table, neuron, neurons, length) for table, length in zip((before, after), minutes, strict=True))
    return compare(a, b, paired=True, confidence=confidence)


def what_distinguishes(
    features: pd.DataFrame,
    label: Sequence[Any] | np.ndarray | pd.Series,
    neuron: Sequence[Any] | np.ndarray | pd.Series,
    *,
    n_permutations: int = 99,
    folds: int = 5,
    seed: int = 0,
) -> Distinction:
    """Tell labels of events from their features, learning on some neurons and asking others.

    Logistic regression of z-scored features (medians for NaN) with classes weighted alike; neurons are split into folds, and
    the score is of all predictions together. Under the null, labels are permuted within neurons, or among neurons where each
    neuron has one label only.

    Parameters
    ----------
    features : DataFrame
        N events, numbers only, as ``measure_events(...)[list(FEATURES)]`` or what `prune_correlated` leaves.
    label : sequence, shape (N,)
        What to tell, such as the fate of each event's site.
    neuron : sequence, shape (N,)
        Neuron of each event.
    n_permutations : int
        Permutations; p is at least ``1 / (n_permutations + 1)``.
    folds : int
        Most folds; no more than neurons.
    seed : int
        Seed of the permutations.

    Returns
    -------
    Distinction

    Raises
    ------
    ValueError
        For lengths that differ, fewer than two labels or two neurons, no feature that is ever known, or folds whose training
        neurons have one label only.
    """
    y, groups = np.asarray(label), np.asarray(neuron)
    if not len(features) == len(y) == len(groups):
        raise ValueError(f"features, label and neuron must be one an event, got {len(features)}, {len(y)} and {len(groups)}")
    if len(np.unique(y)) < 2 or len(np.unique(groups)) < FEWEST_NEURONS:
        raise ValueError(
            f"label and neuron must have two values at least, got {len(np.unique(y))} and {len(np.unique(groups))}"
        )
    x = features.to_numpy(dtype=float)
    x = np.where(np.isfinite(x), x, np.nan)
    kept = np.isfinite(x).any(axis=0)
    if not kept.any():
        raise ValueError(f"features must have a column with finite numbers, got {list(features.columns)}")
    x = x[:, kept]
    rng = np.random.default_rng(seed)
    splits = _split_neurons(x, y, groups, folds)
    models = _fit(x, y, splits)
    score = _score(models, x, y, splits)
    null = np.zeros(n_permutations)
    for i in range(n_permutations):
        permuted = _permute(y, groups, rng)
        null[i] = _score(_fit(x, permuted, splits), x, permuted, splits)
    drops = []
    for column in range(x.shape[1]):
        shuffled = np.repeat(x[None], 5, axis=0)
        for copy in shuffled:
            copy[:, column] = rng.permutation(copy[:, column])
        drops.append(score - np.mean([_score(models, copy, y, splits) for copy in shuffled]))
    importance = pd.DataFrame({"feature": features.columns[kept], "drop": drops}).sort_values("drop", ascending=False)
    p = (1 + (null >= score).sum()) / (1 + n_permutations)
    return Distinction(score, null, float(p), importance.reset_index(drop=True))


def _by_neuron(table: pd.DataFrame, neuron: str, neurons: np.ndarray, minutes: float | None) -> pd.DataFrame:
    """Make a tidy table with one value a neuron and measure."""
    grouped = table.groupby(neuron)
    wide = grouped[[name for name in FEATURES if name in table]].mean().reindex(neurons)
    counts = grouped.size().reindex(neurons, fill_value=0)
    wide.insert(0, "events", counts)
    if minutes is not None:
        wide.insert(1, "event_rate", counts / minutes)
    tidy = wide.rename_axis("roi").reset_index().melt("roi", var_name="measure")
    return tidy.assign(unit=tidy["measure"].map(UNITS).fillna("1"))


def _split_neurons(x: np.ndarray, y: np.ndarray, groups: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold

    splits = list(GroupKFold(min(folds, len(np.unique(groups)))).split(x, y, groups))
    if any(len(np.unique(y[train])) < 2 for train, _ in splits):
        raise ValueError(
            "label must have two values among the neurons outside each fold; more neurons or fewer folds are needed"
        )
    return splits


def _fit(x: np.ndarray, y: np.ndarray, splits: list[tuple[np.ndarray, np.ndarray]]) -> list[Any]:
    """Fit a model outside each fold."""
    from sklearn.dummy import DummyClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = []
    for train, _ in splits:
        # Permuted among few neurons, labels may leave one only outside a fold.
        last = LogisticRegression(class_weight="balanced") if len(np.unique(y[train])) > 1 else DummyClassifier()
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        models.append(make_pipeline(imputer, StandardScaler(), last).fit(x[train], y[train]))
    return models


def _score(models: list[Any], x: np.ndarray, y: np.ndarray, splits: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Balanced accuracy of the predictions of all folds together."""
    from sklearn.metrics import balanced_accuracy_score

    told = np.empty_like(y)
    for model, (_, test) in zip(models, splits, strict=True):
        told[test] = model.predict(x[test])
    return float(balanced_accuracy_score(y, told))


def _permute(y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Permute labels within neurons, or those of whole neurons where each has one."""
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    if all(len(np.unique(y[member == k])) == 1 for k in range(len(names))):
        return rng.permutation(y[first])[member]
    permuted = y.copy()
    for k in range(len(names)):
        permuted[member == k] = rng.permutation(y[member == k])
    return permuted
