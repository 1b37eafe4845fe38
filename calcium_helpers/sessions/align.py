"""Where each pixel of one day's field lies on another day: rotation and shift, then blocks, by phase correlation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse

from calcium_helpers.containers import Footprints
from calcium_helpers.motion.align import Aligner, Reference
from calcium_helpers.motion.config import MotionConfig

COARSE_DEG, FINE_DEG = 1.0, 0.25
NON_RIGID_ROUNDS = 2
BLOCK_DIAMETERS, SMALLEST_BLOCK_PX = 6, 48  # a block, twice as wide, must hold some cells


def draw_map(footprints: Footprints, image: np.ndarray | None, diameter_px: float) -> np.ndarray:
    """Draw all cells, each with a peak of 1, and the image that goes with them, each with sd 1: (H, W) float32."""
    weights = footprints.weights
    peak = weights.max(axis=1).toarray().ravel() if len(footprints) else np.ones(0)
    drawn = np.asarray((sparse.diags(1 / peak) @ weights).sum(axis=0)).reshape(footprints.shape)
    layers = [ndimage.gaussian_filter(drawn, diameter_px / 10)]
    if image is not None:
        image = np.where(np.isfinite(image), image, np.nanmedian(image))
        layers.append(image - ndimage.gaussian_filter(image, 2 * diameter_px))  # cells and vessels, not the light's slope
    return np.asarray(sum(layer / max(layer.std(), 1e-9) for layer in layers), dtype=np.float32)


def estimate_field(
    a: np.ndarray, b: np.ndarray, *, diameter_px: float, max_shift_px: float, max_rotation: float, non_rigid: bool = True
) -> np.ndarray:
    """Estimate where the pixels of map ``a`` lie in map ``b``: pixel p at ``p + field[p]``, (H, W, 2) of ``a``.

    Angles are tried, each with the shift that phase correlation finds; the best is refined on a grid of blocks.
    """
    aligner = Aligner(Reference(a, MotionConfig(piecewise=False, max_shift_px=max_shift_px)))
    tried: dict[float, tuple[float, np.ndarray]] = {}
    for step in (COARSE_DEG, COARSE_DEG / 2, FINE_DEG):
        centre = max(tried, key=lambda angle: tried[angle][0]) if tried else 0.0
        reach = step if tried else max_rotation // step * step
        for angle in np.arange(centre - reach, centre + reach + step / 2, step).tolist():
            if angle not in tried:
                tried[angle] = _align(aligner, b, _turned(a.shape, angle))
    best = max(tried, key=lambda angle: tried[angle][0])
    field = _add(_turned(a.shape, best), tried[best][1])
    block_px = round(max(BLOCK_DIAMETERS * diameter_px, SMALLEST_BLOCK_PX))
    aligner = Aligner(Reference(a, MotionConfig(max_shift_px=diameter_px, max_deviation_px=diameter_px, block_px=block_px)))
    for _ in range(NON_RIGID_ROUNDS * non_rigid):
        field = _add(field, _align(aligner, b, field)[1])
    return field


def apply_field(footprints: Footprints, field: np.ndarray) -> Footprints:
    """Draw the footprints where they would lie on the other day; those that lie outside its frame are left out."""
    height, width = footprints.shape
    shape = field.shape[:2]
    place = np.indices(shape).reshape(2, -1) + field.reshape(-1, 2).T
    corner = np.floor(place).astype(np.int64)
    pixels = sparse.csr_matrix((height * width, place.shape[1]))
    for dy, dx in np.ndindex(2, 2):  # bilinear: a pixel is a mixture of four
        y, x = corner + np.array([[dy], [dx]])
        share = np.prod(1 - np.abs(place - (y, x)), axis=0)
        inside = np.flatnonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))
        entries = (share[inside], ((y * width + x)[inside], inside))
        pixels = pixels + sparse.csr_matrix(entries, shape=pixels.shape)
    weights = sparse.csr_matrix(footprints.weights @ pixels)
    weights.eliminate_zeros()
    there = np.flatnonzero(np.diff(weights.indptr))
    return Footprints(weights[there], shape, footprints.ids[there])


def _turned(shape: tuple[int, ...], angle: float) -> np.ndarray:
    """Field of a rotation about the centre by ``angle`` degrees."""
    radians = np.deg2rad(angle)
    y, x = np.indices(shape) - (np.reshape(shape, (2, 1, 1)) - 1) / 2
    turned = np.cos(radians) * y + np.sin(radians) * x, np.cos(radians) * x - np.sin(radians) * y
    return np.stack([turned[0] - y, turned[1] - x], axis=-1)


def _align(aligner: Aligner, b: np.ndarray, field: np.ndarray) -> tuple[float, np.ndarray]:
    """Align what ``field`` makes of ``b``; returns the correlation reached and the grid of shifts (gy, gx, 2)."""
    out = np.empty(field.shape[:2], dtype=np.float32)
    grid, correlation = aligner.align(_pull(b, np.indices(out.shape) + np.moveaxis(field, -1, 0)), out)
    return correlation, grid


def _add(field: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Follow first a grid of shifts, bilinear between the centres of its blocks, then the field."""
    shape = field.shape[:2]
    axes = [(np.arange(n) + 0.5) * g / n - 0.5 for n, g in zip(shape, grid.shape[:2], strict=True)]
    blocks = np.stack(np.meshgrid(*axes, indexing="ij"))
    step = np.stack([_pull(-grid[..., axis], blocks, mode="nearest") for axis in range(2)])
    moved = np.indices(shape) + step
    return np.stack([step[axis] + _pull(field[..., axis], moved, mode="nearest") for axis in range(2)], axis=-1)


def _pull(image: np.ndarray, places: np.ndarray, mode: str = "constant") -> np.ndarray:
    """Look up an image at places (2, H, W)."""
    return ndimage.map_coordinates(image, places, order=1, mode=mode, output=np.float32)
