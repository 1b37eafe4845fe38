"""Light that is not a cell's: glow from out of focus, brighter in the middle of a one-photon field and rising and falling.

The background around a pixel is the movie blurred over about a cell's diameter. A pixel shows more or less of it than its
neighbours, by vessels, texture and vignette; that share follows the mean image. So the glow is subtracted pixel by pixel,
share times blurred movie: a plain spatial high-pass would leave the texture of the tissue flickering with the glow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize

from calcium_helpers.containers import Movie
from calcium_helpers.containers._base import check_positive
from calcium_helpers.movie import iter_chunks

MOST_SHARE = 4.0  # a pixel that seems to show more than this of the glow is a cell
NEGLIGIBLE = 1e-4  # parts of a blur that let less through than this share
LEAST_LIGHT = 0.1  # darker corners are not amplified any further
SAMPLED_FRAMES = 400


class Share(NamedTuple):
    """``share`` (H, W) of the light around it that a pixel shows, about 1, and the camera's ``offset``, counts."""

    share: np.ndarray
    offset: float


class Blur:
    """Gaussian blur of frames, and of what it leaves once more, so that it follows slopes and curves of the glow.

    Weights at the edge of the frame are renormalised. A wide blur leaves few independent numbers an axis, so each frame is
    projected on them: many times faster than a convolution.
    """

    def __init__(self, shape: tuple[int, int], sd_px: float) -> None:
        self._y, self._x = (_Axis.of(n, sd_px) for n in shape)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Blur one frame (H, W)."""
        y, x = self._y, self._x
        seen = y.seen.T @ frame @ x.seen
        once = y.strength[:, None] * seen * x.strength
        return np.asarray(y.shown @ (2 * once - y.again @ once @ x.again.T) @ x.shown.T)


class _Axis(NamedTuple):
    """Blur along an axis of n pixels as ``shown @ diag(strength) @ seen.T``; ``again`` blurs its r numbers once more."""

    seen: np.ndarray
    strength: np.ndarray
    shown: np.ndarray
    again: np.ndarray

    @classmethod
    def of(cls, n: int, sd: float) -> _Axis:
        """Make the blur and keep of it what matters."""
        distance = np.subtract.outer(np.arange(n), np.arange(n))
        weights = np.exp(-0.5 * (distance / sd) ** 2)
        shown, strength, seen = np.linalg.svd(weights / weights.sum(axis=1, keepdims=True))
        rank = int((strength > NEGLIGIBLE * strength[0]).sum())
        shown, strength, seen = shown[:, :rank], strength[:rank], seen[:rank].T
        again = strength[:, None] * (seen.T @ shown)
        return cls(*(np.ascontiguousarray(part, dtype=np.float32) for part in (seen, strength, shown, again)))


def estimate_share(fluctuations: np.ndarray, mean: np.ndarray, blur: Blur) -> Share:
    """Estimate which share of the blurred fluctuations around it each pixel shows, from the mean image.

    The share is the mean image above the camera's offset over the same blurred, ``(mean - o) / blur(mean - o)``. The offset
    is not known: it is the one for which the shares agree best with those regressed pixel by pixel, which alone would be too
    noisy, and which cells mislead.

    Parameters
    ----------
    fluctuations : ndarray, shape (B, H, W)
        Frames, or means of a few frames each, without their mean.
    mean : ndarray, shape (H, W)
        Mean image.
    blur : Blur
        Over about a cell's diameter.

    Returns
    -------
    Share
        Less than 1 in vessels.
    """
    product, square = np.zeros(mean.shape), np.zeros(mean.shape)
    for frame in fluctuations:
        glow = blur(frame)
        product += frame * glow
        square += glow * glow
    regressed = np.divide(product, square, out=np.ones_like(product), where=square > 0)
    around = blur(mean)
    detail = mean - around
    tissue = np.abs(detail) <= 3 * np.median(np.abs(detail))  # bright cells glow by themselves and would mislead the fit
    span = float(mean.max() - mean.min()) + 1e-6
    offset = optimize.minimize_scalar(
        lambda o: float(np.mean((regressed - 1 - detail / (around - o))[tissue] ** 2)),
        bounds=(float(around.min()) - 20 * span, float(around.min()) - 0.02 * span),
        method="bounded",
    ).x
    return Share(np.clip(1 + detail / (around - offset), 0, MOST_SHARE).astype(np.float32), float(offset))


def subtract_glow(fluctuations: np.ndarray, mean: np.ndarray, *, sd_px: float) -> Share:
    """Take the glow out of fluctuations, in place.

    Parameters
    ----------
    fluctuations : ndarray, shape (B, H, W), float32
        Frames without their mean; changed.
    mean : ndarray, shape (H, W)
        Mean image.
    sd_px : float
        Standard deviation of the blur, about a cell's diameter.

    Returns
    -------
    Share
        What was subtracted is ``share`` times the blurred frame.
    """
    blur = Blur((mean.shape[0], mean.shape[1]), sd_px)
    found = estimate_share(fluctuations, mean, blur)
    for frame in fluctuations:
        frame -= found.share * blur(frame)
    return found


def remove_background(
    movie: Movie, *, diameter_px: float, flatten: bool = True, out: np.ndarray | None = None, progress: bool = False
) -> Movie:
    """Leave what changes in cells: remove still light and fluctuating glow, and even out the vignette of a one-photon movie.

    Parameters
    ----------
    movie : Movie
        Motion-corrected.
    diameter_px : float
        About the diameter of a cell, px: what is much wider counts as background.
    flatten : bool
        Divide by the illumination (the mean image above the camera's offset, blurred over five cells, 1 at its brightest), so
        that equal cells look equal in the corners.
    out : ndarray, shape (T, H, W), float32, optional
        Where the frames are written, such as a memory map.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Movie
        float32, around 0: what a cell shows at rest is gone, as it cannot be told from the glow.

    Raises
    ------
    ValueError
        For a diameter that is not above 0, or ``out`` of another shape.
    """
    check_positive("diameter_px", diameter_px, "pixels")
    out = np.empty(movie.shape, dtype=np.float32) if out is None else out
    if out.shape != movie.shape:
        raise ValueError(f"out must have the movie's shape {movie.shape}, got {out.shape}")
    shape = movie.shape[1:]
    sampled = np.unique(np.linspace(0, movie.n_frames - 1, SAMPLED_FRAMES).astype(int))
    frames = np.stack([movie.frames(i, i + 1)[0] for i in sampled.tolist()]).astype(np.float32)
    mean = frames.mean(axis=0)
    blur = Blur(shape, diameter_px)
    share, dark = estimate_share(frames - mean, mean, blur)
    light = np.ones(shape, dtype=np.float32)
    if flatten:
        light = ndimage.gaussian_filter(mean - np.float32(dark), 5 * diameter_px, mode="nearest")
        light = np.maximum(light / max(float(light.max()), 1e-6), LEAST_LIGHT)
    for start, chunk in iter_chunks(movie, progress=progress, desc="removing background"):
        for offset, frame in enumerate(chunk):
            change = frame - mean
            out[start + offset] = (change - share * blur(change)) / light
    note = f"background removed (cells of {diameter_px:g} px{', vignette evened out' if flatten else ''})"
    return movie.replace(data=out, history=(*movie.history, note))
