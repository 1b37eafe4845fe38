"""Pieces of a movie: overlapping spans of an axis, and its frames in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from calcium_helpers.containers import Movie
from calcium_helpers.movie import CHUNK_BYTES


class Span(NamedTuple):
    """A piece of an axis and the weight (n,) of each of its elements; the weights of overlapping spans sum to one."""

    start: int
    stop: int
    weights: np.ndarray

    @property
    def inside(self) -> slice:
        """The piece as a slice."""
        return slice(self.start, self.stop)


def cut_spans(length: int, size: int, overlap: int) -> list[Span]:
    """Cut an axis into spans of about ``size`` of which only neighbours overlap, by ``overlap`` (below half of ``size``)."""
    n = max(1, round((length - overlap) / (size - overlap)))
    if n == 1:
        return [Span(0, length, np.ones(length, dtype=np.float32))]
    edges = np.rint(np.linspace(0, length - overlap, n + 1)).astype(int)
    ramp = ((np.arange(overlap) + 0.5) / max(overlap, 1)).astype(np.float32)
    spans = []
    for index, (start, end) in enumerate(pairwise(edges)):
        weights = np.ones(end + overlap - start, dtype=np.float32)
        if index > 0:
            weights[:overlap] = ramp
        if index < n - 1:
            weights[end - start :] = 1 - ramp
        spans.append(Span(int(start), int(end + overlap), weights))
    return spans


class Source:
    """Frames as float32, the last good frame in place of a bad one."""

    def __init__(self, movie: Movie, bad_frames: np.ndarray | None) -> None:
        bad = np.unique(np.asarray([] if bad_frames is None else bad_frames, dtype=np.int64))
        if bad.size and (bad[0] < 0 or bad[-1] >= movie.n_frames):
            raise ValueError(f"bad_frames must lie in 0..{movie.n_frames - 1}, got {bad[0]}..{bad[-1]}")
        good = np.setdiff1d(np.arange(movie.n_frames), bad)
        if not good.size:
            raise ValueError(f"bad_frames must leave at least one frame, got all {movie.n_frames}")
        self.movie = movie
        self.stand_in = good[np.maximum(np.searchsorted(good, np.arange(movie.n_frames), side="right") - 1, 0)]

    def chunks(self, start: int, stop: int, multiple: int = 1) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(start, frames)`` in chunks of about 64 MB and a multiple of so many frames."""
        frame_bytes = 4 * self.movie.shape[1] * self.movie.shape[2]
        step = max(CHUNK_BYTES // frame_bytes // multiple, 1) * multiple
        for first in range(start, stop, step):
            yield first, self.read(first, min(first + step, stop))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read frames (n, H, W) into an array of their own.

        Raises
        ------
        ValueError
            For NaN or infinity; the message names the first such frame.
        """
        frames = np.array(self.movie.frames(start, stop), dtype=np.float32)
        wanted = self.stand_in[start:stop]
        for index in np.flatnonzero(wanted != np.arange(start, stop)):
            frames[index] = self.movie.frames(int(wanted[index]), int(wanted[index]) + 1)[0]
        bad = np.flatnonzero(~np.isfinite(frames.sum(axis=(1, 2), dtype=np.float64)))
        if bad.size:
            raise ValueError(f"movie must be finite, got NaN or infinity in frame {start + bad[0]}: mend it or name it bad")
        return frames
