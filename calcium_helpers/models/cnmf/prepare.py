"""The movie as the detector sees it: binned in time, without drift and glow, in units of its noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from calcium_helpers.background import subtract_glow
from calcium_helpers.containers import Movie
from calcium_helpers.memory import scratch_array
from calcium_helpers.movie import iter_chunks

NOISE_STEPS = 500  # differences of frames, spread over the recording, say enough about the noise
MAX_BINS = 4000  # longer recordings are binned more coarsely: detection needs the strongest transients, not all


class Prepared(NamedTuple):
    """``binned`` (B, H, W) are means of ``frames_per_bin`` frames; ``mean`` and ``noise`` (H, W) of single frames; counts."""

    binned: np.ndarray
    mean: np.ndarray
    noise: np.ndarray
    frames_per_bin: int

    def crop(self, place: tuple[slice, ...]) -> Prepared:
        """Copy a rectangle."""
        part = self.binned[(slice(None), *place)]
        copy = scratch_array(part.shape)
        copy[:] = part
        return Prepared(copy, self.mean[place], self.noise[place], self.frames_per_bin)

    def whiten(self, glow_px: float) -> np.ndarray:
        """Take out the glow around each pixel (blur of sd ``glow_px``), divide by the noise: ``binned``, changed in place."""
        subtract_glow(self.binned, self.mean, sd_px=glow_px)
        scale = np.float32(np.sqrt(self.frames_per_bin)) / self.noise
        for frame in self.binned:
            frame *= scale
        return self.binned


def valid_mask(movie: Movie, valid: tuple[int, int, int, int] | None) -> np.ndarray:
    """Draw where cells may lie, bool (H, W): inside the rectangle (y0, y1, x0, x1), or everywhere."""
    inside = np.zeros(movie.shape[1:], dtype=bool)
    y0, y1, x0, x1 = valid or (0, movie.shape[1], 0, movie.shape[2])
    inside[y0:y1, x0:x1] = True
    return inside


def prepare(
    movie: Movie, *, decay_s: float, highpass_s: float, bad_frames: np.ndarray | None = None, progress: bool = False
) -> Prepared:
    """Bin good frames over half of ``decay_s`` and take out changes slower than ``highpass_s``."""
    bad = np.zeros(0, dtype=np.int64) if bad_frames is None else np.asarray(bad_frames, dtype=np.int64)
    if len(bad) >= movie.n_frames:
        raise ValueError(f"bad_frames must leave at least one of {movie.n_frames} frames, got {len(bad)}")
    n_good = movie.n_frames - len(bad)
    per_bin = max(1, round(decay_s * movie.fs / 2), -(-n_good // MAX_BINS))
    binned, noise = _bin(movie, per_bin, bad, progress)
    mean = binned.mean(axis=0)
    sd = highpass_s * movie.fs / per_bin
    for row in range(binned.shape[1]):  # by rows: the filter's temporary copy stays small
        binned[:, row] -= mean[row]
        if len(binned) > 4 * sd:
            binned[:, row] -= ndimage.gaussian_filter1d(binned[:, row], sd, axis=0, mode="reflect")
    return Prepared(binned, mean, noise, per_bin)


def _bin(movie: Movie, per_bin: int, bad_frames: np.ndarray, progress: bool) -> tuple[np.ndarray, np.ndarray]:
    """Average good frames in groups; also the noise of every pixel, from differences of frames."""
    height, width = movie.shape[1:]
    good = np.ones(movie.n_frames, dtype=bool)
    good[bad_frames] = False
    n_good = int(good.sum())
    n_bins = max(1, n_good // per_bin)
    binned = scratch_array((n_bins, height, width))
    squares = np.zeros((height, width), dtype=np.float32)
    every = max(1, n_good // NOISE_STEPS)
    seen, n_steps, last = 0, 0, None
    for start, chunk in iter_chunks(movie, progress=progress, desc="preparing detection"):
        for frame in chunk[good[start : start + len(chunk)]]:
            if seen // per_bin < n_bins:
                binned[seen // per_bin] += frame
            if last is not None:
                step = frame - last
                step *= step
                squares += step
                n_steps += 1
            last = frame.copy() if seen % every == 0 else None
            seen += 1
    for frame in binned:
        frame /= max(1, min(per_bin, seen))
    noise = np.sqrt(squares / max(2 * n_steps, 1)).astype(np.float32)
    floor = max(float(np.median(noise)) * 0.05, 1e-6)  # constant pixels must not become infinitely bright
    return binned, np.maximum(noise, floor)
