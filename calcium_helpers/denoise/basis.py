"""The few images whose mixtures make up the frames of one block, told from noise by how smooth they are in space and time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import linalg

DECIMATION_PX = 2  # components are looked for in means over squares: cells fill them, noise falls
TAIL_DRAWS = 50  # images of noise below the limit it is estimated from
DRAWN_VALUES = 2**20  # at once


def find_basis(bins: np.ndarray, *, false_components: float) -> np.ndarray:
    """Find the images that span the signal of a block.

    The block is decomposed at half its resolution; a component stays when both its image and its time course are smoother
    than the smoothest among as many of white noise would be. Either test alone holds the rate, so that it also holds where the
    noise is correlated in space (as interpolation leaves it) or in time. The images are then read off the full resolution.

    Parameters
    ----------
    bins : ndarray, shape (n, h, w), float32
        Means of consecutive frames, of mean 0 in time and of equal noise in all pixels.
    false_components : float
        Chance that a block of noise keeps a component.

    Returns
    -------
    ndarray, shape (h*w, R), float32
        Orthonormal columns, turned so that each is as local as can be; noise is as white after this turn as before.
    """
    small = decimate(bins)
    n_bins, shape = len(small), small.shape[1:]
    flat = small.reshape(n_bins, -1)
    energy, images = linalg.eigh(flat.T @ flat)
    found = energy > 1e-6 * max(energy[-1], 1e-30)
    images = images[:, found][:, ::-1]
    courses = flat @ images
    keep = np.ones(images.shape[1], dtype=bool)
    for parts in (images.T.reshape(-1, *shape), courses.T[:, None]):
        limit = roughness_limit(parts.shape[1:], max(images.shape[1], 1), false_components)
        keep &= image_roughness(parts) <= limit
    full = linalg.qr(bins.reshape(n_bins, -1).T @ courses[:, keep], mode="economic")[0]
    return _make_local(full).astype(np.float32, copy=False)


def decimate(frames: np.ndarray) -> np.ndarray:
    """Sum frames (n, h, w) over squares of 2 x 2 px, at the edge over what there is, for equal noise."""
    for axis in (1, 2):
        frames = np.add.reduceat(frames, np.arange(0, frames.shape[axis], DECIMATION_PX), axis=axis)
    return frames


def image_roughness(images: np.ndarray) -> np.ndarray:
    """Mean squared difference of neighbours over twice the mean square, of images (R, h, w): about 1 for white noise."""
    total, n_pairs = np.zeros(len(images)), 0
    for axis in (1, 2):
        steps = np.diff(images, axis=axis)
        total += np.einsum("rhw,rhw->r", steps, steps)
        n_pairs += steps.shape[1] * steps.shape[2]
    return total / max(n_pairs, 1) / (2 * np.einsum("rhw,rhw->r", images, images) / (images.shape[1] * images.shape[2]))


@lru_cache(maxsize=64)
def roughness_limit(shape: tuple[int, ...], n_components: int, false_components: float) -> float:
    """How rough images of ``shape`` (courses: one long row) may be so that of ``n_components`` of white noise none passes.

    ``false_components`` is the chance that one does. Singular vectors of white noise point anywhere, each direction as
    likely as the next: they need no decomposition to be drawn.
    """
    rng = np.random.default_rng(0)
    rate = false_components / n_components
    n_left, drawn = int(np.ceil(TAIL_DRAWS / rate)), []
    step = max(DRAWN_VALUES // int(np.prod(shape)), 1)
    while n_left > 0:
        drawn.append(image_roughness(rng.standard_normal((min(step, n_left), *shape), dtype=np.float32)))
        n_left -= step
    return float(np.quantile(np.concatenate(drawn), rate))


def _make_local(basis: np.ndarray, n_iterations: int = 30) -> np.ndarray:
    """Turn an orthonormal basis (P, R) so that few pixels carry each image (varimax, Kaiser 1958, doi:10.1007/BF02289233)."""
    if basis.shape[1] < 2:
        return basis
    turned, last = basis, 0.0
    for _ in range(n_iterations):
        left, strength, right = linalg.svd(basis.T @ (turned**3 - turned * (turned**2).mean(axis=0)))
        turned = basis @ (left @ right)
        if strength.sum() < last * (1 + 1e-4):
            break
        last = strength.sum()
    return turned
