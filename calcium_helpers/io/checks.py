"""What can only be known from the pixels: not-a-number, infinite values, frames without an image."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from calcium_helpers.containers import Movie
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import chunks

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
    bar = tqdm(total=movie.n_frames, desc="checking frames", unit="frame", disable=not progress)
    for part in chunks(movie.shape, movie.data.dtype):
        frames = movie.frames(part.start, part.stop).reshape(part.stop - part.start, -1)
        low, high = frames.min(axis=1), frames.max(axis=1)
        if floating and not (finite := np.isfinite(low) & np.isfinite(high)).all():
            bad = part.start + int(np.argmin(finite))
            raise MovieFileError(source, f"frame {bad} holds NaN or infinite values", "Replace them, or cut the frame out")
        constant.append(part.start + np.flatnonzero(low == high))
        bar.update(part.stop - part.start)
    bar.close()
    found = np.concatenate(constant)
    if found.size and frames.shape[1] > 1:
        logger.warning("%s: %d constant frame(s), the first is frame %d", source, found.size, found[0])
    return FrameCheck(found)
