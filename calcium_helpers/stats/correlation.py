"""Which cells go together: correlation of traces and of events, against circular shifts, and against distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, skew

from calcium_helpers.containers import Events, Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.stats.shuffles import count_shuffles, estimate_p, find_onsets, measure_power, shift_rows, standardise

_MOST_LAGS = 16  # a side
_BINS_A_WINDOW = 2
_MOST_BINS = 2**15


class Correlation(NamedTuple):
    """Correlation of each pair of cells, and what chance gives.

    ``r`` (N, N); ``lag_s`` (N, N) seconds by which the column's cell follows the row's (0 unless lagged); ``null_sd`` (N, N)
    standard deviation of r over circular shifts; ``null`` (N, N) r of one shuffle, to be shown beside; ``p`` and ``q`` (N, N),
    two-sided, q with the false discovery rate over all pairs; ``significant`` (N, N) where q <= ``alpha``; ``ids`` (N,). A
    cell that does not vary, or has no event, has NaN with all others; p and q of a cell with itself are NaN.
    """

    r: np.ndarray
    lag_s: np.ndarray
    null_sd: np.ndarray
    null: np.ndarray
    p: np.ndarray
    q: np.ndarray
    significant: np.ndarray
    ids: np.ndarray
    method: str
    alpha: float


def correlate(
    traces: Traces,
    *,
    max_lag_s: float = 0.0,
    drift_s: float | None = 120.0,
    alpha: float = 0.05,
    n_shuffles: int | None = None,
    seed: int = 0,
) -> Correlation:
    """Correlate each pair of traces (Pearson), at the lag where they are most alike if lags are allowed.

    Each r is divided by its standard deviation over all circular shifts of one trace against the other, which the two power
    spectra give exactly; p is read from such ratios in whole shuffles, where each cell is shifted by its own offset, among
    pairs that are as skewed and as slow. Benjamini-Hochberg over all pairs (1995, doi:10.1111/j.2517-6161.1995.tb02031.x).

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    max_lag_s : float
        Longest lag, seconds; 0 compares frames of the same time. Up to 16 lags a side are tried, frame by frame where these
        suffice; r is then that of the largest size, and its null is sought in the same way.
    drift_s : float or None
        Courses with this period (seconds), or that of half the recording, and longer are taken out before. None takes out the
        mean alone; slow drift that two cells have each on their own may then pass for correlation.
    alpha : float
        False discovery rate.
    n_shuffles : int, optional
        Whole shuffles; where not given, so many that 200,000 pairs are shuffled, 200 at most.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    Correlation
        ``method`` is "Pearson" or "lagged Pearson".

    Raises
    ------
    ValueError
        For NaN or infinity in a trace, and for a parameter outside its range.
    """
    if not (np.isfinite(max_lag_s) and max_lag_s >= 0):
        raise ValueError(f"max_lag_s must be a finite number of seconds, 0 or more, got {max_lag_s!r}")
    rows = standardise(traces, drift_s=drift_s)
    varies = rows.any(axis=1)
    lags = np.unique(np.linspace(0, min(round(max_lag_s * traces.fs), max(traces.n_frames - 1, 0)), _MOST_LAGS + 1).round())
    power = measure_power(rows)
    sd = np.sqrt(power @ power.T, dtype=np.float64)
    shape = skew(rows, axis=1) if rows.shape[1] else np.zeros(len(rows))
    shape[~varies] = 0

    def shuffle(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        offsets = rng.integers(max(traces.n_frames, 1), size=len(rows))
        return _strongest(shift_rows(rows, offsets), lags)[0], offsets

    r, lag = _strongest(rows, lags)
    r[~varies], r[:, ~varies] = np.nan, np.nan
    # The third moment of r over shifts, in units of sd, goes as the product of the skewnesses times sd.
    features = (np.outer(shape, shape) * sd, sd)
    # Shifted by less than the two remember, a pair is not one of chance; T sd^2 is how long that is in frames.
    guard = np.minimum(2 * traces.n_frames * sd**2 + lags[-1], traces.n_frames / 4)
    tested = _test(r, sd, shuffle, features, guard, length=traces.n_frames, alpha=alpha, draws=(n_shuffles, seed))
    return tested._replace(lag_s=lag / traces.fs, ids=traces.ids, method="lagged Pearson" if lags[-1] else "Pearson")


def correlate_events(
    events: Events,
    *,
    ids: np.ndarray,
    duration_s: float,
    window_s: float = 0.5,
    alpha: float = 0.05,
    n_shuffles: int | None = None,
    seed: int = 0,
) -> Correlation:
    """Correlate the onsets of events by the spike-time tiling coefficient, which does not depend on how many there are.

    Cutts and Eglen 2014, doi:10.1523/JNEUROSCI.2767-14.2014. The null is that of ``correlate``: circular shifts, pooled over
    pairs with as many events, false discovery rate over all pairs.

    Parameters
    ----------
    events : Events
        Events of these and, maybe, other cells.
    ids : ndarray of int, shape (N,)
        Cells to correlate.
    duration_s : float
        Length of the recording, seconds.
    window_s : float
        Onsets at most this far apart, seconds, are taken as together.
    alpha : float
        False discovery rate.
    n_shuffles : int, optional
        Whole shuffles; where not given, so many that 200,000 pairs are shuffled, 200 at most.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    Correlation
        ``method`` is "spike-time tiling"; ``null_sd`` holds to first order.

    Raises
    ------
    ValueError
        For an event outside the recording, and for a parameter outside its range.
    """
    from calcium_helpers.stats.tiling import count_near

    check_positive("window_s", window_s, "seconds")
    ids = np.asarray(ids)
    row, onset = find_onsets(events, ids, duration_s)
    first = np.searchsorted(row, np.arange(len(ids) + 1))
    n_events = np.diff(first)

    def tile(times: np.ndarray) -> np.ndarray:
        near = np.zeros((len(ids), len(ids)))
        count_near(times, first, window_s, near)
        return _tiling(near, n_events, _covered(row, times, len(ids), window_s, duration_s))

    def shuffle(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        offsets = rng.uniform(0, duration_s, len(ids))
        moved = (onset + offsets[row]) % duration_s
        return tile(moved[np.lexsort((moved, row))]), offsets

    r = tile(onset)
    r[n_events == 0], r[:, n_events == 0] = np.nan, np.nan
    sd = _tiling_sd(row, onset, n_events, window_s=window_s, duration_s=duration_s)
    features = (-np.outer(n_events, n_events).astype(float),)
    guard = np.full(r.shape, min(4 * window_s, duration_s / 4))
    tested = _test(r, sd, shuffle, features, guard, length=duration_s, alpha=alpha, draws=(n_shuffles, seed))
    return tested._replace(ids=ids.astype(np.int64), method="spike-time tiling")


def _test(
    r: np.ndarray,
    sd: np.ndarray,
    shuffle: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    features: tuple[np.ndarray, ...],
    guard: np.ndarray,
    *,
    length: float,
    alpha: float,
    draws: tuple[int | None, int],
) -> Correlation:
    """Compare r (N, N), NaN where it says nothing, with shuffles of it whose offsets differ by more than ``guard``."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha!r}")
    pairs = np.nonzero(np.triu(np.isfinite(r), 1))
    rng = np.random.default_rng(draws[1])
    shuffled = np.empty((count_shuffles(len(pairs[0]), draws[0]), len(pairs[0])), dtype=np.float32)
    null = np.zeros(r.shape)
    for k in range(len(shuffled)):
        values, offsets = shuffle(rng)
        null = values if k == 0 else null
        apart = np.abs(offsets[pairs[0]] - offsets[pairs[1]])
        far = np.minimum(apart, length - apart) > guard[pairs]
        shuffled[k] = np.where(far, values[pairs] / sd[pairs], np.nan)
    p_pairs = estimate_p(r[pairs] / sd[pairs], shuffled, tuple(feature[pairs] for feature in features))
    p, q = np.full(r.shape, np.nan), np.full(r.shape, np.nan)
    p[pairs] = p.T[pairs] = p_pairs
    q[pairs] = q.T[pairs] = false_discovery_control(p_pairs) if len(p_pairs) else p_pairs
    null = np.where(np.isfinite(r), null, np.nan)
    for matrix in (r, null):
        np.fill_diagonal(matrix, np.where(np.isfinite(matrix.diagonal()), 1, np.nan))
    return Correlation(r, np.zeros(r.shape), sd, null, p, q, q <= alpha, np.arange(len(r)), "", alpha)


def _strongest(rows: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest r in size over the lags, and the lag in frames by which the column follows the row."""
    n_frames = rows.shape[1]
    best, lag = np.zeros((2, len(rows), len(rows)))
    for k in lags.astype(int):
        r = (rows[:, : n_frames - k] @ rows[:, k:].T).astype(np.float64)
        for sign, one in ((1, r), (-1, r.T)):
            larger = np.abs(one) > np.abs(best)
            best[larger], lag[larger] = one[larger], sign * k
    upper = np.triu(best, 1)
    return upper + upper.T, np.triu(lag, 1) - np.triu(lag, 1).T


def _covered(row: np.ndarray, onset: np.ndarray, n: int, window_s: float, duration_s: float) -> np.ndarray:
    """Share of the recording within ``window_s`` of an event of each row, shape (N,)."""
    own = np.diff(row, prepend=-1) == 0  # the event before is of the same cell
    since = np.where(own, np.diff(onset, prepend=0.0), np.inf)
    until = np.append(since[1:], np.inf)[: len(onset)]
    sides = np.minimum(np.where(own, since / 2, onset), window_s)
    sides += np.minimum(np.where(np.isfinite(until), until / 2, duration_s - onset), window_s)
    return np.bincount(row, sides, n) / duration_s


def _tiling(near: np.ndarray, n_events: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Spike-time tiling coefficient, shape (N, N), of counts of events with a neighbour and the shares of time covered."""
    share = near / np.maximum(n_events, 1)[:, None]
    full = 1 - share * covered
    term = np.divide(share - covered, full, out=np.ones_like(share), where=full > 1e-12)
    return (term + term.T) / 2


def _tiling_sd(row: np.ndarray, onset: np.ndarray, n_events: np.ndarray, *, window_s: float, duration_s: float) -> np.ndarray:
    """Estimate the standard deviation of the coefficient over circular shifts, where few share a window, shape (N, N)."""
    n_bins = int(np.clip(np.ceil(duration_s / window_s * _BINS_A_WINDOW), 1, _MOST_BINS))
    counts = np.zeros((len(n_events), n_bins), dtype=np.float32)
    np.add.at(counts, (row, np.minimum((onset / duration_s * n_bins).astype(int), n_bins - 1)), 1)
    counts -= counts.mean(axis=1, keepdims=True)
    power = measure_power(counts)
    # Counts within the window: the trains' product seen through a box of its width.
    box = np.sinc(2 * window_s / duration_s * np.arange(power.shape[1])) * 2 * window_s / duration_s * n_bins
    one = 1 / np.maximum(n_events, 1)
    return np.sqrt(np.maximum((power * box**2) @ power.T, 1e-12), dtype=np.float64) * (one[:, None] + one) / 2
