"""The movie as the detector sees it: binned in time, without drift and haze, in units of its noise."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize

from calcium_helpers.containers import Movie
from calcium_helpers.movie import iter_chunks

logger = logging.getLogger(__name__)

MAX_BINS = 4000  # longer recordings are binned more coarsely: detection needs the strongest transients, not all


class Prepared(NamedTuple):
    """``whitened`` (B, H, W) has unit noise; ``mean`` and ``noise`` (H, W) are of single frames, in counts."""

    whitened: np.ndarray
    mean: np.ndarray
    noise: np.ndarray
    frames_per_bin: int


def prepare(
    movie: Movie, *, decay_s: float, highpass_s: float, haze_px: float, bad_frames: np.ndarray, progress: bool = False
) -> Prepared:
    """Bin, take out drift and haze, and divide by the noise; bad frames are left out.

    Haze is the fluctuation that a pixel shares with a neighbourhood of ``haze_px`` (sd of a Gaussian), scaled by the
    pixel's own loading: out-of-focus light is brighter where the tissue is, so a plain spatial high-pass leaves its texture.
    """
    n_good = movie.n_frames - len(bad_frames)
    per_bin = max(1, round(decay_s * movie.fs / 2), -(-n_good // MAX_BINS))
    binned, mean, noise = _bin(movie, per_bin, bad_frames, progress)
    sd = highpass_s * movie.fs / per_bin
    binned -= mean
    if len(binned) > 4 * sd:
        for row in range(binned.shape[1]):  # by rows: the filter's temporary copy stays small
            binned[:, row] -= ndimage.gaussian_filter1d(binned[:, row], sd, axis=0, mode="reflect")
    _remove_haze(binned, mean, haze_px)
    binned *= np.float32(np.sqrt(per_bin)) / noise
    return Prepared(binned, mean, noise, per_bin)


def _remove_haze(binned: np.ndarray, mean: np.ndarray, haze_px: float) -> None:
    """Subtract from each pixel its share of the smoothed movie around it, in place.

    The share follows the mean image above the camera's offset, ``(mean - o) / blur(mean - o)``. The offset is not known: it
    is the one for which the shares agree best with those regressed pixel by pixel, which alone would be too noisy.
    """
    blur_y, blur_x = (_blur_matrix(n, haze_px) for n in mean.shape)
    product, square = np.zeros(mean.shape), np.zeros(mean.shape)
    for frame in binned:
        haze = blur_y.T @ frame @ blur_x
        product += frame * haze
        square += haze * haze
    regressed = np.divide(product, square, out=np.ones_like(product), where=square > 0)
    around = blur_y.T @ mean @ blur_x
    detail = mean - around
    tissue = np.abs(detail) <= 3 * np.median(np.abs(detail))  # bright cells glow by themselves and would mislead the fit
    span = float(mean.max() - mean.min()) + 1e-6
    offset = optimize.minimize_scalar(
        lambda o: float(np.mean((regressed - 1 - detail / (around - o))[tissue] ** 2)),
        bounds=(float(around.min()) - 20 * span, float(around.min()) - 0.02 * span),
        method="bounded",
    ).x
    logger.debug("offset of the camera taken as %.1f counts", offset)
    share = np.clip(1 + detail / (around - offset), 0, 4).astype(np.float32)
    for frame in binned:
        frame -= share * (blur_y.T @ frame @ blur_x)


def _blur_matrix(n: int, sd: float) -> np.ndarray:
    """Gaussian blur along an axis of length ``n``, to multiply from the right; weights at the edge are renormalised."""
    distance = np.subtract.outer(np.arange(n), np.arange(n))
    weights = np.exp(-0.5 * (distance / sd) ** 2)
    return (weights / weights.sum(axis=0)).astype(np.float32)


def _bin(movie: Movie, per_bin: int, bad_frames: np.ndarray, progress: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average good frames in groups; also the mean and the noise (from differences of frames) of every pixel."""
    height, width = movie.shape[1:]
    good = np.ones(movie.n_frames, dtype=bool)
    good[bad_frames] = False
    n_bins = max(1, int(good.sum()) // per_bin)
    binned = np.zeros((n_bins, height, width), dtype=np.float32)
    squares = np.zeros((height, width))
    seen, n_steps, last = 0, 0, None
    for start, chunk in iter_chunks(movie, progress=progress, desc="preparing detection"):
        frames = chunk[good[start : start + len(chunk)]]
        for frame in frames:
            if seen // per_bin < n_bins:
                binned[seen // per_bin] += frame
            if last is not None:
                step = frame - last
                squares += step * step
                n_steps += 1
            last, seen = frame, seen + 1
    binned /= max(1, min(per_bin, seen))
    noise = np.sqrt(squares / max(2 * n_steps, 1)).astype(np.float32)
    floor = max(float(np.median(noise)) * 0.05, 1e-6)  # constant pixels must not become infinitely bright
    return binned, binned.mean(axis=0), np.maximum(noise, floor)
