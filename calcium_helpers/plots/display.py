"""What a screen can show: limits of brightness, long traces thinned without losing a peak, round lengths for scale bars."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def display_limits(image: np.ndarray) -> tuple[float, float]:
    """Return the values to show darkest and brightest: the 1st and 99.7th percentile, apart even for a constant image."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (1, 99.7)) if finite.size else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


def peaks(values: np.ndarray, n: int, *, axis: int = 1) -> np.ndarray:
    """Thin (N, T) to at most n columns (or rows), each the maximum of those it stands for."""
    length = values.shape[axis]
    return values if length <= n else np.maximum.reduceat(values, np.arange(n) * length // n, axis=axis)


def envelope(values: np.ndarray, n: int) -> np.ndarray:
    """Thin (N, T) to at most n columns: pairs of each stretch's minimum and maximum, in the order they occur in."""
    n_frames, n_bins = values.shape[1], n // 2
    if n_frames <= n:
        return values
    starts = np.arange(n_bins + 1) * n_frames // n_bins
    thinned = np.empty((len(values), 2 * n_bins), values.dtype)
    for i, (start, stop) in enumerate(pairwise(starts)):
        stretch = values[:, start:stop]
        order = np.sort([stretch.argmin(axis=1), stretch.argmax(axis=1)], axis=0)
        thinned[:, 2 * i : 2 * i + 2] = np.take_along_axis(stretch, order.T, axis=1)
    return thinned


def nice_length(longest: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not over ``longest`` (> 0)."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(power * max(step for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9)))
