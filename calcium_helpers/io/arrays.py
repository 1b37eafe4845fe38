"""Movies in NumPy files: ``.npy`` is memory-mapped, ``.npz`` read into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile
from zlib import error as ZlibError

import numpy as np

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import native
from calcium_helpers.io.source import Choice, Source, check_array

_BROKEN = (OSError, ValueError, EOFError, BadZipFile, ZlibError, KeyError)
_AGAIN = "It may be truncated or of another kind: copy or save it again"


def read_npy(path: Path, choice: Choice) -> Source:
    """Memory-map the array of a ``.npy`` file."""
    choice.allow(path)
    if path.open("rb").read(6) != b"\x93NUMPY":
        raise MovieFileError(path, "is no .npy file (its first bytes are others)", _AGAIN)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as error:
        raise MovieFileError(path, f"cannot be read as .npy ({error})", _AGAIN) from error
    check_array(path, "the array", array.shape, array.dtype)
    return Source(native(array), "npy")


def read_npz(path: Path, choice: Choice) -> Source:
    """Read the only 3-D array of a ``.npz`` file, or the one named; scalars ``fs`` and ``pixel_um`` are taken along."""
    choice.allow(path, "dataset")
    if not is_zipfile(path):
        raise MovieFileError(path, "is no complete .npz file (a zip archive of arrays)", _AGAIN)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _BROKEN as error:
        raise MovieFileError(path, f"cannot be read as .npz ({error})", _AGAIN) from error
    name = choice.dataset or _only_movie(path, arrays)
    if name not in arrays:
        raise MovieFileError(path, f"has no array {name!r}; it holds: {_listing(arrays)}", "Name one of these with dataset=")
    check_array(path, f"array {name!r}", arrays[name].shape, arrays[name].dtype)
    fs, pixel_um = (_scalar(arrays, key) for key in ("fs", "pixel_um"))
    frames = np.asarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("="))
    return Source(frames, "npz", fs=fs, fs_from="array 'fs'", pixel_um=pixel_um, notes=(f"array {name}",))


def _only_movie(path: Path, arrays: dict[str, np.ndarray]) -> str:
    movies = [name for name, array in arrays.items() if array.ndim == 3]
    if len(movies) != 1:
        raise MovieFileError(
            path,
            f"holds {len(movies)} arrays of three axes, expected one (the movie); it holds: {_listing(arrays)}",
            "Name the movie with dataset=" if movies else "Save the movie as an array (frames, rows, columns)",
        )
    return movies[0]


def _listing(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in arrays.items()) or "none"


def _scalar(arrays: dict[str, np.ndarray], name: str) -> float | None:
    value = arrays.get(name)
    return float(value.reshape(())) if value is not None and value.size == 1 and value.dtype.kind in "iuf" else None
