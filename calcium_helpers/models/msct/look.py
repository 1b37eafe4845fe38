"""What the networks see of a movie: its resting light, how far each pixel is from it, and how far its surroundings are.

A bright spine at rest and a transient look alike in a short crop: the first channel holds the rest, the running median of the
pixel, and the second the deviation from it in units of the pixel's own noise. A dendrite that lights up as a whole is wider
than a crop: the third channel is the mean deviation of what is bright around.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from calcium_helpers.containers import Movie
from calcium_helpers.memory import scratch_array
from calcium_helpers.movie import iter_chunks
from calcium_helpers.transients.prepare import foreground

WINDOW_FRAMES = 101  # of the running median: longer than the longest transient
STRIP_PX = 32  # rows at once: sorted copies stay small
LIMIT = 10.0  # noise sds beyond which a deviation no longer counts
AROUND_PX = 12.0  # sd of the surroundings: several times an event
LEAST_BRIGHT = 0.02  # of the surroundings, for their mean to count in full
GAIN = 5.0  # of the surroundings, which are steadier than a pixel
CHANNELS = 3
LEAST_NOISE = 0.3  # of the median pixel's: dead pixels are not infinitely sure


class Look(NamedTuple):
    """How a movie is looked at.

    ``levels`` (K, H, W) are resting levels around the frames ``centres`` (K,), ``noise`` (H, W) the sd of each pixel, all in
    the units of the movie; ``bright`` (H, W) tells what is bright at rest.
    """

    levels: np.ndarray
    centres: np.ndarray
    noise: np.ndarray
    bright: np.ndarray

    def rest(self, start: int, n: int) -> np.ndarray:
        """Interpolate the rest (n, H, W) of ``n`` frames from frame ``start`` of the movie on."""
        at = np.interp(start + np.arange(n), self.centres, np.arange(len(self.centres)))
        low = np.minimum(at.astype(int), max(len(self.levels) - 2, 0))
        high = np.minimum(low + 1, len(self.levels) - 1)
        part = (at - low).astype(np.float32)[:, None, None]
        return np.asarray((1 - part) * self.levels[low] + part * self.levels[high])

    def deviation(self, frames: np.ndarray, start: int) -> np.ndarray:
        """Tell how far frames (n, H, W) are from rest, in noise sds; the first is frame ``start`` of the movie."""
        frames = np.nan_to_num(np.asarray(frames, dtype=np.float32), posinf=0.0, neginf=0.0)
        return np.clip((frames - self.rest(start, len(frames))) / self.noise, -LIMIT, LIMIT)

    def channels(self, frames: np.ndarray, start: int) -> np.ndarray:
        """Make the channels (3, n, H, W) of frames (n, H, W), of which the first is frame ``start`` of the movie."""
        out = np.empty((CHANNELS, *frames.shape), dtype=np.float32)
        out[0] = self.rest(start, len(frames))
        out[1] = self.deviation(frames, start)
        bright = self.bright.astype(np.float32)
        share = np.maximum(ndimage.gaussian_filter(bright, AROUND_PX), LEAST_BRIGHT)
        ndimage.gaussian_filter(out[1] * bright, (0, AROUND_PX, AROUND_PX), output=out[2])
        out[2] *= GAIN / share
        return out


def deviations(movie: Movie, look: Look | None = None) -> np.ndarray:
    """Compute how far each voxel is from rest, in units of its pixel's noise.

    Parameters
    ----------
    movie : Movie
        Normalised.
    look : Look, optional
        Of the movie, where it is at hand.

    Returns
    -------
    ndarray, shape (T, H, W), float32
        A file on the disk for large movies.
    """
    look, out = look or look_at(movie), scratch_array(movie.shape)
    for start, frames in iter_chunks(movie):
        out[start : start + len(frames)] = look.deviation(frames, start)
    return out


def look_at(movie: Movie) -> Look:
    """Measure rest and noise of every pixel.

    Parameters
    ----------
    movie : Movie
        Normalised as ``transients.normalise`` does; what is not finite counts as 0.

    Returns
    -------
    Look
        Rest is the median of windows of 101 frames, noise that of differences between neighbouring frames.
    """
    n_frames, height, width = movie.shape
    starts = np.arange(0, max(n_frames - WINDOW_FRAMES, 0) + 1, WINDOW_FRAMES // 2)
    levels = np.empty((len(starts), height, width), dtype=np.float32)
    noises = np.zeros_like(levels)
    for level, noise, start in zip(levels, noises, starts, strict=True):
        window = np.asarray(movie.data[start : start + WINDOW_FRAMES], dtype=np.float32)
        for row in range(0, height, STRIP_PX):
            rows = slice(row, row + STRIP_PX)
            strip = np.nan_to_num(window[:, rows], posinf=0.0, neginf=0.0)
            level[rows] = np.median(strip, axis=0)
            if len(strip) > 1:
                noise[rows] = np.median(np.abs(np.diff(strip, axis=0)), axis=0) * (1.4826 / np.sqrt(2))
    sd = np.median(noises, axis=0)
    floor = LEAST_NOISE * float(np.median(sd[sd > 0])) if (sd > 0).any() else 1.0
    centres = starts + min(WINDOW_FRAMES, n_frames) / 2 - 0.5
    return Look(levels, centres, np.maximum(sd, floor).astype(np.float32), foreground(levels.mean(axis=0)))
