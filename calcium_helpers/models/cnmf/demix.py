"""Traces at the full frame rate: cells and a low-rank background fitted to every frame together.

The background is a sum of broad bumps, each carrying the texture of the mean image, so that neuropil may differ between
places a few cells apart; its rank is the number of bumps, far below the number of frames or pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse

from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.movie import iter_chunks


class Demixed(NamedTuple):
    """``traces`` (N, T) in counts averaged over the footprint; background ``spatial`` (K, H, W) and ``temporal`` (K, T)."""

    traces: np.ndarray
    spatial: np.ndarray
    temporal: np.ndarray


def demix(
    movie: Movie, footprints: Footprints, mean: np.ndarray, noise: np.ndarray, *, spacing_px: float, progress: bool = False
) -> Demixed:
    """Fit every frame by cells and background, least squares weighted by the noise of the pixels.

    Parameters
    ----------
    movie : Movie
        Motion-corrected; read in chunks.
    footprints : Footprints
        N cells.
    mean, noise : ndarray, shape (H, W)
        Mean image and noise of single frames, counts.
    spacing_px : float
        Distance between the bumps of the background.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Demixed
    """
    n, shape = len(footprints), footprints.shape
    cells = _unit_mean(footprints)
    bumps = _background_basis(mean, spacing_px)
    weight = (1 / noise**2).reshape(-1).astype(np.float32)
    basis = sparse.vstack([cells, bumps]).tocsr()
    weighted = sparse.csr_matrix(basis.multiply(weight[None]))
    gram = (weighted @ basis.T).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] *= 1 + 1e-4  # near-equal footprints must not blow each other up
    factor = linalg.cho_factor(gram)
    coefficients = np.empty((basis.shape[0], movie.n_frames), dtype=np.float32)
    for start, frames in iter_chunks(movie, progress=progress, desc="demixing"):
        projection = np.stack([weighted @ frame.reshape(-1) for frame in frames], axis=1)
        coefficients[:, start : start + len(frames)] = linalg.cho_solve(factor, projection)
    spatial = bumps.toarray().reshape(-1, *shape)
    return Demixed(coefficients[:n], spatial, coefficients[n:])


def _unit_mean(footprints: Footprints) -> sparse.csr_matrix:
    """Scale footprints so that a trace of 1 adds 1 count to the footprint-weighted mean of the pixels."""
    weights = footprints.weights
    if not len(footprints):
        return weights
    total = np.asarray(weights.sum(axis=1)).reshape(-1)
    square = np.asarray(weights.multiply(weights).sum(axis=1)).reshape(-1)
    return sparse.csr_matrix(sparse.diags(total / square) @ weights)


def _background_basis(mean: np.ndarray, spacing_px: float) -> sparse.csr_matrix:
    """Tents times the mean image, shape (K, H*W); together they are the mean image."""
    texture = np.maximum(mean - min(float(mean.min()), 0), 1e-3).reshape(1, -1)
    return sparse.csr_matrix(tents((mean.shape[0], mean.shape[1]), spacing_px).multiply(texture), dtype=np.float32)


def tents(shape: tuple[int, int], spacing_px: float) -> sparse.csr_matrix:
    """Linear bumps on a grid, about ``spacing_px`` apart, that add up to 1, shape (K, H*W)."""
    axes = []
    for n in shape:
        nodes = np.linspace(0, n - 1, max(2, round(n / spacing_px) + 1)) if n > 1 else np.zeros(1)
        step = nodes[1] - nodes[0] if len(nodes) > 1 else 1.0
        axes.append(sparse.csr_matrix(np.maximum(1 - np.abs(np.subtract.outer(nodes, np.arange(n))) / step, 0)))
    return sparse.csr_matrix(sparse.kron(*axes))
