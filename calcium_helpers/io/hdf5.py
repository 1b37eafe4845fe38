"""Movies in HDF5 files: the dataset is found or named, its frames are read on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames
from calcium_helpers.io.source import Choice, Source, check_array, check_times

MOVIE_NAMES = ("mov", "movie", "data", "imaging", "images", "frames", "video")
"""Names that movies usually have; they decide where a file holds several 3-D datasets."""

FS_NAMES = ("fs", "fr", "frame_rate", "framerate", "sampling_rate")
PIXEL_NAMES = ("pixel_um", "pixel_size_um", "um_per_pixel")


def read_hdf5(path: Path, choice: Choice) -> Source:
    """Open the movie of an HDF5 file; the file stays open as long as its frames are in use.

    The rate is looked for in the attributes ``fs``, ``fr``, ``frame_rate``, ... of the dataset, of its groups and of the
    file, the pixel size likewise in ``pixel_um``, ...; frame times in a dataset ``times_s`` beside the movie.
    """
    import h5py

    choice.allow(path, "dataset")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise MovieFileError(
            path, f"is no readable HDF5 file ({error})", "It may be truncated or of another kind: copy or export it again"
        ) from error
    try:
        return _open_movie(path, file, choice.dataset)
    except MovieFileError:
        file.close()
        raise


def _open_movie(path: Path, file: Any, name: str | None) -> Source:
    dataset = _named(path, file, name) if name else _found(path, file)
    check_array(path, f"dataset {dataset.name!r}", dataset.shape, dataset.dtype)
    fs, fs_name = _attribute(dataset, FS_NAMES)
    pixel_um, _ = _attribute(dataset, PIXEL_NAMES)
    times = dataset.parent.get("times_s")
    return Source(
        LazyFrames(dataset.__getitem__, dataset.shape, dataset.dtype),
        "HDF5",
        fs=fs,
        fs_from=f"attribute {fs_name!r}",
        pixel_um=pixel_um,
        times_s=check_times(path, times[()]) if getattr(times, "shape", None) == dataset.shape[:1] else None,
        notes=(f"dataset {dataset.name.lstrip('/')}",),
    )


def _datasets(file: Any) -> dict[str, Any]:
    """All datasets of a file by their full name."""
    import h5py

    found: dict[str, Any] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found


def _listing(datasets: dict[str, Any]) -> str:
    return ", ".join(f"{name} {item.shape} {item.dtype}" for name, item in datasets.items()) or "none"


def _named(path: Path, file: Any, name: str) -> Any:
    datasets = _datasets(file)
    if name.strip("/") not in datasets:
        raise MovieFileError(path, f"has no dataset {name!r}; it holds: {_listing(datasets)}", "Name one with dataset=")
    return datasets[name.strip("/")]


def _found(path: Path, file: Any) -> Any:
    """Find the only 3-D dataset of numbers, or the only one of them with a usual name."""
    datasets = _datasets(file)
    movies = {name: item for name, item in datasets.items() if len(item.shape or ()) == 3 and item.dtype.kind in "iuf"}
    if not movies:
        raise MovieFileError(
            path,
            f"holds no movie, expected a dataset (frames, rows, columns) of numbers; it holds: {_listing(datasets)}",
            "Save the movie as such a dataset",
        )
    usual = [name for name in movies if name.rsplit("/", 1)[-1].lower() in MOVIE_NAMES]
    if len(movies) > 1 and len(usual) != 1:
        raise MovieFileError(path, f"holds {len(movies)} movies: {_listing(movies)}", "Name one with dataset=")
    return movies[usual[0]] if len(movies) > 1 else next(iter(movies.values()))


def _attribute(dataset: Any, names: tuple[str, ...]) -> tuple[float | None, str]:
    """Look for a number among the attributes of the dataset, then of its groups up to the file."""
    item = dataset
    while True:
        for name in names:
            value = np.asarray(item.attrs.get(name, ()))
            if value.size == 1 and value.dtype.kind in "iuf":
                return float(value.reshape(())), name
        if item.name == "/":
            return None, ""
        item = item.parent
