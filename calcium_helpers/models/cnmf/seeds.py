"""Greedy search for cells: best seed first, its footprint fitted and its activity taken out before the next.

The seed score is local correlation times peak-to-noise ratio, both of the smoothed residual. The correlation is taken
across a third of a cell, further than smoothing and interpolation reach: neighbours share the cell, not its shot noise.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from calcium_helpers.memory import chunk_bytes

MAX_SEEDS = 4000
RAISED_LEVELS = (0.4, 0.55, 0.7)  # of the peak, tried in turn where a footprint comes out too large
CERTAIN = 1.5  # a score that is a cell's in any field: a correlation 0.3 above the noise's with a peak 5 times its sd
NOISE_STEPS = 100
ACTIVE = 2.0  # a bin counts as active when the trace is this many noise sds up


class Seed(NamedTuple):
    """One cell as first fitted: window's top left corner, footprint (h, w) of unit norm, trace (B,) in units of noise."""

    corner: tuple[int, int]
    footprint: np.ndarray
    trace: np.ndarray


class ScoreMap:
    """The seed score of every pixel, kept up to date while cells are taken out of the residual."""

    def __init__(self, residual: np.ndarray, diameter_px: float, inside: np.ndarray) -> None:
        self.residual = residual
        self.inside = inside
        self.wide_sd, self.narrow_sd = max(diameter_px / 5, 0.8), max(diameter_px / 12, 0.6)
        self.step = max(2, round(diameter_px / 3))
        self.reach = int(np.ceil(3 * self.wide_sd)) + self.step
        _, height, width = residual.shape
        shape = (height, width)
        every = np.s_[:: max(1, len(residual) // 300)]
        sample = np.stack([_smooth(frame[None], self.wide_sd)[0, ::3, ::3] for frame in residual[every]])
        self.noise = max(1.4826 * float(np.median(np.abs(sample - np.median(sample)))), 1e-6)
        self.correlation = np.zeros(shape, dtype=np.float32)
        self.pnr = np.zeros(shape, dtype=np.float32)
        side = max(32, math.isqrt(chunk_bytes(2**26) // (4 * len(residual))))
        tiles = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda at: self.update(at[0], min(at[0] + side, height), at[1], min(at[1] + side, width)), tiles))
        self.floor = self._noise_correlation()

    def _noise_correlation(self) -> float:
        """Correlation that the noise has across ``step``, from changes between bins: smoothed movies have some of it.

        The median correlation itself would be that of cells where cells fill the field.
        """
        if len(self.residual) < 2 or not self.inside.any():
            return 0.0
        starts = np.unique(np.linspace(0, len(self.residual) - 2, NOISE_STEPS).astype(int))
        changes = np.stack([_smooth(self.residual[i + 1 : i + 2] - self.residual[i], self.narrow_sd)[0] for i in starts])
        return float(np.median(_distant_correlation(changes, self.step)[self.inside]))

    @property
    def score(self) -> np.ndarray:
        """Excess of the correlation over the noise's, 0..1, times peak-to-noise ratio, shape (H, W); 0 outside ``inside``."""
        return np.maximum(self.correlation - self.floor, 0) / max(1 - self.floor, 1e-3) * self.pnr * self.inside

    def update(self, y0: int, y1: int, x0: int, x1: int) -> None:
        """Recompute the maps inside a rectangle."""
        height, width = self.pnr.shape
        top, left = max(y0 - self.reach, 0), max(x0 - self.reach, 0)
        outer = np.s_[:, top : min(y1 + self.reach, height), left : min(x1 + self.reach, width)]
        inner = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        frames = self.residual[outer]
        wide = _smooth(frames, self.wide_sd)[(slice(None), *inner)]
        below = np.minimum(wide, 0)
        spread = np.sqrt(2 * np.einsum("thw,thw->hw", below, below) / len(wide))  # of symmetric changes, which no cell makes
        self.pnr[y0:y1, x0:x1] = wide.max(axis=0) / np.maximum(spread, self.noise)
        narrow = _smooth(frames, self.narrow_sd)
        self.correlation[y0:y1, x0:x1] = _distant_correlation(narrow, self.step)[inner]


def _smooth(frames: np.ndarray, sd: float) -> np.ndarray:
    """Smooth frames (B, h, w) in space."""
    return ndimage.gaussian_filter(frames, (0, sd, sd), mode="constant", truncate=3)


def _distant_correlation(frames: np.ndarray, step: int) -> np.ndarray:
    """Mean correlation in time of each pixel with the eight pixels ``step`` away, shape (h, w)."""
    frames = frames - frames.mean(axis=0)
    frames /= np.sqrt(np.einsum("thw,thw->hw", frames, frames)) + 1e-9
    height, width = frames.shape[1:]
    total, count = np.zeros((height, width), np.float32), np.full((height, width), 1e-9, np.float32)
    diagonal = max(1, round(step * np.sqrt(0.5)))
    for dy, dx in ((0, step), (step, 0), (diagonal, diagonal), (diagonal, -diagonal)):
        near = np.s_[: max(height - dy, 0), max(-dx, 0) : max(width - max(dx, 0), 0)]
        far = np.s_[dy:, max(dx, 0) : width - max(-dx, 0)]
        value = np.einsum("thw,thw->hw", frames[(slice(None), *near)], frames[(slice(None), *far)])
        for view in (near, far):
            total[view] += value
            count[view] += 1
    return total / count


def find_seeds(
    residual: np.ndarray, inside: np.ndarray, *, diameter_px: float, threshold: float, max_seeds: int = MAX_SEEDS,
    progress: bool = False,
) -> tuple[list[Seed], int]:  # fmt: skip
    """Find cells one after another in whitened frames (B, H, W), which are changed in place into the residual.

    Parameters
    ----------
    residual : ndarray, shape (B, H, W), float32
        Whitened movie.
    inside : ndarray of bool, shape (H, W)
        Where seeds may stand.
    diameter_px : float
        Diameter of a cell.
    threshold : float
        Smallest score above the background's, in robust standard deviations.
    max_seeds : int
        Stop after so many.
    progress : bool
        Show a progress bar.

    Returns
    -------
    seeds : list of Seed
        In the order found.
    n_tried : int
        Places that were looked at; the others had no footprint of plausible size.
    """
    maps = ScoreMap(residual, diameter_px, inside)
    open_ = inside.copy()
    score = maps.score
    limit = seed_limit(score[inside], threshold=threshold)
    height, width = score.shape
    half, near = int(np.ceil(diameter_px)), max(1, int(diameter_px / 6))
    found: list[Seed] = []
    n_tried = 0
    with tqdm(desc="seeds", unit="cell", disable=not progress) as bar:
        while len(found) < max_seeds:
            y, x = divmod(int(np.argmax(score * open_)), width)
            if not open_[y, x] or score[y, x] <= limit:
                break
            n_tried += 1
            open_[max(y - near, 0) : y + near + 1, max(x - near, 0) : x + near + 1] = False
            top, left = max(y - half, 0), max(x - half, 0)
            local = residual[:, top : y + half + 1, left : x + half + 1]
            fitted = fit_footprint(local, (y - top, x - left), diameter_px)
            if fitted is None:
                continue
            footprint, trace = fitted
            local -= np.maximum(trace - ACTIVE / 2, 0)[:, None, None] * footprint
            maps.update(top, min(y + half + 1, height), left, min(x + half + 1, width))
            score = maps.score
            found.append(Seed((top, left), footprint, trace))
            bar.update()
    return found, n_tried


def seed_limit(score: np.ndarray, *, threshold: float) -> float:
    """Score that a seed must exceed: so many spreads of the background's, or what is a cell's in any field."""
    return min(threshold * _background_spread(score), CERTAIN)


def _background_spread(score: np.ndarray) -> float:
    """Robust standard deviation of the score where there is no cell, from the quarter of the pixels that score lowest.

    The correlation of background scatters around its median, so half of the scores are zero and the others half-normal:
    their first quartile lies at 0.32 standard deviations. A quartile bears a field half full of cells.
    """
    positive = score[score > 0]
    return max(float(np.quantile(positive, 0.25)) / 0.32, 0.02) if positive.size else 0.02


def fit_footprint(frames: np.ndarray, seed: tuple[int, int], diameter_px: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Fit one cell around ``seed`` in a window (B, h, w) of the residual.

    Trace and footprint are regressed on one another three times, over active bins only; the footprint is kept to one
    connected piece.

    Returns
    -------
    tuple or None
        Footprint (h, w) of unit norm and trace (B,) in units of its noise; None where no cell of plausible size is left.
    """
    y, x = np.ogrid[: frames.shape[1], : frames.shape[2]]
    footprint = np.exp(-((y - seed[0]) ** 2 + (x - seed[1]) ** 2) / (2 * (diameter_px / 5) ** 2)).astype(np.float32)
    footprint /= np.linalg.norm(footprint)
    flat = frames.reshape(len(frames), -1)
    least, most = plausible_area(diameter_px)
    for _ in range(3):
        trace = flat @ footprint.reshape(-1)
        drive = np.where(trace > ACTIVE, trace, 0)
        energy = float(drive @ drive)
        if energy < 3 * ACTIVE**2:
            return None
        weights = (drive @ flat / energy).reshape(footprint.shape)
        shaped = shape_footprint(weights, seed, noise=1 / np.sqrt(energy), most_px=most)
        if shaped is None or not least <= np.count_nonzero(shaped) <= most:
            return None
        footprint = shaped / np.linalg.norm(shaped)
    return footprint, (flat @ footprint.reshape(-1)).astype(np.float32)


def plausible_area(diameter_px: float) -> tuple[float, float]:
    """Smallest and largest area, px, of a cell of that diameter: a quarter and two and a half times the disc's."""
    disc = np.pi * (diameter_px / 2) ** 2
    return disc / 4, 2.5 * disc


def shape_footprint(
    weights: np.ndarray, seed: tuple[int, int] | None, *, noise: float, most_px: float, level: float = 0.25
) -> np.ndarray | None:
    """Turn noisy pixel weights (h, w) into one connected, filled, non-negative footprint; None where nothing stands out.

    Pixels count when the lightly smoothed weight is above ``level`` of the peak and above twice its noise; the piece at
    ``seed`` is kept, or the largest one. Where it is larger than ``most_px`` the level is raised: blurred cells have skirts
    that run into one another.
    """
    smooth = ndimage.gaussian_filter(weights, 1.0, mode="constant")
    near = smooth if seed is None else smooth[max(seed[0] - 2, 0) : seed[0] + 3, max(seed[1] - 2, 0) : seed[1] + 3]
    peak = float(np.max(near, initial=0))
    if peak <= 0:
        return None
    for fraction in (level, *(step for step in RAISED_LEVELS if step > level)):
        cut = max(fraction * peak, 2 * noise * 0.28)  # 0.28: what the smoothing leaves of white noise
        piece = _one_piece(smooth > cut, seed)
        if piece is None or np.count_nonzero(piece) <= most_px:
            break
    return None if piece is None else np.where(piece, np.maximum(smooth, fraction * peak), 0).astype(np.float32)


def _one_piece(mask: np.ndarray, seed: tuple[int, int] | None) -> np.ndarray | None:
    """Keep the piece nearest to ``seed``, or the largest, with its holes filled; None of an empty mask."""
    labels, n = ndimage.label(mask)
    if not n:
        return None
    if seed is None:
        label = int(np.argmax(np.bincount(labels.reshape(-1))[1:])) + 1
    else:
        y, x = np.nonzero(labels)
        nearest = int(np.argmin((y - seed[0]) ** 2 + (x - seed[1]) ** 2))
        label = int(labels[y[nearest], x[nearest]])
    return ndimage.binary_fill_holes(labels == label)
