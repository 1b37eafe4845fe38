"""Movies in NWB files (Rübel et al. 2022, doi:10.7554/eLife.78362), read on demand with h5py."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers.io.arrays import as_text, open_hdf5
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames
from calcium_helpers.io.source import MICRONS, Choice, Source, check_array, check_times, match_times, pick, positive, rate_of
from calcium_helpers.io.tiff import read_tiff
from calcium_helpers.io.video import VIDEO_SUFFIXES, read_videos

logger = logging.getLogger(__name__)

IMAGING = ("TwoPhotonSeries", "OnePhotonSeries")
PIXELS_UM = (0.01, 100.0)
"""Sides of pixels that can be; others come of a unit that nobody set."""


def read_nwb(path: Path, choice: Choice) -> Source:
    """Open the imaging series of an NWB file.

    Series are looked for in ``/acquisition`` and ``/processing``: one-photon and two-photon series and motion-corrected
    stacks, or, where there are none, any ``ImageSeries``. The specification orders data (frame, width, height[, depth]); they
    become (frame, row, column). Files written against it come out mirrored at the diagonal. Values stay as stored, without
    ``conversion``. Frames in ``external_file`` are looked for beside the NWB file and stay as their own format orders them.
    """
    choice.allow(path, "dataset", "plane")
    with open_hdf5(path) as file:
        name, series = _choose(path, _find_series(file), choice.dataset)
        external = series.get("external_file")
        source = _stored(path, series, choice) if external is None else _external(path, external[()], choice)
        source = _with_times(path, series, source)
        pixel_um = _pixel_um(path, series) or source.pixel_um
    return source._replace(pixel_um=pixel_um, notes=(f"series {name}", *source.notes))


def _find_series(file: Any) -> dict[str, Any]:
    """Return the series that can be the movie, by their place in the file."""
    found: dict[str, Any] = {}
    imaging: dict[str, Any] = {}

    def look(_: str, item: Any) -> None:
        kind, parent = (as_text(part.attrs.get("neurodata_type", "")) for part in (item, item.parent))
        if kind in (*IMAGING, "ImageSeries"):
            found[item.name.strip("/")] = item
            if kind in IMAGING or parent == "CorrectedImageStack":
                imaging[item.name.strip("/")] = item

    for part in {"acquisition", "processing"} & set(file):
        file[part].visititems(look)
    return dict(sorted((imaging or found).items()))


def _choose(path: Path, found: dict[str, Any], asked: str | None) -> tuple[str, Any]:
    """Return the series asked for, by its place or its last name, or the only one."""
    names = list(found)
    if asked is not None:
        names = [name for name in found if asked.strip("/") in (name, name.rsplit("/", 1)[-1])]
    if len(names) == 1:
        return names[0], found[names[0]]
    listing = ", ".join(found) or "none"
    if not found:
        raise MovieFileError(path, "holds no imaging series in /acquisition or /processing", "Name a file that holds frames")
    if asked is not None:
        raise MovieFileError(path, f"has {len(names)} series {asked!r}; it holds: {listing}", "Name one of these with dataset=")
    raise MovieFileError(path, f"holds {len(found)} series, expected one: {listing}", "Name the one to read with dataset=")


def _stored(path: Path, series: Any, choice: Choice) -> Source:
    """Return frames that lie in the file itself."""
    data = series.get("data")
    shape: tuple[int, ...] = () if data is None else data.shape
    if data is None or len(shape) not in (3, 4):
        raise MovieFileError(path, f"{series.name} has data of shape {shape}, expected (frame, x, y)", "Write it again")
    n_planes = shape[3] if len(shape) == 4 else 1
    plane = pick(path, "plane", n_planes, choice.plane)
    check_array(path, shape[:3], data.dtype)

    def read(key: Any) -> np.ndarray:
        return (data[key] if len(shape) == 3 else data[key, :, :, plane]).transpose(0, 2, 1)

    notes = (*([f"plane {plane} of {n_planes}"] if n_planes > 1 else []), "frame, x, y turned to frame, y, x")
    return Source(LazyFrames(read, (shape[0], shape[2], shape[1]), data.dtype), "NWB", notes=notes)


def _external(path: Path, names: Any, choice: Choice) -> Source:
    """Return frames of the files that an NWB file points to."""
    files = [path.parent / as_text(name) for name in np.atleast_1d(names)]
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        name = missing[0] if missing else "no file"
        raise MovieFileError(path, f"has its frames in {name}, which is not there", "Put it at this place, or open it itself")
    source = read_external(files, choice._replace(dataset=None))
    return source._replace(kind="NWB", notes=(f"frames in {files[0].name}", source.kind, *source.notes))


def read_external(files: list[Path], choice: Choice) -> Source:
    """Return the frames of TIFF files or videos, the kinds that an NWB file can point to."""
    video = files[0].suffix.lower() in VIDEO_SUFFIXES
    return read_videos(files, choice) if video else read_tiff(files, choice)


def _with_times(path: Path, series: Any, source: Source) -> Source:
    """Add the rate and the frame times; the NWB file knows better than a file that it points to."""
    stamps = series.get("timestamps")
    if stamps is not None:
        times = match_times(path, np.asarray(stamps[()], dtype=np.float64), len(source.frames))
        return source._replace(fs=rate_of(times), fs_from="timestamps", times_s=check_times(path, times))
    start = series.get("starting_time")
    for fs, fs_from in (
        (None if start is None else start.attrs.get("rate"), "rate"),
        (_of_plane(series, "imaging_rate"), "imaging_rate of the plane"),
    ):
        if positive(fs) is not None:
            return source._replace(fs=_shortest(fs), fs_from=fs_from, times_s=None)
    return source


def _of_plane(series: Any, name: str) -> Any:
    """Return an entry of the imaging plane, None where there is none."""
    item = series.get(f"imaging_plane/{name}")
    return None if item is None else item[()]


def _shortest(number: Any) -> float:
    """Return a number as it was written: one of single precision with its own digits."""
    return float(str(np.asarray(number).reshape(())))


def _pixel_um(path: Path, series: Any) -> float | None:
    """Return the side of square pixels, micrometres, where the imaging plane states one that can be."""
    spacing = series.get("imaging_plane/grid_spacing")
    if spacing is None:
        return None
    unit = as_text(spacing.attrs.get("unit", "meters"))
    sides = [_shortest(side) * MICRONS.get(unit.lower(), np.nan) for side in np.ravel(spacing[()])[:2]]
    if len(sides) == 2 and abs(sides[0] - sides[1]) <= 0.01 * sides[0] and PIXELS_UM[0] <= sides[0] <= PIXELS_UM[1]:
        return float(f"{sides[0]:.6g}")
    text = "%s: a grid spacing of %s %s is no side of a square pixel and is left out; give pixel_um"
    logger.warning(text, path.name, np.ravel(spacing[()]).tolist(), unit)
    return None
