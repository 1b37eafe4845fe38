"""Events found without learning: voxels that stand out of their own pixel's noise, again and again until none is new."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import ndimage

from calcium_helpers.containers import Events, Movie
from calcium_helpers.containers._base import check_positive
from calcium_helpers.movie import iter_chunks
from calcium_helpers.transients.volumes import events_from_label

MAD_TO_SD = 1.4826
FEWEST_FREE = 5
"""Frames of a block that must be free of events for its baseline to count."""
ROWS_BYTES = 128 * 2**20


def detect_by_threshold(
    movie: Movie,
    *,
    threshold: float = 4.0,
    grow: float = 0.75,
    smooth: Sequence[float] = (1.0, 1.0, 1.0),
    baseline_s: float = 10.0,
    min_size: Sequence[int] = (2, 3, 3),
    max_size: Sequence[int] = (50, 40, 40),
    max_rounds: int = 4,
) -> Events:
    """Find events as connected voxels far above the noise of their pixel.

    The movie is smoothed. Each pixel has a baseline (medians of blocks, joined by lines, so that bleaching does not matter)
    and a noise (median absolute deviation); z is what is above the baseline in units of the noise. An event is a connected
    volume (voxels share a face) with z above ``grow * threshold`` that reaches ``threshold`` and is not smaller than
    ``min_size``. Found events are left out, baseline and noise estimated again, until no voxel is new.

    Parameters
    ----------
    movie : Movie
        Motion-corrected; NaN counts as no data. The movie and five arrays of its size in float32 are held in memory.
    threshold : float
        Least peak of z, standard deviations of the smoothed movie.
    grow : float
        Share of the threshold down to which an event reaches, in (0, 1].
    smooth : sequence of 3 floats
        Standard deviations of the Gaussian over (frames, pixels, pixels); 0 for none.
    baseline_s : float
        Length of the blocks, seconds; several times an event.
    min_size : sequence of 3 ints
        Least extent (frames, pixels, pixels) of an event.
    max_size : sequence of 3 ints
        Greatest extent; what is larger, such as a transient of a whole dendrite, is left out of the baseline, but is no event.
    max_rounds : int
        Most estimates of baseline and noise.

    Returns
    -------
    Events
        As `events_from_label`, with masks; ``score`` is the mean z of an event.

    Raises
    ------
    ValueError
        For a parameter out of range.
    """
    check_positive("threshold", threshold, "standard deviations")
    check_positive("baseline_s", baseline_s, "seconds")
    if not 0 < grow <= 1 or max_rounds < 1:
        raise ValueError(f"grow must lie in (0, 1] and max_rounds be 1 or more, got {grow} and {max_rounds}")
    for name, numbers in (("smooth", smooth), ("min_size", min_size), ("max_size", max_size)):
        if len(numbers) != 3 or min(numbers) < 0:
            raise ValueError(f"{name} must be three numbers (frames, pixels, pixels) of 0 or more, got {numbers!r}")
    values = _smooth(movie, smooth)
    block = int(np.clip(round(baseline_s * movie.fs), 1, movie.n_frames))
    label = np.zeros(movie.shape, dtype=np.int32)
    for _ in range(max_rounds):
        z = _standardise(values, label > 0, block)
        found = ndimage.label(z > grow * threshold)[0]
        found = _keep(found, (_peaks(z, found) >= threshold) & np.all(_sizes(found) >= min_size, axis=1))
        # What was an event stays one: with its voxels left out of baseline and noise its z can only be better known.
        if not (found.astype(bool) & (label == 0)).any():
            break
        label = found
    return events_from_label(_keep(label, np.all(_sizes(label) <= max_size, axis=1)), movie, probability=z)


def _smooth(movie: Movie, sd: Sequence[float]) -> np.ndarray:
    """Blur frames, then time; where there is NaN, what is known around counts."""
    values = np.concatenate([frames for _, frames in iter_chunks(movie)])
    missing = ~np.isfinite(values)
    if not missing.any():
        return ndimage.gaussian_filter(values, sd, mode="nearest")
    values[missing] = 0
    weight = ndimage.gaussian_filter((~missing).astype(np.float32), sd, mode="nearest")
    blurred = ndimage.gaussian_filter(values, sd, mode="nearest")
    return np.where(missing, np.nan, blurred / np.maximum(weight, 1e-6)).astype(np.float32)


def _standardise(values: np.ndarray, taken: np.ndarray, block: int) -> np.ndarray:
    """Return z of each voxel; 0 where a pixel is constant or has no data. A few rows at a time."""
    z = np.zeros_like(values)
    step = max(1, ROWS_BYTES // (4 * values[:, :1].size))
    for row in range(0, values.shape[1], step):
        part = values[:, row : row + step]
        free = np.where(taken[:, row : row + step], np.nan, part)
        above = free - (baseline := _baseline(free, block))
        noise = MAD_TO_SD * _median(np.abs(above))
        np.divide(part - baseline, noise, out=z[:, row : row + step], where=(noise > 0) & np.isfinite(part + baseline))
    return z


def _baseline(values: np.ndarray, block: int) -> np.ndarray:
    """Medians of blocks of frames joined by lines that run on to the ends of the movie; NaN is left out."""
    n_frames = len(values)
    edges = np.linspace(0, n_frames, max(1, round(n_frames / block)) + 1).astype(int)
    usual = _median(values)
    medians = []
    for start, stop in pairwise(edges):
        part = values[start:stop]
        enough = np.isfinite(part).sum(axis=0) >= min(FEWEST_FREE, stop - start)
        medians.append(np.where(enough, _median(part), usual))
    middles = (edges[:-1] + edges[1:] - 1) / 2
    after = np.clip(np.searchsorted(middles, np.arange(n_frames)), 1, max(len(middles) - 1, 1))
    if len(middles) == 1:
        return np.broadcast_to(medians[0], values.shape)
    share = (np.arange(n_frames) - middles[after - 1]) / (middles[after] - middles[after - 1])
    share = share.astype(np.float32)[:, None, None]
    stack = np.stack(medians)
    return stack[after - 1] * (1 - share) + stack[after] * share


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of what is not NaN, shape (H, W); NaN where nothing is. Far faster than ``nanmedian``."""
    ranked = np.sort(values, axis=0)  # NaN comes last
    n = np.isfinite(values).sum(axis=0)
    low, high = (np.take_along_axis(ranked, np.maximum(k, 0)[None], axis=0)[0] for k in ((n - 1) // 2, n // 2))
    return np.where(n > 0, (low + high) / 2, np.nan).astype(np.float32)


def _peaks(z: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Greatest z, which is above 0, of the volumes 1..N; unlike ``ndimage.maximum`` without sorting the whole movie."""
    peaks = np.zeros(label.max() + 1, dtype=z.dtype)
    inside = label > 0
    np.maximum.at(peaks, label[inside], z[inside])
    return peaks[1:]


def _sizes(label: np.ndarray) -> np.ndarray:
    """Extents (N, 3) of the volumes 1..N; 0 where a number does not occur."""
    boxes = ndimage.find_objects(label)
    return np.array([[part.stop - part.start for part in box] if box else (0, 0, 0) for box in boxes]).reshape(-1, 3)


def _keep(label: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Blank the volumes 1..N that are not kept."""
    return np.where(np.append(False, kept)[label], label, 0)
