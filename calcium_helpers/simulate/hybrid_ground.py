"""Real frames as a ground for new cells: mean, slow background and noise, without the activity of the cells in them."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy import ndimage, sparse

from calcium_helpers.containers import Movie

LAG_S = 0.4  # calcium and neuropil outlast this, noise does not outlast a frame
COURSE_SD_S = 0.3  # sd of the Gaussian that smooths the background's time courses
SMALLEST_SHARE = 0.2  # no pixel is taken for less noisy than this share of the median


class Ground(NamedTuple):
    """What is left of real frames without their cells' activity.

    ``mean`` (H, W) in counts; the background is ``courses`` (T, K), relative to the ``texture`` (H, W) in counts, times
    ``bumps`` (K, H*W); ``noise`` (T, H, W) in counts, its order in time still that of the recording. A pixel as bright as x
    has the noise variance ``intercept + gain * x``, at least ``least``.
    """

    mean: np.ndarray
    texture: np.ndarray
    bumps: sparse.csr_matrix
    courses: np.ndarray
    noise: np.ndarray
    intercept: float
    gain: float
    least: float

    def variance(self, brightness: np.ndarray) -> np.ndarray:
        """Noise variance of pixels as bright as that."""
        return np.maximum(self.intercept + self.gain * brightness, self.least)


def find_ground(rng: np.random.Generator, movie: Movie, *, offset: float, tile_px: int, background_px: int) -> Ground:
    """Take the activity out of motion-corrected frames.

    First the background is fitted to the quieter half of the pixels, by broad bumps that carry the smoothed mean image. Then,
    in each tile, noise takes the place of all spatial patterns whose time course is autocorrelated. White noise makes the
    eigenvalues of a lagged covariance symmetric about zero; so patterns with one larger than the most negative one are
    activity.
    """
    frames = movie.frames().astype(np.float32)
    if not np.isfinite(frames).all():
        raise ValueError(f"movie must be finite, got NaN or infinity in frame {np.argwhere(~np.isfinite(frames))[0][0]}")
    lags = range(1, min(max(1, round(LAG_S * movie.fs)), len(frames) - 1) + 1)
    mean = frames.mean(axis=0, dtype=np.float64).astype(np.float32)
    frames -= mean
    # Cells stand out of the smoothed mean, vessels below it: the background lights up neither.
    texture = np.clip(np.minimum(mean, _local_median(mean, background_px)) - offset, 0, None)
    bumps = _bumps(mean.shape, background_px)
    courses = _fit_background(frames, texture, bumps, lags, background_px)
    for frame, course in zip(frames, courses, strict=True):
        frame -= texture * (course @ bumps).reshape(texture.shape)
    steps = _step_variance(frames)
    for y in range(0, mean.shape[0], tile_px):
        for x in range(0, mean.shape[1], tile_px):
            tile = np.s_[y : y + tile_px, x : x + tile_px]
            _remove_activity(frames[:, *tile], steps[tile], lags, rng)
    courses = ndimage.gaussian_filter1d(courses, COURSE_SD_S * movie.fs, axis=0).astype(np.float32)
    return Ground(mean, texture, bumps, courses, frames, *_noise_of_brightness(mean, steps))


def _local_median(image: np.ndarray, size: int) -> np.ndarray:
    """Median of the surroundings of each pixel, ``size`` px wide, from a tenth of their rows and columns."""
    step = max(1, size // 10)
    coarse = ndimage.median_filter(image[::step, ::step], max(1, size // step))
    return np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)[: image.shape[0], : image.shape[1]]


def _lagged(flat: np.ndarray, lags: range) -> np.ndarray:
    """Mean covariance (P, P) of the columns of ``flat`` (T, P) with each other some frames later, symmetric."""
    total = sum(flat[lag:].T @ flat[:-lag] for lag in lags) / np.float32(len(lags) * len(flat))
    return (total + total.T) / 2


def _bumps(shape: tuple[int, ...], spacing_px: int) -> sparse.csr_matrix:
    """Bilinear bumps on a grid, shape (K, H*W); they sum to 1."""
    tents = []
    for n in shape:
        nodes = np.linspace(0, n - 1, max(2, round(n / spacing_px) + 1)) if n > 1 else np.zeros(1)
        step = nodes[1] - nodes[0] if n > 1 else 1.0
        tents.append(sparse.csr_matrix(np.maximum(1 - np.abs(np.subtract.outer(nodes, np.arange(n))) / step, 0)))
    return sparse.csr_matrix(sparse.kron(*tents), dtype=np.float32)


def _fit_background(
    frames: np.ndarray, texture: np.ndarray, bumps: sparse.csr_matrix, lags: range, background_px: int
) -> np.ndarray:
    """Relative course of each bump, shape (T, K), from the half of the pixels around that is least active."""
    soft = ndimage.gaussian_filter(frames, (0, 1.5, 1.5))
    activity = sum((soft[lag:] * soft[:-lag]).mean(axis=0) for lag in lags) / np.maximum(texture, 1e-6) ** 2
    quiet = (activity <= _local_median(activity, background_px)) & (texture > 0)
    basis = sparse.csr_matrix(bumps.multiply((texture * quiet).reshape(1, -1)))
    gram = (basis @ basis.T).toarray().astype(np.float64)
    ridge = 1e-3 * max(np.trace(gram) / len(gram), 1e-9)  # a bump over a vessel follows its neighbours, and is not blown up
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), basis @ frames.reshape(len(frames), -1).T).T.astype(np.float32)


def _remove_activity(tile: np.ndarray, steps: np.ndarray, lags: range, rng: np.random.Generator) -> None:
    """Put white noise in the place of autocorrelated patterns in a tile (T, h, w) of deviations from the mean.

    Its sd is that of the pattern's own noise, by the median size of steps from frame to frame, which few transients change.
    Patterns are chosen for being smooth in time, so that this is a little too low: the tile as a whole is brought back to the
    noise that ``steps`` (h, w) show.
    """
    flat = tile.reshape(len(tile), -1)
    sd = np.maximum(flat.std(axis=0), 1e-6)
    flat = flat / sd
    values, patterns = np.linalg.eigh(_lagged(flat, lags))
    patterns = patterns[:, values > max(-values[0], 0)]
    courses = flat @ patterns
    noise_sd = np.median(np.abs(np.diff(courses, axis=0)), axis=0) / (0.6745 * np.sqrt(2))
    courses -= noise_sd * rng.standard_normal(courses.shape, dtype=np.float32)
    tile -= (courses @ patterns.T * sd).reshape(tile.shape)
    left = tile.var(axis=0)
    tile *= np.sqrt(np.median(np.divide(steps, left, out=np.ones_like(left), where=left > 0)))


def _step_variance(frames: np.ndarray) -> np.ndarray:
    """Noise variance (H, W) by the steps from frame to frame."""
    total = np.zeros(frames.shape[1:], dtype=np.float64)
    for before, after in itertools.pairwise(frames):
        total += (after - before) ** 2
    return (total / (2 * max(len(frames) - 1, 1))).astype(np.float32)


def _noise_of_brightness(mean: np.ndarray, variance: np.ndarray) -> tuple[float, float, float]:
    """Fit variance = intercept + gain * mean through the medians of ten groups of pixels of about equal brightness."""
    groups = np.array_split(np.argsort(mean, axis=None), min(10, mean.size))
    x, y = (np.array([np.median(image.reshape(-1)[group]) for group in groups]) for image in (mean, variance))
    gain = max(float(np.polyfit(x, y, 1)[0]), 0.0) if np.ptp(x) > 0 else 0.0
    return float(np.mean(y) - gain * np.mean(x)), gain, SMALLEST_SHARE * float(np.median(y))
