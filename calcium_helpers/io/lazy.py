"""Frames read on demand: the arrays behind a loaded movie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from tqdm import tqdm

from calcium_helpers.containers import Movie
from calcium_helpers.memory import chunk_bytes

CHUNK_BYTES = 2**26
"""Bytes of frames held at a time where a movie is walked through."""

OPEN_FILES = 16
"""Files of a series kept open at a time, well under what systems allow a process."""


class LazyFrames:
    """An array (T, ...) whose frames are read, in native byte order, when they are asked for.

    Parameters
    ----------
    read : callable
        Takes a slice with a positive step, or frame numbers that are sorted and unique, and returns those frames.
    shape : sequence of int
        T first.
    dtype : dtype
        As stored; frames come back in the machine's byte order.
    """

    def __init__(self, read: Callable[[Any], Any], shape: Sequence[int], dtype: Any) -> None:
        self._read = read
        self.shape = tuple(int(n) for n in shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(dtype).newbyteorder("=")

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"LazyFrames(shape={self.shape}, dtype={self.dtype})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("LazyFrames are read from a file: an array of them is always a copy")
        return self._slice(slice(None)).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        time, *rest = key if isinstance(key, tuple) and key else (key,)
        if isinstance(time, (int, np.integer)) and not isinstance(time, bool):
            return self._rows([time])[(0, *rest)]
        if isinstance(time, slice):
            return self._slice(time)[(slice(None), *rest)]
        if isinstance(time, (list, range, np.ndarray)) and np.ndim(time) == 1 and not rest:
            return self._rows(time)
        return np.asarray(self)[key]

    def _slice(self, key: slice) -> np.ndarray:
        start, stop, step = key.indices(len(self))
        if step < 0 or stop <= start:
            return self._rows(range(start, stop, step))
        return np.asarray(self._read(slice(start, stop, step)), dtype=self.dtype)

    def _rows(self, rows: Any) -> np.ndarray:
        # NumPy's own rules for masks, negative numbers and bounds.
        numbers, back = np.unique(np.arange(len(self))[list(rows) if isinstance(rows, range) else rows], return_inverse=True)
        if numbers.size == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return np.asarray(self._read(numbers), dtype=self.dtype)[back]


def native(frames: np.ndarray) -> Any:
    """Return frames that compute anywhere: the array itself, or a lazy one that turns bytes round and aligns them."""
    if frames.dtype.isnative and frames.flags.aligned:
        return frames
    return LazyFrames(lambda key: frames[key], frames.shape, frames.dtype)


def as_slice(rows: np.ndarray) -> slice | None:
    """Write increasing, evenly spaced row numbers as a slice, or return None where they are not."""
    steps = np.diff(rows)
    if len(rows) == 0 or (len(steps) and (steps[0] <= 0 or (steps != steps[0]).any())):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1, int(steps[0]) if len(steps) else 1)


def select(frames: Any, rows: np.ndarray) -> Any:
    """Pick frames by number: a view of an array where they are evenly spaced, else frames that are read on demand."""
    even = as_slice(rows)
    if even == slice(0, len(frames), 1):
        return frames
    if even is not None and isinstance(frames, np.ndarray):
        return frames[even]
    return LazyFrames(lambda key: frames[_narrow(rows[key])], (len(rows), *frames.shape[1:]), frames.dtype)


def join(openers: Sequence[Callable[[], Any]], lengths: Sequence[int], shape: Sequence[int], dtype: Any) -> LazyFrames:
    """Put the frames of several files one after the other; files are opened when needed, a few at a time.

    Parameters
    ----------
    openers : sequence of callable
        Each opens one file and returns its frames (n, ...).
    lengths : sequence of int
        Frames in each file.
    shape, dtype
        Of one frame, the same in all files.
    """
    ends = np.cumsum(lengths)
    opened = lru_cache(maxsize=OPEN_FILES)(lambda i: openers[i]())

    def read(key: slice | np.ndarray) -> np.ndarray:
        rows = np.arange(ends[-1])[key]
        home = np.searchsorted(ends, rows, side="right")
        out = np.empty((len(rows), *shape), np.dtype(dtype).newbyteorder("="))
        for i in np.unique(home):
            here = home == i
            out[here] = opened(i)[_narrow(rows[here] - ends[i] + lengths[i])]
        return out

    return LazyFrames(read, (ends[-1], *shape), dtype)


def read_chunks(movie: Movie, *, desc: str, progress: bool) -> Iterator[tuple[slice, np.ndarray]]:
    """Read a movie in its own dtype, about ``CHUNK_BYTES`` at a time; yields where and what."""
    step = max(1, chunk_bytes(CHUNK_BYTES) // (int(np.prod(movie.shape[1:])) * movie.data.dtype.itemsize))
    with tqdm(total=movie.n_frames, desc=desc, unit="frame", disable=not progress) as bar:
        for start in range(0, movie.n_frames, step):
            frames = movie.frames(start, min(start + step, movie.n_frames))
            yield slice(start, start + len(frames)), frames
            bar.update(len(frames))


def _narrow(rows: np.ndarray) -> slice | np.ndarray:
    """Prefer a slice: files read one block faster than a list of frames."""
    even = as_slice(rows)
    return rows if even is None else even
