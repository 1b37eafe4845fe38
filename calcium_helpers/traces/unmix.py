"""Cells that overlap: whose light is whose."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from calcium_helpers.containers import Footprints

_RIDGE = 1e-3  # cells of nearly the same footprint share their light instead of blowing each other up


def unmix(changes: np.ndarray, footprints: Footprints) -> np.ndarray:
    """Take out of each cell's trace what cells overlapping it have shone into its footprint.

    The mean over a footprint holds its own cell once and each neighbour by their overlap; least squares over all cells
    together turns these means into what each cell shows by itself. Cells that overlap with none stay as they are.

    Parameters
    ----------
    changes : ndarray, shape (N, T)
        Weighted means over the footprints, as `extract_traces` gives them, without baseline: what is added evenly to all
        pixels is no cell's.
    footprints : Footprints
        The N cells.

    Returns
    -------
    ndarray, shape (N, T)
        In the same unit: the mean over the own footprint.

    Raises
    ------
    ValueError
        When there are not as many rows as footprints.
    """
    if len(changes) != len(footprints):
        raise ValueError(f"changes must have a row a footprint ({len(footprints)}), got {len(changes)}")
    weights = footprints.weights.astype(np.float64)
    norm = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).reshape(-1))
    unit = sparse.diags(1 / norm) @ weights if len(footprints) else weights
    overlap = (unit @ unit.T).tocsc()
    if overlap.nnz == len(footprints):
        return changes
    to_mean = (norm / np.asarray(weights.sum(axis=1)).reshape(-1))[:, None]
    ridge = _RIDGE * sparse.identity(len(footprints), format="csc")
    solved = linalg.splu((overlap + ridge) / (1 + _RIDGE)).solve(np.ascontiguousarray(changes / to_mean, dtype=np.float64))
    return np.asarray(solved * to_mean)
