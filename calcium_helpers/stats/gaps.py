"""The same data with the gaps between clusters closed: what a split of a continuum would look like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

_GRID = 128
_HALVINGS = 12


def draw_without_gaps(
    x: np.ndarray, labels: np.ndarray, n: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Resample rows and move them along the lines between neighbouring centres until no line has a gap.

    Twice: blurred by the least that leaves one mode (Silverman 1981, doi:10.1111/j.2517-6161.1981.tb01155.x), which keeps
    what is skewed, and spread evenly, the one hump that is easiest to part. Variance along a line is kept, and across it rows
    stay as they are. Neighbours are those of the minimum spanning tree of the centres, so that clusters along a curved
    continuum are compared with that continuum.

    Parameters
    ----------
    x : ndarray, shape (N, D)
        Features.
    labels : ndarray of int, shape (N,)
        Clusters 0..K-1, none of them empty, K >= 2.
    n : int
        Draws.
    rng : Generator
        Of resampling and blur.

    Yields
    ------
    tuple of two ndarrays, shape (N, D)
        One draw, blurred and evenly spread.
    """
    centres = np.stack([x[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    tree = minimum_spanning_tree(cdist(centres, centres)).toarray() > 0
    away = np.where((tree | tree.T)[labels], cdist(x, centres), np.inf)
    other = np.argmin(away, axis=1)
    lines = []
    for a, b in zip(*np.nonzero(tree), strict=True):
        own = np.flatnonzero(((labels == a) & (other == b)) | ((labels == b) & (other == a)))
        if own.size:
            along = (centres[b] - centres[a]) / np.linalg.norm(centres[b] - centres[a])
            place = x[own] @ along
            lines.append((own, along, place, _least_blur(place)))
    for _ in range(n):
        blurred, even = np.empty_like(x), np.empty_like(x)
        for own, along, place, blur in lines:
            chosen = rng.integers(len(own), size=len(own))
            middle, sd = place.mean(), max(place.std(), 1e-300)
            hump = (place[chosen] - middle + blur * rng.standard_normal(len(own))) / np.sqrt(1 + (blur / sd) ** 2)
            flat = (rng.random(len(own)) - 0.5) * np.sqrt(12) * sd
            for drawn, moved in ((blurred, hump), (even, flat)):
                drawn[own] = x[own[chosen]] + (middle + moved - place[chosen])[:, None] * along
        yield blurred, even


def _least_blur(place: np.ndarray) -> float:
    """Smallest width of a Gaussian that turns the places on a line into a density with one mode."""
    low, high = 0.0, float(np.ptp(place))
    grid = np.linspace(place.min(), place.max(), _GRID)
    for _ in range(_HALVINGS if high > 0 else 0):
        width = (low + high) / 2
        rise = np.diff(np.exp(-(((grid[:, None] - place) / width) ** 2) / 2).sum(axis=1)) > 0
        one = np.count_nonzero(np.diff(rise.astype(int)) != 0) <= 1
        low, high = (low, width) if one else (width, high)
    return high
