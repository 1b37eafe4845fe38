"""One window of time: measured, decomposed, projected and put together again, its blocks over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from calcium_helpers.denoise.basis import find_basis
from calcium_helpers.denoise.config import DenoiseConfig
from calcium_helpers.denoise.courses import smooth_courses
from calcium_helpers.denoise.pieces import Source, Span, cut_spans
from calcium_helpers.movie import CHUNK_BYTES

FEWEST_BINS = 32  # where there are as many frames


class Block:
    """A block of pixels: its place, its blending weights (h*w,), its basis (h*w, R) and courses (R, n)."""

    def __init__(self, rows: Span, columns: Span, n_frames: int) -> None:
        self.place = (slice(None), rows.inside, columns.inside)
        self.weights = np.outer(rows.weights, columns.weights).reshape(-1, 1)
        self.n_frames = n_frames

    def decompose(self, bins: np.ndarray, false_components: float) -> None:
        """Find the basis in means of frames (n, H, W)."""
        self.basis = find_basis(np.ascontiguousarray(bins[self.place]), false_components=false_components)
        self.courses = np.zeros((self.basis.shape[1], self.n_frames), dtype=np.float32)

    def project(self, start: int, frames: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> None:
        """Fill the courses from frames (n, H, W), the first of which is number ``start``."""
        rows, columns = self.place[1:]
        pixels = (frames[self.place] - mean[rows, columns]) * scale[rows, columns]
        self.courses[:, start : start + len(frames)] = self.basis.T @ pixels.reshape(len(frames), -1).T

    def smooth(self, n_scales: int, false_details: float) -> None:
        """Take noise out of the courses."""
        self.courses = smooth_courses(self.courses, n_scales=n_scales, false_details=false_details)

    def add_to(self, frames: np.ndarray, start: int) -> None:
        """Add the block's part to frames (n, H, W)."""
        part = self.courses[:, start : start + len(frames)].T @ (self.basis * self.weights).T
        target = frames[self.place]
        target += part.reshape(target.shape)


class Window:
    """Frames decomposed together.

    Parameters
    ----------
    source : Source
    span : Span
        The frames, and their weights in the result.
    config : DenoiseConfig
    pool : ThreadPoolExecutor
    tick : callable
        Called with the number of frames just read or written, three times a frame in all.
    """

    def __init__(
        self, source: Source, span: Span, config: DenoiseConfig, pool: ThreadPoolExecutor, tick: Callable[[int], object]
    ) -> None:
        self.source, self.span, self.config, self.pool, self.tick = source, span, config, pool, tick
        n_frames, (_, height, width) = span.stop - span.start, source.movie.shape
        lasts = config.transient_s * source.movie.fs
        self.n_scales = max(round(np.log2(max(lasts, 1))), 0)
        self.bin_frames = max(min(round(lasts / 2), n_frames // FEWEST_BINS), 1)
        overlap = config.block_px // 3
        columns = cut_spans(width, config.block_px, overlap)
        self.rows = [[Block(rows, part, n_frames) for part in columns] for rows in cut_spans(height, config.block_px, overlap)]
        self.bands = cut_spans(height, config.block_px, 0)

    def denoise(self, out: np.ndarray) -> None:
        """Write the window's frames to ``out`` (T, H, W); where an earlier window reaches, add to it."""
        self._decompose()
        for start, frames in self._chunks():
            self._each_block(partial(Block.project, start=start, frames=frames, mean=self.mean, scale=self.scale))
        self._each_block(lambda block: block.smooth(self.n_scales, self.config.false_details))
        self._write(out)

    @property
    def rank(self) -> np.ndarray:
        """Components of each block, shape (gy, gx)."""
        return np.array([[block.basis.shape[1] for block in row] for row in self.rows])

    def _decompose(self) -> None:
        """Find the basis of each block."""
        bins = self._measure()
        self._each_block(lambda block: block.decompose(bins, self.config.false_components))

    def _measure(self) -> np.ndarray:
        """Find mean and noise of each pixel, and return whitened means of ``bin_frames`` frames (n, H, W)."""
        shape, size, n_frames = self.source.movie.shape[1:], self.bin_frames, len(self.span.weights)
        total, squares, n_steps = np.zeros(shape), np.zeros(shape), 0
        bins = np.empty((n_frames // size, *shape), dtype=np.float32)
        offset = self.source.read(self.span.start, self.span.start + 1)[0]  # sums of deviations lose no digits

        def add(rows: Span, start: int, frames: np.ndarray) -> None:
            part = frames[:, rows.inside] - offset[rows.inside]
            total[rows.inside] += part.sum(axis=0, dtype=np.float64)
            steps = part[2:] - 2 * part[1:-1] + part[:-2]
            squares[rows.inside] += np.einsum("thw,thw->hw", steps, steps)
            n = len(part) // size
            groups = part[: n * size].reshape(n, size, *part.shape[1:])
            bins[start // size : start // size + n, rows.inside] = groups.sum(axis=1)

        for start, frames in self._chunks(multiple=size):
            list(self.pool.map(partial(add, start=start, frames=frames), self.bands))
            n_steps += max(len(frames) - 2, 0)
        # The second difference of white noise has six times its variance, and next to nothing of a slower signal.
        self.noise = np.sqrt(squares / (6 * max(n_steps, 1))).astype(np.float32)
        self.scale = np.divide(1, self.noise, out=np.zeros_like(self.noise), where=self.noise > 0)
        self.mean = (offset + total / n_frames).astype(np.float32)
        bins -= (size * total / n_frames).astype(np.float32)
        bins *= self.scale / np.sqrt(size, dtype=np.float32)
        return bins

    def _write(self, out: np.ndarray) -> None:
        """Put the frames together, two neighbouring rows of blocks never at once."""
        first, n_frames = self.span.start, len(self.span.weights)
        n_shared = np.count_nonzero(self.span.weights[: n_frames // 2] < 1) if first else 0
        step = max(CHUNK_BYTES // (4 * self.noise.size), 1)
        for start in range(0, n_frames, step):
            stop = min(start + step, n_frames)
            frames = np.zeros((stop - start, *self.noise.shape), dtype=np.float32)
            self._each_block(partial(Block.add_to, frames=frames, start=start))

            def finish(rows: Span, start: int = start, stop: int = stop, frames: np.ndarray = frames) -> None:
                part = frames[:, rows.inside]
                part *= self.noise[rows.inside]
                part += self.mean[rows.inside]
                part *= self.span.weights[start:stop, None, None]
                shared = min(max(n_shared - start, 0), stop - start)
                target = out[first + start : first + stop, rows.inside]
                target[:shared] += part[:shared]
                target[shared:] = part[shared:]

            list(self.pool.map(finish, self.bands))
            self.tick(stop - start)

    def _chunks(self, multiple: int = 1) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(start, frames)``, counted from the window's first frame."""
        for start, frames in self.source.chunks(self.span.start, self.span.stop, multiple):
            yield start - self.span.start, frames
            self.tick(len(frames))

    def _each_block(self, work: Callable[[Block], object]) -> None:
        """Do ``work`` on every block, a row of blocks a thread, never on two neighbouring rows at once."""
        for parity in (0, 1):
            list(self.pool.map(lambda row: [work(block) for block in row], self.rows[parity::2]))
