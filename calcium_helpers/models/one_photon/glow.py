"""What is left of the background after the glow: vessels that move a little, haze that fluctuates, of low rank."""

from __future__ import annotations

import numpy as np
from sklearn.utils.extmath import randomized_svd

MOST_COURSES = 20
SPREAD = 0.04
"""A course counts as background where it is seen in at least this share of the field (participation ratio)."""


def subtract_fluctuations(whitened: np.ndarray, residual: np.ndarray, covered: np.ndarray, *, seed: int) -> int:
    """Take shared courses out of the whitened movie (B, H, W), in place.

    They are the principal components of what cells leave of it, outside of cells; those seen in a few places only are left,
    since they may be cells that nobody has found yet.

    Parameters
    ----------
    whitened, residual : ndarray, shape (B, H, W)
        The movie, and what the coordinates leave of it; both are changed.
    covered : ndarray of bool, shape (H, W)
        Where cells are.
    seed : int
        Of the random projections of the decomposition.

    Returns
    -------
    int
        How many courses were taken out.
    """
    open_ = residual[:, ~covered]
    n = min(MOST_COURSES, len(residual) // 8, open_.shape[1] - 1)
    if n < 1:
        return 0
    courses, strength, maps = randomized_svd(open_, n, n_iter=3, random_state=seed)
    spread = 1 / np.maximum((maps**4).sum(axis=1), 1e-12) / maps.shape[1]
    floor = (np.sqrt(len(residual)) + np.sqrt(open_.shape[1])) * 1.2  # singular values of white noise lie below the sum
    courses = np.ascontiguousarray(courses[:, (spread > SPREAD) & (strength > floor)].T)
    flat = residual.reshape(len(residual), -1)
    images = courses @ flat
    for frames in (whitened, residual):
        frames.reshape(len(frames), -1)[:] -= courses.T @ images
    return len(courses)
