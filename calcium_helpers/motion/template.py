"""A robust template: the mean of well-correlated frames, aligned to itself a few times; and the line offset."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
from scipy import fft, ndimage

from calcium_helpers.containers import Movie
from calcium_helpers.memory import scratch_array
from calcium_helpers.motion.align import Aligner, Reference
from calcium_helpers.motion.config import MotionConfig
from calcium_helpers.motion.threads import align_frames, read_frames

logger = logging.getLogger(__name__)

BIDIPHASE_SIGNIFICANCE = 5.0  # a peak counts when it is this many sds of the correlation at far lags
N_SEED_FRAMES = 20  # similar frames averaged into the first template
N_COMPARED_FRAMES = 150  # frames among which those are looked for
KEEP_FRACTION = 0.8  # the frames that correlate best make the next template


def sample_frames(movie: Movie, n: int) -> np.ndarray:
    """Read evenly spaced frames.

    Parameters
    ----------
    movie : Movie
    n : int
        How many at most.

    Returns
    -------
    ndarray, shape (n, H, W)
    """
    indices = np.unique(np.linspace(0, movie.n_frames - 1, min(n, movie.n_frames)).astype(int))
    first = read_frames(movie, 0, 1)
    frames = scratch_array((len(indices), *movie.shape[1:]), first.dtype)
    for place, index in enumerate(indices):
        frames[place] = read_frames(movie, index, index + 1)[0]
    return frames


def estimate_bidiphase(frames: np.ndarray) -> float:
    """Estimate by how many columns odd lines are displaced against even ones (bidirectional scanning).

    Each odd line of the mean image is compared with the mean of its neighbours by 1-D phase correlation, averaged over
    lines; the peak is refined by a parabola.

    Parameters
    ----------
    frames : ndarray, shape (n, H, W)

    Returns
    -------
    float
        Offset in pixels, 0.0 where it is below a quarter of a pixel or the image is too small to tell.
    """
    image = frames.mean(axis=0, dtype=np.float64)
    height, width = image.shape
    if height < 9 or width < 16:
        return 0.0
    odd = image[1 : height - 1 : 2]
    even = (image[0 : height - 1 : 2][: len(odd)] + image[2::2][: len(odd)]) / 2
    window = np.hanning(width)
    odd, even = ((lines - lines.mean(axis=1, keepdims=True)) * window for lines in (odd, even))
    cross = fft.rfft(odd, axis=1) * np.conj(fft.rfft(even, axis=1))
    cross = (cross / (np.abs(cross) + 1e-12)).mean(axis=0) * np.exp(-2 * (np.pi * fft.rfftfreq(width)) ** 2)
    correlation = fft.irfft(cross, n=width)
    reach = min(10, width // 4)
    window = np.roll(correlation, reach)[: 2 * reach + 1]
    peak = int(np.argmax(window))
    chance = np.std(correlation[2 * reach : -2 * reach]) if width > 6 * reach else np.std(correlation)
    if not 0 < peak < 2 * reach or window[peak] < BIDIPHASE_SIGNIFICANCE * chance:
        return 0.0
    left, centre, right = window[peak - 1 : peak + 2]
    curvature = left - 2 * centre + right
    offset = peak - reach + (0.5 * (left - right) / curvature if curvature < 0 else 0.0)
    return float(offset) if abs(offset) >= 0.25 else 0.0


def estimate_template(frames: np.ndarray, config: MotionConfig, bidiphase_px: float = 0.0) -> np.ndarray:
    """Make a template: seed, two rigid rounds, one piecewise round.

    Parameters
    ----------
    frames : ndarray, shape (n, H, W)
        Evenly spaced over the movie.
    config : MotionConfig
        As for the movie.
    bidiphase_px : float
        Columns by which odd lines are displaced.

    Returns
    -------
    ndarray, shape (H, W), float32
        Mean of the frames that agree with it, at their median position.
    """
    template = _seed_template(frames[:: max(1, len(frames) // N_COMPARED_FRAMES)])
    rigid = MotionConfig(**{**vars(config), "piecewise": False})
    rounds = [(rigid, 3), (rigid, 1)] + [(config, 2)] * config.piecewise  # every third frame will do to begin with
    buffer = scratch_array(frames.shape)
    for settings, step in rounds:
        part = frames[::step]
        corrected = buffer[: len(part)]
        reference = Reference(template, settings)
        grids, correlation = align_frames(partial(Aligner, reference, bidiphase_px), part, out=corrected)
        keep = correlation >= np.quantile(correlation, 1 - KEEP_FRACTION)
        weights = (keep / keep.sum()).astype(np.float32)
        template = (weights @ corrected.reshape(len(part), -1)).reshape(template.shape)
        template = ndimage.shift(template, -np.median(grids.mean(axis=(1, 2)), axis=0), order=1, mode="nearest")
    return np.ascontiguousarray(template, dtype=np.float32)


def _seed_template(frames: np.ndarray) -> np.ndarray:
    """Mean of the frames that look most like one another, after smoothing away the noise."""
    height, width = frames.shape[1:]
    bin_px = max(1, min(height, width) // 128)
    cut = frames[:, : height // bin_px * bin_px, : width // bin_px * bin_px]
    small = cut.reshape(len(cut), height // bin_px, bin_px, width // bin_px, bin_px).mean(axis=(2, 4), dtype=np.float32)
    small = ndimage.gaussian_filter(small, (0, 1.5, 1.5))
    flat = small.reshape(len(frames), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9
    similarity = np.sort(flat @ flat.T, axis=1)[:, ::-1]
    n = min(N_SEED_FRAMES, len(frames))
    best = int(np.argmax(similarity[:, :n].mean(axis=1)))
    nearest = np.argsort(flat @ flat[best])[::-1][:n]
    return frames[nearest].mean(axis=0, dtype=np.float64).astype(np.float32)
