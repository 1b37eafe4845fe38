"""How correlation falls with the distance between cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import t as student

from calcium_helpers.containers import Footprints
from calcium_helpers.containers._base import check_positive
from calcium_helpers.stats.correlation import Correlation

_FEWEST_CELLS = 4  # for an interval


def correlation_by_distance(
    correlation: Correlation,
    footprints: Footprints,
    *,
    pixel_um: float | None = None,
    n_bins: int = 10,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Average correlation over the pairs of cells at about the same distance.

    The interval is for cells like these in this recording, so cells count, not pairs: the variance of the mean sums what
    pairs that share a cell have in common (Fafchamps and Gubert 2007, doi:10.1016/j.jdeveco.2006.05.005), which covers as
    stated where a bootstrap over cells is too wide for pairs that vary on their own.

    Parameters
    ----------
    correlation : Correlation
        N cells.
    footprints : Footprints
        Footprints of these cells and, maybe, others; found by id.
    pixel_um : float, optional
        Size of a pixel; distances are in pixels where it is not given.
    n_bins : int
        Bins of equal width from 0 to the largest distance; those without a pair are left out.
    confidence : float
        Of the intervals.

    Returns
    -------
    DataFrame
        ``distance`` (mean of the pairs), ``unit`` (um or px), ``n`` pairs, ``r`` and its interval ``low, high`` (NaN with
        fewer than four cells), ``null_r`` of the shuffled matrix. Pairs without r do not count.

    Raises
    ------
    ValueError
        For a cell that has no footprint, and for a parameter outside its range.
    """
    if pixel_um is not None:
        check_positive("pixel_um", pixel_um, "um")
    if n_bins < 1 or not 0 < confidence < 1:
        raise ValueError(f"n_bins must be 1 or more and confidence between 0 and 1, got {n_bins} and {confidence}")
    missing = np.setdiff1d(correlation.ids, footprints.ids)
    if missing.size:
        raise ValueError(f"footprints must hold each cell of correlation, got none for the ids {missing[:5].tolist()}")
    row_of = pd.Series(np.arange(len(footprints)), index=footprints.ids)
    yx = footprints.centroids[row_of.loc[correlation.ids].to_numpy(dtype=np.int64)] * (pixel_um or 1.0)
    distance = cdist(yx, yx)
    n_cells = len(yx)
    bins = np.minimum((distance / max(distance.max(initial=0), 1e-12) * n_bins).astype(int), n_bins - 1)
    bins[~np.isfinite(correlation.r) | np.eye(n_cells, dtype=bool)] = -1
    rows = [
        (distance[own].mean(), own.sum() // 2, *_interval(correlation.r, own, confidence), correlation.null[own].mean())
        for own in (bins == k for k in range(n_bins))
        if own.any()
    ]
    table = pd.DataFrame(rows, columns=["distance", "n", "r", "low", "high", "null_r"])
    table.insert(1, "unit", "px" if pixel_um is None else "um")
    return table.astype({"distance": float, "n": int, "r": float, "low": float, "high": float, "null_r": float})


def _interval(r: np.ndarray, own: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Mean of r over a symmetric choice of pairs and its interval; pairs that share a cell are not independent."""
    mean = float(r[own].mean())
    n_cells, n_pairs = int(own.any(axis=1).sum()), own.sum() / 2
    if n_cells < _FEWEST_CELLS:
        return mean, np.nan, np.nan
    rest = np.where(own, r - mean, 0)
    of_pairs = (rest**2).sum() / 2
    variance = max((rest.sum(axis=1) ** 2).sum() - of_pairs, of_pairs) / n_pairs**2
    half = student.ppf((1 + confidence) / 2, n_cells - 1) * np.sqrt(variance)
    return mean, mean - half, mean + half
