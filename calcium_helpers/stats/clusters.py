"""Groups of cells that are active together, and kinds of events: how many, if any, and how stable."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from scipy.stats import t as student

from calcium_helpers.containers import Events, Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.stats.gaps import draw_without_gaps
from calcium_helpers.stats.shuffles import shift_rows, standardise

_METHODS = ("hierarchical", "k-means")
_FEWEST_MEMBERS = 3  # on average, for a number of clusters to be tried
_MOST_CHOSEN_FROM = 500  # rows that the number of clusters is chosen from
_MOST_CLUSTERED = 2000  # rows that are clustered; others go to the nearest centre
_NULLS = 12
_BOOTSTRAPS = 20
_BLOCK_S = 10.0  # resampled as one, longer than transients


class Clustering(NamedTuple):
    """Groups of rows (cells or events), or one group where nothing parts them.

    ``labels`` (N,) 0 for the largest cluster and on, -1 for rows that say nothing; ``ids`` (N,); ``order`` (N,) rows as they
    are drawn, by cluster and then by likeness, -1 last; ``method`` "hierarchical" (Ward), "k-means", or "one cluster";
    ``choice`` what was tried: ``method, n_clusters, silhouette, null_high`` (the bound that data without gaps stay below);
    ``stability`` (n_clusters,) mean Jaccard overlap with the most alike cluster of resampled data; ``features`` (N rows) what
    was clustered.
    """

    labels: np.ndarray
    ids: np.ndarray
    order: np.ndarray
    method: str
    n_clusters: int
    choice: pd.DataFrame
    stability: np.ndarray
    features: pd.DataFrame


def cluster_cells(
    traces: Traces,
    *,
    max_clusters: int = 8,
    bin_s: float = 0.5,
    drift_s: float | None = 120.0,
    alpha: float = 0.05,
    seed: int = 0,
) -> Clustering:
    """Cluster cells by what their activity has in common.

    Features are the scores of the traces (without drift, binned, z-scored) on those principal components that are larger than
    any of circularly shifted traces (parallel analysis, Horn 1965, doi:10.1007/BF02289447); where there is none, the cells
    are one cluster. How many clusters there are, by k-means or Ward's method, the silhouette says (Rousseeuw 1987,
    doi:10.1016/0377-0427(87)90125-7), and one if it does not exceed that of the same data with the gaps between clusters
    closed, so that a continuum is not cut. Stability is over resampled blocks of time (Hennig 2007,
    doi:10.1016/j.csda.2006.11.025).

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    max_clusters : int
        Most clusters tried.
    bin_s : float
        Frames are averaged over bins of so many seconds.
    drift_s : float or None
        Courses with this period (seconds) and longer are taken out before, see ``correlate``.
    alpha : float
        Chance of finding clusters among independent cells, at most.
    seed : int
        Seed of shuffles, k-means and resampling.

    Returns
    -------
    Clustering
        A cell that does not vary has label -1.

    Raises
    ------
    ValueError
        For NaN or infinity in a trace, and for a parameter outside its range.
    """
    _check(max_clusters, alpha)
    check_positive("bin_s", bin_s, "seconds")
    bin_frames = int(np.clip(round(bin_s * traces.fs), 1, max(traces.n_frames, 1)))
    rows = standardise(traces, drift_s=drift_s, bin_frames=bin_frames)
    rng = np.random.default_rng(seed)
    varies = rows.any(axis=1)
    used = rows[varies]
    scores = _score(used, max_clusters)
    null = 0.0
    for _ in range(int(np.ceil(1 / alpha - 1 - 1e-9)) if len(used) > 1 else 0):
        null = max(null, (_score(shift_rows(used, rng.integers(used.shape[1], size=len(used))), 1) ** 2).sum())
    n_shared = int(((scores**2).sum(axis=0) > null).sum()) if len(used) > 1 else 0
    features = pd.DataFrame(np.full((len(traces), max(n_shared, 1)), np.nan)).rename(columns=lambda k: f"component_{k + 1}")
    features[varies] = scores[:, : max(n_shared, 1)] if scores.size else 0.0
    block = max(1, round(_BLOCK_S / bin_s))

    def resample() -> tuple[np.ndarray, np.ndarray]:
        starts = rng.integers(max(used.shape[1] - block, 0) + 1, size=-(-used.shape[1] // block))
        drawn = used[:, (starts[:, None] + np.arange(min(block, used.shape[1]))).ravel()]
        return np.arange(len(used)), _score(drawn - drawn.mean(axis=1, keepdims=True), n_shared)

    return _cluster(features, traces.ids, max_clusters if n_shared else 1, resample, alpha=alpha, rng=rng)


def cluster_events(events: Events, *, max_clusters: int = 8, alpha: float = 0.05, seed: int = 0) -> Clustering:
    """Cluster events by amplitude, kinetics, area and duration, all as logarithms and z-scored.

    As ``cluster_cells``, with features taken as they are and stability over resampled events.

    Parameters
    ----------
    events : Events
        Features are those of ``amplitude, rise_s, half_decay_s, area`` that the table has, and the duration.
    max_clusters : int
        Most clusters tried.
    alpha : float
        Chance of finding clusters where there is no gap, at most.
    seed : int
        Seed of shuffles, k-means and resampling.

    Returns
    -------
    Clustering
        ``ids`` are row numbers of ``events.table``. An event with a feature that is missing or not above 0 has label -1.

    Raises
    ------
    ValueError
        For a parameter outside its range.
    """
    _check(max_clusters, alpha)
    table = events.table
    columns = {name: table[name] for name in ("amplitude", "rise_s", "half_decay_s", "area") if name in table}
    columns["duration_s"] = table["offset_s"] - table["onset_s"]
    values = pd.DataFrame(columns, dtype=float)
    features = pd.DataFrame(np.log(values.where(values > 0)))
    features = features.where(features.notna().all(axis=1))
    features = (features - features.mean()) / features.std().replace(0, 1).fillna(1)
    used = features.dropna().to_numpy()
    rng = np.random.default_rng(seed)

    def resample() -> tuple[np.ndarray, np.ndarray]:
        drawn = np.unique(rng.integers(len(used), size=len(used)))
        return drawn, used[drawn]

    return _cluster(features, np.arange(len(table)), max_clusters, resample, alpha=alpha, rng=rng)


def _check(max_clusters: int, alpha: float) -> None:
    if max_clusters < 1 or not 0 < alpha < 1:
        raise ValueError(f"max_clusters must be 1 or more and alpha between 0 and 1, got {max_clusters} and {alpha}")


def _score(rows: np.ndarray, n: int) -> np.ndarray:
    """Scores (N, n) of rows on their first principal components, largest first; the columns' squares sum to the variances."""
    wide = rows.shape[0] <= rows.shape[1]
    gram = rows @ rows.T if wide else rows.T @ rows
    n = min(n, len(gram))
    if not n:
        return np.zeros((len(rows), 0))
    values, vectors = eigh(gram.astype(np.float64), subset_by_index=[len(gram) - n, len(gram) - 1])
    return (vectors * np.sqrt(values.clip(0)) if wide else rows @ vectors)[:, ::-1]


def _cluster(
    features: pd.DataFrame,
    ids: np.ndarray,
    max_clusters: int,
    resample: Callable[[], tuple[np.ndarray, np.ndarray]],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> Clustering:
    """Choose, cluster, order and resample; rows of features with NaN are left out."""
    usable = np.flatnonzero(features.notna().all(axis=1))
    x = features.to_numpy(dtype=float)[usable]
    choice = _try(x[np.sort(rng.permutation(len(x))[:_MOST_CHOSEN_FROM])], max_clusters, alpha, rng)
    best = choice.nlargest(1, "silhouette")
    best = best[best["silhouette"] > best["null_high"]]
    method, n_clusters = best[["method", "n_clusters"]].iloc[0] if len(best) else ("one cluster", min(len(x), 1))
    own = _split(x, method, n_clusters, rng)
    own = np.argsort(np.argsort(-np.bincount(own, minlength=n_clusters), kind="stable"))[own] if len(x) else own
    overlap = np.ones((_BOOTSTRAPS, n_clusters))
    for k in range(_BOOTSTRAPS if n_clusters > 1 else 0):
        drawn, again = resample()
        overlap[k] = _overlap(own[drawn], _split(again, method, n_clusters, rng), n_clusters)
    labels = np.full(len(features), -1)
    labels[usable] = own
    place = np.zeros(len(features))
    place[usable] = np.argsort(leaves_list(linkage(x, "average"))) if 1 < len(x) <= _MOST_CLUSTERED else x[:, 0]
    order = np.lexsort((place, np.where(labels < 0, n_clusters, labels)))
    stability = np.nanmean(overlap, axis=0) if n_clusters else np.zeros(0)
    return Clustering(labels, ids, order, str(method), int(n_clusters), choice, stability, features)


def _try(x: np.ndarray, max_clusters: int, alpha: float, rng: np.random.Generator) -> pd.DataFrame:
    """Silhouette of each method and number, and the bound that data without gaps exceed in any of them with chance alpha."""
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    most = min(max_clusters, len(np.unique(x, axis=0)) // _FEWEST_MEMBERS)
    tried = [(method, k) for method in _METHODS for k in range(2, most + 1)]
    rows = []
    for method, k in tried:
        with threadpool_limits(1):  # so small a task is slower on many threads
            labels = _split(x, method, k, rng)
            draws = draw_without_gaps(x, labels, _NULLS, rng)
            null = np.array([[silhouette_score(drawn, _split(drawn, method, k, rng)) for drawn in pair] for pair in draws])
        bound = student.ppf(1 - alpha / len(tried), _NULLS - 1) * null.std(axis=0, ddof=1) * np.sqrt(1 + 1 / _NULLS)
        rows.append((method, k, silhouette_score(x, labels), (null.mean(axis=0) + bound).max()))
    table = pd.DataFrame(rows, columns=["method", "n_clusters", "silhouette", "null_high"])
    return table.astype({"n_clusters": int, "silhouette": float, "null_high": float})


def _split(x: np.ndarray, method: str, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of the rows; what is more than can be clustered goes to the nearest centre."""
    from sklearn.cluster import KMeans

    if n_clusters < 2:
        return np.zeros(len(x), dtype=np.int64)
    chosen = np.sort(rng.permutation(len(x))[:_MOST_CLUSTERED])
    if method == "k-means":
        labels = KMeans(n_clusters, n_init=4, random_state=0).fit_predict(x[chosen])
    else:
        labels = fcluster(linkage(x[chosen], "ward"), n_clusters, "maxclust") - 1
    if len(chosen) == len(x):
        return labels
    centres = np.stack([x[chosen][labels == k].mean(axis=0) for k in range(n_clusters)])
    return np.argmin(cdist(x, centres), axis=1)


def _overlap(labels: np.ndarray, again: np.ndarray, n_clusters: int) -> np.ndarray:
    """Jaccard overlap of each cluster with the most alike of another split, NaN where it was not drawn."""
    both = np.zeros((n_clusters, n_clusters))
    np.add.at(both, (labels, again), 1)
    either = both.sum(axis=1)[:, None] + both.sum(axis=0) - both
    best = np.divide(both, either, out=np.zeros_like(both), where=either > 0).max(axis=1)
    return np.where(both.any(axis=1), best, np.nan)
