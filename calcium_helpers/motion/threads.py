"""Frames in chunks over threads: each thread owns an aligner, the main thread alone reads the source."""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from calcium_helpers.containers import Movie
from calcium_helpers.memory import let_go
from calcium_helpers.motion.align import Aligner

CHUNK_FRAMES = 16

Chunks = Iterator[tuple[int, np.ndarray]]


def read_frames(movie: Movie, start: int, stop: int) -> np.ndarray:
    """Read frames as a type that the kernels know: native byte order, floats of 32 bits or more."""
    frames = movie.frames(start, stop)
    return np.ascontiguousarray(frames, dtype=np.float32 if frames.dtype == np.float16 else frames.dtype.newbyteorder("="))


def align_frames(
    make_aligner: Callable[[], Aligner], frames: np.ndarray, *, out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Align frames held in memory (T, H, W); see ``align_chunks``."""
    chunks = ((start, frames[start : start + CHUNK_FRAMES]) for start in range(0, len(frames), CHUNK_FRAMES))
    return align_chunks(make_aligner, chunks, len(frames), out=out)


def align_chunks(
    make_aligner: Callable[[], Aligner], chunks: Chunks, n_frames: int, *, out: np.ndarray | None = None, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Align chunks ``(start, frames)`` and write the corrected frames to ``out`` (T, H, W) where given.

    Returns
    -------
    grids : ndarray, shape (T, gy, gx, 2), float32
        Corrections, pixels.
    correlation : ndarray, shape (T,)
        Of each corrected frame with the template.
    """
    n_threads = os.cpu_count() or 1
    aligners: queue.SimpleQueue[Aligner] = queue.SimpleQueue()
    for _ in range(n_threads):
        aligners.put(make_aligner())

    def work(start: int, frames: np.ndarray) -> list[tuple[np.ndarray, float]]:
        aligner = aligners.get()
        try:
            scratch = np.empty(frames.shape[1:], dtype=np.float32)
            found = []
            for index, frame in enumerate(frames, start):
                found.append(aligner.align(frame, scratch))
                if out is not None:
                    out[index] = scratch
            return found
        finally:
            aligners.put(aligner)

    results: list[tuple[np.ndarray, float]] = []
    pending: deque[Future[list[tuple[np.ndarray, float]]]] = deque()
    with ThreadPoolExecutor(n_threads) as pool, tqdm(total=n_frames, desc="motion", unit="frame", disable=not progress) as bar:

        def collect() -> None:
            found = pending.popleft().result()
            results.extend(found)
            bar.update(len(found))
            let_go(out)

        for start, frames in chunks:
            pending.append(pool.submit(work, start, frames))
            if len(pending) > 2 * n_threads:
                collect()
        while pending:
            collect()
    return np.stack([grid for grid, _ in results]), np.array([correlation for _, correlation in results])
