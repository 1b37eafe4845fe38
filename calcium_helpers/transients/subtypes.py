"""Kinds of events: features that say the same left out, then clusters, as many as are found again in resampled events."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

METHODS = ("k-means", "gaussian")
FEWEST_MEMBERS = 5
"""Events a cluster, on average, for a number of clusters to be tried."""
FEWEST_SHARED = 10
"""Events in which two features must both be known for them to be found alike: few ranks agree by chance."""
RESAMPLED = 20
NULLS = 19
RESAMPLED_NULL = 5


class Pruned(NamedTuple):
    """``features`` that are left, and what was ``dropped``: ``feature, because_of, r`` (empty and NaN for constant ones)."""

    features: pd.DataFrame
    dropped: pd.DataFrame


class Subtypes(NamedTuple):
    """Clusters of events.

    ``labels`` (N,): 0 for the largest and on, -1 for an event with a feature missing; ``k`` clusters; ``stability`` mean
    adjusted Rand index (1: always the same) of clusterings of resampled events with this one; ``choice``: ``k, stability,
    null_mean, null_high`` (mean and most of one cloud) of what was tried; ``centres``: mean of each feature by cluster, in its
    own unit.
    """

    labels: np.ndarray
    k: int
    stability: float
    choice: pd.DataFrame
    centres: pd.DataFrame


def prune_correlated(features: pd.DataFrame, *, limit: float = 0.95) -> Pruned:
    """Leave out each feature that says the same as one before it.

    Parameters
    ----------
    features : DataFrame
        N events, numbers only; the first of two alike is kept, so put first what should stay.
    limit : float
        Features with a rank correlation (Spearman) of more than this, of either sign, are alike; in (0, 1].

    Returns
    -------
    Pruned
        Constant features are dropped too.

    Raises
    ------
    ValueError
        For a limit out of range.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"limit must lie in (0, 1], got {limit}")
    names = list(features.columns)
    r = features.corr("spearman", min_periods=FEWEST_SHARED).to_numpy()
    kept: list[int] = []
    dropped: list[tuple[Any, Any, float]] = []
    for i, name in enumerate(names):
        nearest = max(kept, key=lambda j: np.nan_to_num(abs(r[i, j])), default=i)
        if features[name].nunique() < 2:
            dropped.append((name, "", np.nan))
        elif nearest != i and abs(r[i, nearest]) > limit:
            dropped.append((name, names[nearest], float(r[i, nearest])))
        else:
            kept.append(i)
    return Pruned(features.iloc[:, kept], pd.DataFrame(dropped, columns=["feature", "because_of", "r"]))


def find_subtypes(
    features: pd.DataFrame, *, k: int | None = None, method: str = "k-means", max_k: int = 6, seed: int = 0
) -> Subtypes:
    """Cluster events by their features, and say how stable the clusters are.

    Features are z-scored. Events are resampled with replacement and clustered again; stability is how well the clusters of the
    new fit agree with the first on all events (adjusted Rand index, Hubert & Arabie 1985, doi:10.1007/BF01908075). Without
    ``k``, numbers count whose stability exceeds that of all of 19 draws of one Gaussian cloud of the same covariance (by
    chance, each tried does so once in twenty): of these the one that exceeds their mean by most, and 1 where there is none.
    A cloud of another shape, as of skewed features, may still be cut: take logarithms first.

    Parameters
    ----------
    features : DataFrame
        N events, numbers only.
    k : int, optional
        Number of clusters.
    method : {"k-means", "gaussian"}
        K-means, or a mixture of Gaussians with full covariances.
    max_k : int
        Most clusters tried.
    seed : int
        Seed of resampling and starts.

    Returns
    -------
    Subtypes

    Raises
    ------
    ValueError
        For an unknown method, or ``k`` out of 1..number of complete events.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    values = features.replace([np.inf, -np.inf], np.nan)
    complete = np.flatnonzero(values.notna().all(axis=1))
    x = values.iloc[complete].to_numpy(dtype=float)
    if k is not None and not 1 <= k <= max(len(x), 1):
        raise ValueError(f"k must be between 1 and the {len(x)} complete events, got {k}")
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1) if len(x) else x
    rng = np.random.default_rng(seed)
    tried = range(2, min(max_k, len(x) // FEWEST_MEMBERS) + 1) if k is None else [k] if k > 1 else []
    choice = pd.DataFrame(
        [_try(x, n, method, rng) for n in tried], columns=["k", "stability", "null_mean", "null_high"], dtype=float
    )
    choice = choice.astype({"k": int})
    if k is None:
        stable = choice[choice["stability"] > choice["null_high"]]
        excess = (stable["stability"] - stable["null_mean"]).to_numpy()
        k = int(stable["k"].iloc[excess.argmax()]) if len(stable) else min(len(x), 1)
    own = _fit(x, k, method, 0).predict(x) if k > 1 else np.zeros(len(x), dtype=int)
    own = np.argsort(np.argsort(-np.bincount(own, minlength=k), kind="stable"))[own] if len(x) else own
    labels = np.full(len(features), -1)
    labels[complete] = own
    stability = float(choice.loc[choice["k"] == k, "stability"].iloc[0]) if k > 1 else 1.0
    centres = values.iloc[complete].groupby(own).mean().rename_axis("subtype")
    return Subtypes(labels, k, stability, choice, centres)


def _try(x: np.ndarray, k: int, method: str, rng: np.random.Generator) -> tuple[int, float, float, float]:
    """Stability of k clusters, and the mean and the most of what draws of one Gaussian cloud reach."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # so small a task is slower on many threads
        stability = _stability(x, k, method, RESAMPLED, rng)
        cloud = np.atleast_2d(np.cov(x, rowvar=False))
        draws = [rng.multivariate_normal(np.zeros(x.shape[1]), cloud, size=len(x), method="eigh") for _ in range(NULLS)]
        null = [_stability(draw, k, method, RESAMPLED_NULL, rng) for draw in draws]
        return k, stability, float(np.mean(null)), max(null)


def _stability(x: np.ndarray, k: int, method: str, n: int, rng: np.random.Generator) -> float:
    from sklearn.metrics import adjusted_rand_score

    own = _fit(x, k, method, 0).predict(x)
    again = (_fit(x[rng.integers(len(x), size=len(x))], k, method, i).predict(x) for i in range(n))
    return float(np.mean([adjusted_rand_score(own, labels) for labels in again]))


def _fit(x: np.ndarray, k: int, method: str, seed: int) -> Any:
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    if method == "k-means":
        return KMeans(k, n_init=4, random_state=seed).fit(x)
    # The ridge keeps a cluster of few or equal events from collapsing.
    return GaussianMixture(k, n_init=2, reg_covar=1e-3, random_state=seed).fit(x)
