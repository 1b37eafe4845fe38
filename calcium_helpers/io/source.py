"""What ``load_movie`` asks of a reader of files, what it gets back, and the checks that readers share."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.movie import find_gaps

logger = logging.getLogger(__name__)

MOVIE_NAMES = ("mov", "movie", "data", "imaging", "images", "frames", "video")
"""Names that movies usually have; they decide where a file holds several arrays (T, H, W)."""


MICRONS = {
    **dict.fromkeys(("µm", "um", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimeters"), 1e3),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e6),
}
"""Units of length in micrometres, by the names that files use."""


class Choice(NamedTuple):
    """What the user chose of a file that holds more than one movie."""

    dataset: str | None = None
    channel: int | None = None
    plane: int | None = None
    progress: bool = True

    def allow(self, path: Path, *names: str) -> None:
        """Raise where an option was given that files of this kind have no use for."""
        for name, value in self._asdict().items():
            if name not in (*names, "progress") and value is not None:
                raise MovieFileError(path, f"{name}={value!r} was given, it has no such choice", f"Leave {name} out")


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


def find_movie(path: Path, arrays: Mapping[str, Any], name: str | None, *, axes: str = "frames, rows, columns") -> str:
    """Find the movie among the arrays of a file: the one named, the only one (T, H, W), or the only one with a usual name."""
    found = [key for key, array in arrays.items() if len(array.shape or ()) == 3 and array.dtype.kind in "iuf"]
    if len(found) > 1:
        usual = [key for key in found if key.rsplit("/", 1)[-1].lower() in MOVIE_NAMES]
        found = usual if len(usual) == 1 else found
    listing = ", ".join(f"{key} {array.shape} {array.dtype}" for key, array in arrays.items()) or "nothing"
    if name is not None:
        if name.strip("/") not in arrays:
            raise MovieFileError(path, f"has no array {name!r}; it holds: {listing}", "Name one of these with dataset=")
        return name.strip("/")
    if not found:
        raise MovieFileError(path, f"holds no movie; it holds: {listing}", f"Save it as an array of numbers ({axes})")
    if len(found) > 1:
        raise MovieFileError(path, f"holds {len(found)} movies, expected one: {listing}", "Name the one to read with dataset=")
    return found[0]


def pick(path: Path, option: str, n: int, asked: int | None) -> int:
    """Return the number of the channel or plane to read, asking for it where there are several."""
    if asked is None and n > 1:
        raise MovieFileError(path, f"holds {n} {option}s, expected one movie", f"Choose one with {option}=0 to {n - 1}")
    if asked is not None and not 0 <= asked < n:
        raise MovieFileError(path, f"holds {n} {option}(s), {option}={asked} was asked for", f"Choose 0 to {n - 1}")
    return asked or 0


def positive(value: Any) -> float | None:
    """Return an entry as a finite number above 0, or None where it is none."""
    try:
        number = float(np.asarray(value).reshape(()))
    except (TypeError, ValueError):
        return None
    return number if 0 < number < np.inf else None


def choose_rate(path: Path, stated: float | None, fs: float | None) -> float:
    """Return the rate of results: as given, else as their file states it."""
    if fs is None and stated is None:
        raise MovieFileError(path, "does not tell its frame rate", "Give it with fs= (frames per second, Hz)")
    if fs is not None and stated is not None and abs(fs - stated) > 0.01 * stated:
        logger.warning("%s: fs = %g Hz as given is used, although the file says %g Hz", path.name, fs, stated)
    return float(stated if fs is None else fs)  # type: ignore[arg-type]


def check_array(path: Path, shape: Sequence[int], dtype: Any) -> None:
    """Raise unless an array can be a movie: real numbers, three axes, at least one frame and one pixel."""
    if np.dtype(dtype).kind not in "iuf":
        raise MovieFileError(path, f"has dtype {dtype}, expected integers or floats", "Convert the movie to real numbers")
    if len(shape) != 3:
        problem = f"has {len(shape)} axes, shape {tuple(shape)}, expected three (frames, rows, columns)"
        raise MovieFileError(path, problem, "Save one channel of one plane as its own movie")
    if min(shape) < 1:
        raise MovieFileError(path, f"is empty, shape {tuple(shape)}, expected at least one frame", "Record or export it again")


def check_times(path: Path, times: np.ndarray) -> np.ndarray | None:
    """Return frame times where all frames have one; gaps are reported and kept."""
    if not np.isfinite(times).all():
        return None
    steps = np.diff(times)
    if (steps <= 0).any():
        i = 1 + int(np.argmax(steps <= 0))
        text = "%s: frame times go back at frame %d (%g s after %g s) and are left out"
        logger.warning(text, path.name, i, times[i], times[i - 1])
        return None
    gaps = find_gaps(times)
    if len(gaps.frames):
        logger.warning("%s: %s", path.name, gaps)
    return times


def match_times(path: Path, times: np.ndarray, n_frames: int) -> np.ndarray:
    """Return one time a frame of a list of times that may have one more or one less at its end, which is said.

    Raises
    ------
    MovieFileError
        When the numbers of times and of frames differ by more than one.
    """
    excess = len(times) - n_frames
    if abs(excess) > 1 or len(times) == 0:
        problem = f"holds {len(times)} frame times, the movie has {n_frames} frames"
        raise MovieFileError(path, problem, "Some frames or times are missing: copy the whole recording again")
    if excess == 1:
        logger.warning("%s: %d frame times for %d frames, the last one is left out", path.name, len(times), n_frames)
    if excess == -1:
        logger.warning("%s: %d frame times for %d frames, the last one is added", path.name, len(times), n_frames)
        times = np.append(times, times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 1.0))
    return times[:n_frames]


def rate_of(times: np.ndarray) -> float | None:
    """Rate (Hz) of frame times: of their mean step, without gaps and stutters, for clocks that count whole milliseconds."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    usual = steps[np.abs(steps - np.median(steps)) < 0.5 * np.median(steps)] if len(steps) else steps
    return float(f"{1 / usual.mean():.6g}") if len(usual) else None
