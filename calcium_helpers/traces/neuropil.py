"""The tissue around each cell, and what of it to take away."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import sparse
from scipy.ndimage import distance_transform_edt

from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.noise import check_finite

_FIT_ROUNDS = 10
_OUTLIER_SD = 2.0


def neuropil_footprints(footprints: Footprints, *, inner_px: float = 2.0, min_pixels: int = 350) -> Footprints:
    """Ring of tissue around each cell that leaves out every cell's pixels.

    A ring starts ``inner_px`` beyond the cell and grows outwards until it holds ``min_pixels`` pixels that belong to no
    cell, or the frame ends. Where a crowded field leaves no such pixel, other cells' pixels are taken; where the cell fills
    the frame, its own: then neuropil and cell cannot be told apart.

    Parameters
    ----------
    footprints : Footprints
        N cells.
    inner_px : float
        Gap that blurred light of the cell falls into, pixels.
    min_pixels : int
        Pixels of a ring: more give less noise, fewer stay closer.

    Returns
    -------
    Footprints
        N rings of equal weights, with the ids of the cells.

    Raises
    ------
    ValueError, TypeError
        Unless ``inner_px`` >= 0 and ``min_pixels`` >= 1.
    """
    check_positive("min_pixels", min_pixels, "pixels")
    if not inner_px >= 0:
        raise ValueError(f"inner_px must be at least 0 pixels, got {inner_px}")
    free = (np.bincount(footprints.weights.indices, minlength=footprints.weights.shape[1]) == 0).reshape(footprints.shape)
    rings = [_ring(footprints.weights[i].indices, free, inner_px, min_pixels) for i in range(len(footprints))]
    pixels = np.concatenate([*rings, np.zeros(0, dtype=np.int64)])
    ends = np.cumsum([0, *map(len, rings)])
    weights = sparse.csr_matrix((np.ones(len(pixels)), pixels, ends), shape=footprints.weights.shape)
    return Footprints(weights, footprints.shape, footprints.ids)


def subtract_neuropil(raw: Traces, neuropil: Traces, *, coefficient: float | Literal["fit"] = 0.7) -> Traces:
    """Take the neuropil's share out of the cells' traces.

    Parameters
    ----------
    raw, neuropil : Traces
        N traces each of the same cells, in counts.
    coefficient : float or "fit"
        Share of the neuropil that shows through a cell, 0..1; 0.7 is the usual value for two-photon somata (Chen et al.
        2013, doi:10.1038/nature12354). "fit" regresses each raw trace on its neuropil, leaving out the frames far above the
        fit (transients of the cell) in ten rounds, and bounds the slope to 0..1. A cell that fires with its surroundings
        has its share overestimated.

    Returns
    -------
    Traces
        Kind "raw": what the cell itself emits, baseline included.

    Raises
    ------
    ValueError
        When the traces do not belong together, hold NaN or infinity, or the coefficient is out of range.
    """
    if raw.values.shape != neuropil.values.shape or not np.array_equal(raw.ids, neuropil.ids):
        raise ValueError(f"raw and neuropil must be of the same cells, got {raw.values.shape} and {neuropil.values.shape}")
    check_finite(raw)
    check_finite(neuropil)
    if isinstance(coefficient, str):
        if coefficient != "fit":
            raise ValueError(f'coefficient must be a number in 0..1 or "fit", got {coefficient!r}')
        share = fit_coefficients(raw.values, neuropil.values)
    elif 0 <= coefficient <= 1:
        share = np.full(len(raw), coefficient)
    else:
        raise ValueError(f'coefficient must be a number in 0..1 or "fit", got {coefficient!r}')
    return raw.replace(values=raw.values - share[:, None] * neuropil.values)


def fit_coefficients(raw: np.ndarray, neuropil: np.ndarray) -> np.ndarray:
    """Slope (N,) of each raw on its neuropil trace, both (N, T), bounded to 0..1 and blind to positive outliers."""
    y, x = np.asarray(raw, dtype=np.float64), np.asarray(neuropil, dtype=np.float64)
    keep = np.ones(y.shape)
    for _ in range(_FIT_ROUNDS):
        n = np.maximum(keep.sum(axis=1, keepdims=True), 1)
        mean_x, mean_y = ((keep * v).sum(axis=1, keepdims=True) / n for v in (x, y))
        spread = (keep * (x - mean_x) ** 2).sum(axis=1)
        common = (keep * (x - mean_x) * (y - mean_y)).sum(axis=1)
        slope = np.clip(np.divide(common, spread, out=np.zeros(len(y)), where=spread > 0), 0, 1)
        rest = y - mean_y - slope[:, None] * (x - mean_x)
        # Transients only lift a trace, so the spread below the median is that of the noise.
        rest -= np.median(rest, axis=1, keepdims=True) if rest.size else 0.0
        below = np.sqrt((np.minimum(rest, 0) ** 2).sum(axis=1) / np.maximum((rest < 0).sum(axis=1), 1))
        keep = (rest <= _OUTLIER_SD * below[:, None]).astype(np.float64)
    return slope


def _ring(cell: np.ndarray, free: np.ndarray, inner_px: float, min_pixels: int) -> np.ndarray:
    """Sorted flat indices of the ring around the pixels ``cell``; ``free`` (H, W) marks pixels of no cell."""
    height, width = free.shape
    y, x = np.divmod(cell, width)
    margin = int(np.ceil(inner_px + np.sqrt(min_pixels)))
    while True:
        top, left = max(y.min() - margin, 0), max(x.min() - margin, 0)
        bottom, right = min(y.max() + margin + 1, height), min(x.max() + margin + 1, width)
        outside = np.ones((bottom - top, right - left), dtype=bool)
        outside[y - top, x - left] = False
        distance = distance_transform_edt(outside)
        # Only pixels within the margin: farther ones could lie outside the crop on another side.
        whole = outside.shape == free.shape
        ring = free[top:bottom, left:right] & (distance > inner_px) & (whole | (distance <= margin))
        if whole or ring.sum() >= min_pixels:
            break
        margin *= 2
    for fallback in (distance > inner_px, distance > 0, distance == 0):
        ring = ring if ring.any() else fallback
    reach = np.sort(distance[ring])[: int(min_pixels)][-1]
    ring_y, ring_x = np.nonzero(ring & (distance <= reach))
    return np.asarray((ring_y + top) * width + ring_x + left)
