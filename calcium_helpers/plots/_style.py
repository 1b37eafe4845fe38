"""What the plots share: colours that colour-blind readers can tell apart, new axes, thinning to what a screen can show."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), https://jfly.uni-koeln.de/color/
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
INK, MUTED = "#1b2733", "#5b6770"
ACCEPTED, REJECTED = ORANGE, SKY


def axes_or_new(ax: Axes | None, *, width: float = 8, height: float = 3) -> Axes:
    """Return ``ax``, or the axes of a new pyplot figure of the given size in inches."""
    if ax is not None:
        return ax
    # Only here: who passes axes of their own, such as the report, never starts pyplot's global state.
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def say(ax: Axes, message: str) -> Axes:
    """Write a message into axes that have nothing to show."""
    ax.text(0.5, 0.5, message, ha="center", va="center", color=MUTED, transform=ax.transAxes)
    ax.set(xticks=[], yticks=[])
    return ax


def strip_frame(ax: Axes) -> None:
    """Leave only the left and bottom lines of the frame."""
    ax.spines[["top", "right"]].set_visible(False)


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
