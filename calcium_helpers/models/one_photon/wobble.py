"""The movement that registration left: edges of vessels flicker, and would draw coordinates that look for cells.

A small movement changes a frame by the slope of the mean image. So in every bin the frame is regressed on the slopes along y
and x, each faded in and out over tents, as tissue does not move the same everywhere; what they explain is taken out. Slopes
are odd around a cell where the cell is even: its activity is hardly touched.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from calcium_helpers.background import Blur
from calcium_helpers.models.cnmf.demix import tents

SPACING = 4.5
"""Between places that move by themselves, diameters."""


class Wobble:
    """Slopes of the mean image as the whitened movie shows them.

    Parameters
    ----------
    mean, share, noise : ndarray, shape (H, W)
        Mean image, share of the glow that pixels show, noise.
    inside : ndarray of bool, shape (H, W)
        Where frames always have content.
    diameter_px : float
        Of a cell, and the sd of the glow's blur.
    """

    def __init__(
        self, mean: np.ndarray, share: np.ndarray, noise: np.ndarray, inside: np.ndarray, *, diameter_px: float
    ) -> None:
        shape = (mean.shape[0], mean.shape[1])
        blur, bumps = Blur(shape, diameter_px), tents(shape, SPACING * diameter_px)
        slopes = [np.gradient(mean, axis=axis) if shape[axis] > 1 else np.zeros(shape) for axis in (0, 1)]
        seen = [((slope - share * blur(slope)) / noise * inside).reshape(1, -1) for slope in slopes]
        self._maps = sparse.vstack([bumps.multiply(slope) for slope in seen]).tocsr().astype(np.float32)
        gram = (self._maps @ self._maps.T).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += 1e-3 * np.trace(gram) / len(gram) + 1e-9
        self._factor = linalg.cho_factor(gram)

    def subtract(self, frames: np.ndarray, rest: np.ndarray) -> None:
        """Take movement out of frames (B, H, W), estimated in their ``rest`` without known cells, and out of that, in place."""
        for frame, what in zip(frames, rest, strict=True):
            steps = linalg.cho_solve(self._factor, self._maps @ what.reshape(-1)).astype(np.float32)
            moved = (self._maps.T @ steps).reshape(frame.shape)
            frame -= moved
            if rest is not frames:
                what -= moved
