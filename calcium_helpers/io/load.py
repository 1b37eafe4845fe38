"""``load_movie``: the one door for files of every kind."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from glob import glob
from pathlib import Path

import numpy as np

from calcium_helpers.containers import Movie
from calcium_helpers.containers._base import check_positive
from calcium_helpers.io.arrays import read_hdf5, read_npy, read_npz
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.mat import read_mat
from calcium_helpers.io.miniscope import read_miniscope
from calcium_helpers.io.nwb import read_nwb
from calcium_helpers.io.source import Choice, Source
from calcium_helpers.io.tiff import read_tiff
from calcium_helpers.io.video import VIDEO_SUFFIXES, read_videos

logger = logging.getLogger(__name__)

TIFF_SUFFIXES = (".tif", ".tiff", ".btf")
FS_TOLERANCE = 1e-3
"""Relative difference up to which the user's rate and the file's count as the same."""
TIMES_TOLERANCE = 0.1
"""The same for keeping the file's frame times: a nominal 20 Hz may be 19 in truth, but not 10."""

CODECS: dict[str, Callable[[Path, Choice], Source]] = {
    **dict.fromkeys(TIFF_SUFFIXES, lambda path, choice: read_tiff([path], choice)),
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".npy": read_npy,
    ".npz": read_npz,
    ".mat": read_mat,
    ".nwb": read_nwb,
    **dict.fromkeys(VIDEO_SUFFIXES, lambda path, choice: read_videos([path], choice)),
}
"""How files are read, by suffix."""


def load_movie(
    path: str | Path,
    *,
    fs: float | None = None,
    pixel_um: float | None = None,
    dataset: str | None = None,
    channel: int | None = None,
    plane: int | None = None,
    progress: bool = True,
) -> Movie:
    """Open a movie; frames are read when they are used.

    Parameters
    ----------
    path : str or Path
        A file (.tif, .tiff, .btf, .h5, .hdf5, .npy, .npz, .mat, .nwb, .avi, .mp4, .mkv, .mov), a folder of TIFF files, a
        folder as the Miniscope's software writes it, or a pattern such as ``"run_*.tif"``. Files of a series are sorted by
        their numbers (2 before 10).
    fs : float, optional
        Frames per second of the chosen plane, Hz. Needed where the file does not tell; it is never guessed. It wins over what
        the file says, with a warning; the file's frame times are kept where the two differ by up to a tenth.
    pixel_um : float, optional
        Side of a pixel, micrometres; wins over what the file says.
    dataset : str, optional
        The movie's name in an HDF5, .npz, .mat or NWB file that holds several.
    channel, plane : int, optional
        Which one to read of a TIFF that holds several, counted from 0 in the order of the file; ``plane`` also of NWB.
    progress : bool
        Show a bar where opening takes long.

    Returns
    -------
    Movie
        ``data`` (T, H, W) memory-mapped or lazy, in native byte order; ``times_s`` where the file states them;
        ``history`` with the file's name and what was chosen.

    Raises
    ------
    MovieFileError
        When the file is absent, damaged, incomplete, holds no movie or more than one, or does not tell the frame rate.
    """
    path = Path(path)
    _check_numbers(path, fs=fs, pixel_um=pixel_um)
    choice = Choice(dataset, channel, plane, progress)
    source = _read(path, choice)
    rate, rate_from, times = _frame_rate(path, source, fs)
    pixel = pixel_um if pixel_um is not None else source.pixel_um
    n, height, width = source.frames.shape
    parts = [f"{n} x {height} x {width} {source.frames.dtype}", source.kind, *source.notes, f"fs {rate:g} Hz from {rate_from}"]
    if pixel is not None:
        parts.append(f"pixel {pixel:g} um from the {'user' if pixel_um is not None else 'file'}")
    return Movie(
        source.frames, rate, pixel_um=pixel, times_s=times, history=(f"loaded {path.absolute().name} ({', '.join(parts)})",)
    )


def _check_numbers(path: Path, **numbers: float | None) -> None:
    """Raise where the user's rate or pixel size cannot be."""
    try:
        for name, value in numbers.items():
            if value is not None:
                check_positive(name, value, {"fs": "Hz", "pixel_um": "micrometres"}[name])
    except ValueError as error:
        raise MovieFileError(path, str(error), "Correct it") from error


def _read(path: Path, choice: Choice) -> Source:
    """Find out what ``path`` stands for and open it."""
    if path.is_dir():
        return _read_folder(path, choice)
    if not path.exists():
        return _read_matches(path, choice)
    if path.suffix.lower() not in CODECS:
        raise MovieFileError(
            path,
            f"has the unknown suffix {path.suffix!r}",
            f"Readable are {', '.join(CODECS)} and folders of TIFFs or Miniscope videos",
        )
    if path.stat().st_size == 0:
        raise MovieFileError(path, "is empty (0 bytes)", "Copy or export it again")
    return CODECS[path.suffix.lower()](path, choice)


def _read_folder(folder: Path, choice: Choice) -> Source:
    """Open the TIFF files or the videos of a folder."""
    names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    tiffs, videos = (sort_naturally(p for p in names if p.suffix.lower() in ends) for ends in (TIFF_SUFFIXES, VIDEO_SUFFIXES))
    if tiffs and videos:
        problem = f"holds {len(tiffs)} TIFF files and {len(videos)} videos, expected one kind"
        raise MovieFileError(folder, problem, f"Name a file, or a pattern such as '*{tiffs[0].suffix}'")
    if videos:
        return read_miniscope(folder, videos, choice)
    if not tiffs:
        expected = f"Expected files ending in {', '.join(TIFF_SUFFIXES + VIDEO_SUFFIXES)}"
        raise MovieFileError(folder, "is a folder without TIFF files or videos", expected)
    return read_tiff(tiffs, choice)


def _read_matches(pattern: Path, choice: Choice) -> Source:
    """Open the files that match a pattern, TIFF files or videos, as one movie."""
    files = sort_naturally(Path(name) for name in glob(str(pattern)))
    if not files:
        raise MovieFileError(pattern, "there is no such file", "Check the path; relative ones start at the working folder")
    video = files[0].suffix.lower() in VIDEO_SUFFIXES
    others = [file for file in files if file.suffix.lower() not in (VIDEO_SUFFIXES if video else TIFF_SUFFIXES)]
    if others:
        raise MovieFileError(
            pattern, f"matches {others[0].name}, expected only TIFF files or only videos", "Narrow the pattern"
        )
    return read_videos(files, choice) if video else read_tiff(files, choice)


def sort_naturally(paths: Iterable[Path]) -> list[Path]:
    """Sort paths so that numbers in their names count as numbers: 2 before 10."""

    def key(path: Path) -> list[int | str]:
        return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", path.name))]

    return sorted(paths, key=key)


def _frame_rate(path: Path, source: Source, fs: float | None) -> tuple[float, str, np.ndarray | None]:
    """Decide between the user's rate and the file's; return it with its origin and the frame times that go with it."""
    if fs is None and source.fs is None:
        raise MovieFileError(path, "does not tell its frame rate", "Give it with fs= (frames per second, Hz)")
    if fs is None:
        if "playback" in source.fs_from:
            logger.warning("%s: fs = %g Hz is taken from %s; check it", path.name, source.fs, source.fs_from)
        return float(source.fs), source.fs_from, source.times_s  # type: ignore[arg-type]
    if source.fs is None or abs(fs - source.fs) <= FS_TOLERANCE * source.fs:
        return fs, "the user", source.times_s
    times = source.times_s if abs(fs - source.fs) <= TIMES_TOLERANCE * source.fs else None
    kept = "" if source.times_s is None else f"; the file's frame times are {'left out' if times is None else 'kept'}"
    logger.warning("%s: fs = %g Hz as given is used, although %s says %g Hz%s", path.name, fs, source.fs_from, source.fs, kept)
    return fs, f"the user (the file says {source.fs:g} Hz)", times
