"""Movies in HDF5 (read on demand), ``.npy`` (memory-mapped) and ``.npz`` files (read into memory)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile
from zlib import error as ZlibError

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames, native
from calcium_helpers.io.source import Choice, Source, check_array, check_times, find_movie, positive

FS_NAMES = ("fs", "fr", "frame_rate", "framerate", "sampling_rate")
PIXEL_NAMES = ("pixel_um", "pixel_size_um", "um_per_pixel")
_BROKEN = (OSError, ValueError, EOFError, BadZipFile, ZlibError, KeyError)
_AGAIN = "It may be truncated or of another kind: copy or export it again"


def read_hdf5(path: Path, choice: Choice) -> Source:
    """Open the movie of an HDF5 file; the file stays open as long as its frames are in use.

    The rate is looked for in the attributes ``fs``, ``fr``, ``frame_rate``, ... of the dataset, of its groups and of the
    file, the pixel size likewise in ``pixel_um``, ...; frame times in a dataset ``times_s`` beside the movie.
    """
    choice.allow(path, "dataset")
    with open_hdf5(path) as file:
        datasets = find_datasets(file)
        name = find_movie(path, datasets, choice.dataset)
        movie = datasets[name]
        check_array(path, movie.shape, movie.dtype)
    fs, fs_name = _attribute(movie, FS_NAMES)
    times = datasets.get(f"{name.rpartition('/')[0]}/times_s".lstrip("/"))
    return Source(
        LazyFrames(movie.__getitem__, movie.shape, movie.dtype),
        "HDF5",
        fs=fs,
        fs_from=f"attribute {fs_name!r}",
        pixel_um=_attribute(movie, PIXEL_NAMES)[0],
        times_s=check_times(path, times[()]) if times is not None and times.shape == movie.shape[:1] else None,
        notes=(f"dataset {name}",),
    )


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file, to be closed at once after an error, else when nothing of it is in use any more."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise MovieFileError(path, f"is no readable HDF5 file ({error})", _AGAIN) from error
    try:
        yield file
    except BaseException:
        file.close()
        raise


def find_datasets(file: Any) -> dict[str, Any]:
    """Return all arrays of an HDF5 file by name."""
    import h5py

    datasets: dict[str, Any] = {}
    file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return datasets


def as_text(value: Any) -> str:
    """Return a text of an HDF5 file, which may come as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def read_npy(path: Path, choice: Choice) -> Source:
    """Memory-map the array of a ``.npy`` file."""
    choice.allow(path)
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except _BROKEN as error:
        raise MovieFileError(path, f"cannot be read as .npy ({error})", _AGAIN) from error
    check_array(path, array.shape, array.dtype)
    return Source(native(array), "npy")


def read_npz(path: Path, choice: Choice) -> Source:
    """Read the movie of a ``.npz`` file; scalars ``fs`` and ``pixel_um`` are taken along."""
    choice.allow(path, "dataset")
    if not is_zipfile(path):
        raise MovieFileError(path, "is no complete .npz file", _AGAIN)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _BROKEN as error:
        raise MovieFileError(path, f"cannot be read as .npz ({error})", _AGAIN) from error
    name = find_movie(path, arrays, choice.dataset)
    frames = arrays[name]
    check_array(path, frames.shape, frames.dtype)
    fs, pixel_um = positive(arrays.get("fs")), positive(arrays.get("pixel_um"))
    frames = np.asarray(frames, dtype=frames.dtype.newbyteorder("="))
    return Source(frames, "npz", fs=fs, fs_from="array 'fs'", pixel_um=pixel_um, notes=(f"array {name}",))


def _attribute(item: Any, names: tuple[str, ...]) -> tuple[float | None, str]:
    """Look for a number among the attributes of a dataset, then of its groups up to the file."""
    for name in names:
        value = positive(item.attrs.get(name))
        if value is not None:
            return value, name
    return (None, "") if item.name == "/" else _attribute(item.parent, names)
