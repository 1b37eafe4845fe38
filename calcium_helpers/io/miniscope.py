"""Folders as the UCLA Miniscope writes them: one recording cut into numbered videos, and a table of frame times."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.source import Choice, Source, check_times, match_times, positive, rate_of
from calcium_helpers.io.video import read_videos

logger = logging.getLogger(__name__)

STAMPS_V4, STAMPS_V3, SETTINGS_V4 = "timeStamps.csv", "timestamp.dat", "metaData.json"


def read_miniscope(folder: Path, videos: Sequence[Path], choice: Choice) -> Source:
    """Open the videos of a folder as one movie, with the frame times that stand beside them.

    Version 4 of the Miniscope's software writes ``0.avi, 1.avi, ...``, ``timeStamps.csv`` and ``metaData.json``; version 3
    writes ``msCam1.avi, ...``, ``behavCam1.avi, ...`` and one ``timestamp.dat`` for all cameras, of which the one with as many
    times as there are frames is taken. A folder with one video needs no such name. The rate follows from the times; without
    times it is what ``metaData.json`` says, or else the video.
    """
    files = _numbered(folder, videos)
    source = read_videos(files, choice)
    n = len(source.frames)
    if (folder / STAMPS_V4).exists():
        path, stamps = folder / STAMPS_V4, _stamps_v4(folder / STAMPS_V4)
    elif (folder / STAMPS_V3).exists():
        path, stamps = folder / STAMPS_V3, _stamps_v3(folder / STAMPS_V3, n)
    else:
        fs = _rate_set(folder / SETTINGS_V4)
        return source if fs is None else source._replace(fs=fs, fs_from=f"frameRate in {SETTINGS_V4}", times_s=None)
    times = match_times(path, _first_repaired(path, stamps / 1000), n)
    fs = rate_of(times)
    if fs is None:
        return source
    notes = (*source.notes, f"times of {path.name}")
    return source._replace(fs=fs, fs_from=path.name, times_s=check_times(path, times), notes=notes)


def _numbered(folder: Path, videos: Sequence[Path]) -> list[Path]:
    """Return the videos of the microscope in order, of files that are sorted by their numbers."""
    for pattern in (r"msCam(\d+)", r"(\d+)"):
        found = {int(match[1]): video for video in videos if (match := re.fullmatch(pattern, video.stem))}
        missing = sorted(set(range(min(found), max(found) + 1)) - set(found)) if found else []
        if missing:
            problem = f"{found[min(found)].name} to {found[max(found)].name} are not complete: number {missing[0]} is missing"
            raise MovieFileError(folder, problem, "Copy the whole recording again")
        if found:
            return [found[number] for number in sorted(found)]
    if len(videos) > 1:
        names = ", ".join(video.name for video in videos)
        raise MovieFileError(folder, f"holds {len(videos)} videos, expected one or a numbered series: {names}", "Name one file")
    return list(videos)


def _stamps_v4(path: Path) -> np.ndarray:
    """Read the times (ms) of ``Frame Number,Time Stamp (ms),Buffer Index``."""
    return _table(path, delimiter=",")[:, 1]


def _stamps_v3(path: Path, n_frames: int) -> np.ndarray:
    """Read the times (ms) of ``camNum, frameNum, sysClock, buffer`` of the camera that has one for each frame."""
    table = _table(path, delimiter="\t")
    cameras = {int(number): table[table[:, 0] == number, 2] for number in np.unique(table[:, 0])}
    if not cameras:
        return np.zeros(0)
    number = min(cameras, key=lambda camera: abs(len(cameras[camera]) - n_frames))
    if sum(len(stamps) == len(cameras[number]) for stamps in cameras.values()) > 1:
        text = "%s: several cameras have %d frame times, those of camera %d are taken; check them"
        logger.warning(text, path.name, len(cameras[number]), number)
    return cameras[number]


def _table(path: Path, *, delimiter: str) -> np.ndarray:
    """Read numbers below one line of names."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()[1:]
        return np.array([line.split(delimiter)[:3] for line in lines if line.strip()], dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise MovieFileError(
            path, f"is no table of frame times ({error})", "Copy it again, or move it away and give fs="
        ) from error


def _first_repaired(path: Path, times: np.ndarray) -> np.ndarray:
    """Replace a first time that does not lie before the second: the clock of the camera starts with a meaningless number."""
    if len(times) > 2 and times[0] >= times[1]:
        repaired = times[1] - np.median(np.diff(times[1:]))
        text = "%s: the first frame time (%g s) does not lie before the second (%g s), as is usual; it is taken as %g s"
        logger.warning(text, path.name, times[0], times[1], repaired)
        return np.concatenate([[repaired], times[1:]])
    return times


def _rate_set(path: Path) -> float | None:
    """Return the rate (Hz) that was set, which is a number or a text such as ``20FPS``."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return positive(re.sub(r"[^\d.]", "", str(settings["frameRate"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None
