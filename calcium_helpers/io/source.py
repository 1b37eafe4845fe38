"""What a reader of files hands to ``load_movie``, and what it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calcium_helpers.io.errors import MovieFileError

logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """What the user chose of a file that holds more than one movie."""

    dataset: str | None = None
    channel: int | None = None
    plane: int | None = None
    progress: bool = True

    def allow(self, path: Path, *names: str) -> None:
        """Raise where an option was given that files of this kind have no use for."""
        for name in ("dataset", "channel", "plane"):
            if name not in names and getattr(self, name) is not None:
                raise MovieFileError(
                    path,
                    f"{name}={getattr(self, name)!r} was given, it has no such choice",
                    f"Leave {name} out",
                )


class Source(NamedTuple):
    """Frames as found in a file, with what the file says of them.

    ``frames`` (T, H, W) may be lazy; ``fs`` (Hz), ``pixel_um`` and ``times_s`` are None where the file is silent;
    ``fs_from`` names the entry that told the rate; ``notes`` say what was read and what was chosen.
    """

    frames: Any
    kind: str
    fs: float | None = None
    fs_from: str = ""
    pixel_um: float | None = None
    times_s: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def check_array(path: Path, what: str, shape: Sequence[int], dtype: Any) -> None:
    """Raise unless an array can be a movie: real numbers, three axes, at least one frame and one pixel."""
    kind = np.dtype(dtype)
    if not (np.issubdtype(kind, np.integer) or np.issubdtype(kind, np.floating)):
        raise MovieFileError(path, f"{what} has dtype {kind}, expected integers or floats", "Convert the movie to real numbers")
    if len(shape) != 3:
        raise MovieFileError(
            path,
            f"{what} has {len(shape)} axes, shape {tuple(shape)}, expected three (frames, rows, columns)",
            "Save one channel of one plane as (frames, rows, columns)",
        )
    if min(shape) < 1:
        raise MovieFileError(
            path,
            f"{what} is empty, shape {tuple(shape)}, expected at least one frame",
            "Record or export it again",
        )


def check_times(path: Path, times: np.ndarray) -> np.ndarray | None:
    """Return frame times where all frames have one; gaps are reported and kept."""
    if not np.isfinite(times).all():
        return None
    steps = np.diff(times)
    if (steps <= 0).any():
        logger.warning("%s: frame times go back at frame %d and are left out", path.name, 1 + int(np.argmax(steps <= 0)))
        return None
    gaps = np.flatnonzero(steps > 1.5 * np.median(steps)) if len(steps) else steps
    if len(gaps):
        logger.warning("%s: %d gap(s) between frames, the first after frame %d", path.name, len(gaps), int(gaps[0]))
    return times
