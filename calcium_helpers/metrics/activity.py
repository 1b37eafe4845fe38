"""Do found traces and spikes follow the true ones: correlations, with the lag stated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calcium_helpers.containers import Traces
from calcium_helpers.metrics.matching import Matching


class TraceScore(NamedTuple):
    """Correlation of found with true traces.

    ``all`` is the mean over the true cells that fired, a missed one counting 0; ``matched`` the mean over those of them that
    were found; ``per_cell`` (n_truth,) is NaN for a silent true cell. A mean over no cell is NaN.
    """

    all: float
    matched: float
    per_cell: np.ndarray


def trace_correlation(found: Traces, truth: Traces, matching: Matching) -> TraceScore:
    """Pearson correlation of each true trace with that of the cell matched to it.

    Parameters
    ----------
    found, truth : Traces
        Traces of the rows that ``matching`` refers to, same rate and length.
    matching : Matching
        From `match_footprints` or `match_points`.

    Returns
    -------
    TraceScore

    Raises
    ------
    ValueError
        When the traces do not fit each other or the matching.
    """
    _check_same_time(found, truth)
    if (len(found), len(truth)) != (matching.n_found, matching.n_truth):
        raise ValueError(
            f"matching is of {matching.n_found} found and {matching.n_truth} true cells, "
            f"got {len(found)} and {len(truth)} traces"
        )
    return _score(found.values, truth.values, matching)


def spike_correlation(
    found: Traces, truth: Traces, matching: Matching | None = None, *, lag_s: float = 0.0, bin_s: float | None = None
) -> TraceScore:
    """Pearson correlation of inferred with true spikes, at a stated lag and bin.

    Parameters
    ----------
    found, truth : Traces
        Inferred spikes and true spikes a frame, same rate and length.
    matching : Matching, optional
        Which rows belong together; without it row i belongs to row i.
    lag_s : float
        How much later than the truth the found spikes are taken to be, seconds, rounded to frames; state it beside the
        score, and do not choose it on the truth that is scored.
    bin_s : float, optional
        Width of the bins in which both are summed, seconds, rounded to frames; one frame by default.

    Returns
    -------
    TraceScore

    Raises
    ------
    ValueError
        When the traces do not fit each other, or the lag leaves no bin.
    """
    _check_same_time(found, truth)
    if matching is None:
        if len(found) != len(truth):
            raise ValueError(f"without a matching, found and truth need equally many rows, got {len(found)} and {len(truth)}")
        rows = np.arange(len(found))
        matching = Matching(np.column_stack([rows, rows]), np.ones(len(rows)), len(rows), len(rows))
    lag = round(lag_s * truth.fs)
    width = 1 if bin_s is None else max(1, round(bin_s * truth.fs))
    kept = truth.n_frames - abs(lag)
    if kept < width:
        raise ValueError(f"lag_s of {lag_s} s and bin_s of {bin_s} s leave nothing of {truth.n_frames} frames at {truth.fs} Hz")
    late, early = found.values[:, max(lag, 0) :][:, :kept], truth.values[:, max(-lag, 0) :][:, :kept]
    return _score(_bin(late, width), _bin(early, width), matching)


def _check_same_time(found: Traces, truth: Traces) -> None:
    if found.n_frames != truth.n_frames or not np.isclose(found.fs, truth.fs, rtol=1e-3):
        raise ValueError(
            f"found and truth must share rate and length, got {found.n_frames} frames at {found.fs:g} Hz "
            f"and {truth.n_frames} at {truth.fs:g} Hz"
        )


def _score(found: np.ndarray, truth: np.ndarray, matching: Matching) -> TraceScore:
    per_cell = np.where(np.ptp(truth, axis=1) > 0, 0.0, np.nan) if truth.shape[1] else np.full(len(truth), np.nan)
    rows, cols = matching.pairs.T
    per_cell[cols] += _correlation(found[rows], truth[cols])
    fired = np.isfinite(per_cell)
    matched = fired & np.isin(np.arange(len(per_cell)), cols)
    means = [float(per_cell[which].mean()) if which.any() else float("nan") for which in (fired, matched)]
    return TraceScore(means[0], means[1], per_cell)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of each row of ``a`` with that of ``b``; 0 where one of them is constant."""
    a, b = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (a, b))
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), norm, out=np.zeros(len(a)), where=norm > 0)


def _bin(values: np.ndarray, width: int) -> np.ndarray:
    n_bins = values.shape[1] // width
    return values[:, : n_bins * width].reshape(len(values), n_bins, width).sum(axis=2, dtype=np.float64)
