"""Tiles drawn larger or smaller, so that every cell has the size that the network knows, and footprints drawn back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

USUAL_PX = 13.0
"""Diameter, px, of the cells that the network was trained on, in the mean."""
NEAR = 1.15  # sizes that differ by less are left as they are


def zoom_factor(diameter_px: float) -> float:
    """By how much a movie with cells of this diameter is enlarged; 1 where they are of about the usual size."""
    factor = USUAL_PX / diameter_px
    return 1.0 if 1 / NEAR < factor < NEAR else factor


class Zoom(NamedTuple):
    """Linear interpolation of a tile (h, w), or averages where it becomes smaller: ``rows`` (h', h), ``columns`` (w', w)."""

    rows: np.ndarray
    columns: np.ndarray
    factor: float

    @classmethod
    def of(cls, shape: tuple[int, ...], factor: float) -> Zoom:
        """Make the weights for tiles of this shape."""
        rows, columns = (_weights(max(1, round(n * factor)), n) for n in shape)
        return cls(rows, columns, factor)

    def frames(self, frames: np.ndarray) -> np.ndarray:
        """Zoom frames (T, h, w), in units of noise: a cell stands out of the noise as far as before."""
        if self.factor == 1:
            return frames
        return (self.rows @ frames @ self.columns.T) / np.float32(self.factor)

    def footprints(self, drawn: sparse.csr_matrix) -> sparse.csr_matrix:
        """Draw footprints (N, h' * w') in the tile's own pixels, (N, h * w)."""
        if self.factor == 1:
            return drawn
        back = (_weights(before, after) for after, before in (self.rows.shape, self.columns.shape))
        return sparse.csr_matrix(drawn @ sparse.kron(*(sparse.csr_matrix(part) for part in back)).T)

    def image(self, image: np.ndarray) -> np.ndarray:
        """Draw an image (h', w') in the tile's own pixels."""
        if self.factor == 1:
            return image
        rows, columns = (_weights(before, after) for after, before in (self.rows.shape, self.columns.shape))
        return np.asarray(rows @ image @ columns.T)


def _weights(n_out: int, n_in: int) -> np.ndarray:
    """Weights (n_out, n_in) that sum to 1: tents as wide as the coarser of the two grids."""
    step = n_in / n_out
    at = (np.arange(n_out) + 0.5) * step - 0.5
    tent = np.maximum(1 - np.abs(np.clip(at, 0, n_in - 1)[:, None] - np.arange(n_in)) / max(step, 1.0), 0)
    return (tent / tent.sum(axis=1, keepdims=True)).astype(np.float32)
