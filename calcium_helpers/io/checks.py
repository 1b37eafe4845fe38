"""What can only be known from the pixels: not-a-number, infinite values, frames without an image."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from calcium_helpers.containers import Movie
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import read_chunks

logger = logging.getLogger(__name__)


class FrameCheck(NamedTuple):
    """Frames in which all pixels are equal (dropped or blanked), by number."""

    constant_frames: np.ndarray


def check_frames(movie: Movie, *, progress: bool = True) -> FrameCheck:
    """Go once through all pixels.

    Integers cannot be NaN or infinite, so that only constant frames are looked for in them.

    Parameters
    ----------
    movie : Movie
        Read in chunks.
    progress : bool
        Show a bar.

    Returns
    -------
    FrameCheck
        Numbers of constant frames, which are also logged.

    Raises
    ------
    MovieFileError
        When a value is NaN or infinite; names the file and the first such frame.

    Examples
    --------
    >>> check_frames(Movie(np.arange(12).reshape(3, 2, 2), fs=30.0), progress=False).constant_frames.tolist()
    []
    """
    source = movie.history[0].removeprefix("loaded ").split(" (")[0] if movie.history else "movie"
    floating = np.issubdtype(movie.data.dtype, np.floating)
    constant = []
    for part, frames in read_chunks(movie, desc="checking frames", progress=progress):
        pixels = frames.reshape(len(frames), -1)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        if floating and not (finite := np.isfinite(low) & np.isfinite(high)).all():
            bad = part.start + int(np.argmin(finite))
            raise MovieFileError(source, f"frame {bad} holds NaN or infinite values", "Replace them, or cut the frame out")
        constant.append(part.start + np.flatnonzero(low == high))
    found = np.concatenate(constant)
    if found.size:
        logger.warning("%s: %d constant frame(s), the first is frame %d", source, found.size, found[0])
    return FrameCheck(found)
