"""Error of a registration and of an image, against a truth."""

from __future__ import annotations

import numpy as np

from calcium_helpers.containers import Shifts
from calcium_helpers.containers._base import check_positive


def rigid_rms(shifts: Shifts, truth: Shifts, *, grid: int = 16) -> float:
    """Root mean square distance between estimated and true mean displacement of the frames, pixels.

    The median difference over the frames is removed first: it only says which frame the template looks like.

    Parameters
    ----------
    shifts, truth : Shifts
        Of the same frames; rigid or piecewise.
    grid : int
        Points a side.

    Returns
    -------
    float
        Pixels.
    """
    difference = _difference(shifts, truth, grid).mean(axis=1)
    return _rms(difference - np.median(difference, axis=0))


def field_rms(shifts: Shifts, truth: Shifts, *, grid: int = 16) -> float:
    """Root mean square distance between estimated and true displacement on a ``grid`` x ``grid`` of points, pixels.

    The points are interior: the inner nodes of a grid of ``grid + 2`` a side that spans the frame. One offset, the median over
    frames and points, is removed.

    Parameters
    ----------
    shifts, truth : Shifts
        Of the same frames; rigid or piecewise.
    grid : int
        Points a side.

    Returns
    -------
    float
        Pixels.
    """
    difference = _difference(shifts, truth, grid)
    return _rms(difference - np.median(difference, axis=(0, 1)))


def psnr(image: np.ndarray, reference: np.ndarray, *, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio of an image or movie against a reference of the same shape, dB.

    Parameters
    ----------
    image, reference : ndarray
        Of one shape.
    data_range : float, optional
        What counts as the peak; the reference's maximum minus minimum by default.

    Returns
    -------
    float
        Decibels; infinity for equal images.

    Raises
    ------
    ValueError
        When the shapes differ or the reference is constant.

    Examples
    --------
    >>> round(psnr(np.array([0.1, 1.0]), np.array([0.0, 1.0])), 2)
    23.01
    """
    a, b = np.asarray(image, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"image and reference must have the same shape, not empty, got {a.shape} and {b.shape}")
    peak = float(np.ptp(b)) if data_range is None else data_range
    check_positive("data_range", peak, "the image's unit (is the reference constant?)")
    error = float(np.mean((a - b) ** 2))
    return float(10 * np.log10(peak**2 / error)) if error else float("inf")


def _difference(shifts: Shifts, truth: Shifts, grid: int) -> np.ndarray:
    """Estimated minus true correction (T, grid * grid, 2) at the inner nodes of a grid that spans the frame."""
    if len(shifts.yx) != len(truth.yx) or shifts.template.shape != truth.template.shape:
        raise ValueError(
            f"shifts and truth must be of the same movie, got {len(shifts.yx)} frames of {shifts.template.shape} "
            f"and {len(truth.yx)} of {truth.template.shape}"
        )
    nodes = [np.linspace(0, length - 1, grid + 2)[1:-1] for length in truth.template.shape]
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    return shifts.at(points) - truth.at(points)


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum(difference.astype(np.float64) ** 2, axis=-1))))
