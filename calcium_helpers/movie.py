"""Looking at a movie as a whole: chunks, summary images, gaps in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from calcium_helpers.containers import Movie
from calcium_helpers.memory import chunk_bytes, let_go

CHUNK_BYTES = 64 * 2**20

GAP_STEPS = 1.5
"""A step between frame times that is longer than so many median steps is a gap."""


class SummaryImages(NamedTuple):
    """Images (H, W), float32, of a movie.

    ``mean`` and ``max`` in counts (the maximum is over means of half a second, so that it shows cells, not noise),
    ``correlation`` between a pixel and its eight neighbours, ``pnr`` the peak over the noise of those means.
    """

    mean: np.ndarray
    max: np.ndarray
    correlation: np.ndarray
    pnr: np.ndarray


class Gaps(NamedTuple):
    """Gaps between frames: the frame before each, its time, the gap's length, and how many frames fit in between."""

    frames: np.ndarray
    starts_s: np.ndarray
    lengths_s: np.ndarray
    missed: np.ndarray

    def __str__(self) -> str:
        text = f"{len(self.frames)} gaps in the frame times"
        if not len(self.frames):
            return text
        first = f"the first after frame {self.frames[0]} ({self.starts_s[0]:.2f} s)"
        return f"{text}, {first}, the longest {self.lengths_s.max():.3g} s, about {self.missed.sum()} frames missed"


def find_gaps(times_s: np.ndarray) -> Gaps:
    """Find steps between frame times that are longer than 1.5 times the median step.

    Parameters
    ----------
    times_s : ndarray, shape (T,)
        Time of each frame, seconds, increasing.

    Returns
    -------
    Gaps
        Empty where there are none, or fewer than three frames; as text it says how many, the first and the longest.

    Examples
    --------
    >>> gaps = find_gaps(np.array([0.0, 0.1, 0.2, 0.6, 0.7]))
    >>> gaps.frames.tolist(), gaps.missed.tolist()
    ([2], [3])
    """
    times = np.asarray(times_s, dtype=np.float64)
    steps = np.diff(times)
    usual = np.median(steps) if len(steps) else 0.0
    frames = np.flatnonzero(steps > GAP_STEPS * usual)
    missed = np.rint(steps[frames] / usual).astype(np.int64) - 1
    return Gaps(frames, times[frames], steps[frames], missed)


def iter_chunks(movie: Movie, *, progress: bool = False, desc: str = "reading") -> Iterator[tuple[int, np.ndarray]]:
    """Yield ``(start, frames)`` as float32 chunks of about 64 MB (less within ``limit_memory``), in order of time."""
    height, width = movie.shape[1:]
    step = max(1, chunk_bytes(CHUNK_BYTES) // (4 * height * width))
    with tqdm(total=movie.n_frames, desc=desc, unit="frame", disable=not progress) as bar:
        for start in range(0, movie.n_frames, step):
            frames = movie.frames(start, min(start + step, movie.n_frames))
            yield start, frames.astype(np.float32, copy=False)
            bar.update(len(frames))
            let_go(movie.data)


def summarise(movie: Movie, *, progress: bool = False) -> SummaryImages:
    """Compute the summary images in one pass.

    Parameters
    ----------
    movie : Movie
        Read in chunks; may be larger than memory.
    progress : bool
        Show a progress bar.

    Returns
    -------
    SummaryImages
        Constant pixels and one-frame movies have correlation and pnr 0.
    """
    height, width = movie.shape[1:]
    groups = _Groups(min(max(1, round(movie.fs / 2)), movie.n_frames), (height, width))
    total = np.zeros((height, width))
    differences = np.zeros((height, width))
    peak = np.full((height, width), -np.inf, dtype=np.float32)
    neighbours = _NeighbourSums((height, width))
    last = None
    for _, frames in iter_chunks(movie, progress=progress, desc="summary images"):
        total += frames.sum(axis=0, dtype=np.float64)
        steps = np.diff(frames if last is None else np.concatenate([last, frames]), axis=0)
        differences += np.einsum("thw,thw->hw", steps, steps, dtype=np.float64)
        last = frames[-1:].copy()
        means = groups.add(frames)
        if len(means):
            np.maximum(peak, means.max(axis=0), out=peak)
            neighbours.add(means)
    mean = total / movie.n_frames
    noise = np.sqrt(differences / max(2 * (movie.n_frames - 1), 1) / groups.size)
    pnr = np.divide(peak - mean, noise, out=np.zeros_like(mean), where=noise > 0)
    return SummaryImages(*(image.astype(np.float32) for image in (mean, peak, neighbours.correlation(), pnr)))


class _Groups:
    """Means of groups of frames, which may reach from one chunk into the next; an incomplete last one is left out."""

    def __init__(self, size: int, shape: tuple[int, int]) -> None:
        self.size = size
        self.n_open = 0
        self.sum = np.zeros(shape, dtype=np.float32)

    def add(self, frames: np.ndarray) -> np.ndarray:
        """Return the means (n, H, W) of the groups that these frames complete."""
        ends = np.arange(self.size - self.n_open, len(frames) + 1, self.size)
        sums = np.add.reduceat(frames, np.append(0, ends[ends < len(frames)]), axis=0)
        sums[0] += self.sum
        self.n_open = (self.n_open + len(frames)) % self.size
        self.sum = sums[-1].copy() if self.n_open else np.zeros_like(self.sum)
        return sums[: len(ends)] / np.float32(self.size)


class _NeighbourSums:
    """Running sums from which the correlation of pixels with their neighbours follows."""

    # each pair of neighbours once: right, below, and the two diagonals below
    PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1))

    def __init__(self, shape: tuple[int, int]) -> None:
        self.n = 0
        self.offset: np.ndarray | None = None
        self.sum, self.square = np.zeros(shape), np.zeros(shape)
        self.products = [np.zeros(self._views(self.sum, pair)[0].shape) for pair in self.PAIRS]

    @staticmethod
    def _views(images: np.ndarray, pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Cut the two overlapping parts of images (..., H, W) that are ``pair`` pixels apart."""
        dy, dx = pair
        height, width = images.shape[-2:]
        near = images[..., : height - dy, max(-dx, 0) : width - max(dx, 0)]
        return near, images[..., dy:, max(dx, 0) : width - max(-dx, 0)]

    def add(self, frames: np.ndarray) -> None:
        """Add frames (n, H, W)."""
        if self.offset is None:
            self.offset = frames.mean(axis=0)  # sums of deviations lose no digits
        frames = frames - self.offset
        self.n += len(frames)
        self.sum += frames.sum(axis=0)
        self.square += np.einsum("thw,thw->hw", frames, frames)
        for product, pair in zip(self.products, self.PAIRS, strict=True):
            product += np.einsum("thw,thw->hw", *self._views(frames, pair))

    def correlation(self) -> np.ndarray:
        """Mean correlation of each pixel with its neighbours, shape (H, W)."""
        mean = self.sum / self.n
        sd = np.sqrt(np.maximum(self.square / self.n - mean**2, 0))
        total, count = np.zeros_like(mean), np.zeros_like(mean)
        for product, pair in zip(self.products, self.PAIRS, strict=True):
            (mean_a, mean_b), (sd_a, sd_b) = self._views(mean, pair), self._views(sd, pair)
            scale = sd_a * sd_b
            value = np.divide(product / self.n - mean_a * mean_b, scale, out=np.zeros_like(scale), where=scale > 1e-9)
            for part, amount in ((total, value), (count, np.ones_like(value))):
                for view in self._views(part, pair):
                    view += amount
        return np.clip(np.divide(total, count, out=np.zeros_like(total), where=count > 0), -1, 1)
