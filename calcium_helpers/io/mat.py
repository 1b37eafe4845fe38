"""Movies in MATLAB's files: version 5 (read into memory) and 7.3 (read on demand)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calcium_helpers.io.arrays import FS_NAMES, PIXEL_NAMES, as_text, find_datasets, open_hdf5
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames, native
from calcium_helpers.io.source import Choice, Source, check_array, find_movie, positive

logger = logging.getLogger(__name__)

NUMBERS = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
"""MATLAB's classes of numbers, which NumPy knows by the same names."""


class _Variable(NamedTuple):
    """What a file says of an array without reading it; the shape in MATLAB's order."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_mat(path: Path, choice: Choice) -> Source:
    """Open the array (rows, columns, frames) of a MATLAB file: the order of MATLAB's own readers of movies.

    Variables ``fs``, ``fr``, ``frame_rate``, ... and ``pixel_um``, ... are taken along where they are single numbers.
    """
    import h5py

    choice.allow(path, "dataset")
    if not h5py.is_hdf5(path):
        return _pick_movie(path, choice, "MATLAB", *_open_v5(path))
    with open_hdf5(path) as file:
        return _pick_movie(path, choice, "MATLAB 7.3", *_open_v73(file))


def _pick_movie(
    path: Path, choice: Choice, kind: str, variables: Mapping[str, _Variable], read: Callable[[str], Any]
) -> Source:
    """Find the movie among the variables of a file, and the numbers that belong to it."""
    name = find_movie(path, variables, choice.dataset, axes="rows, columns, frames")
    shape, dtype = variables[name]
    check_array(path, (*shape[2:], *shape[:2]), dtype)
    if shape[1] == shape[2] != shape[0]:
        text = "%s: %s %s is read as rows, columns, frames; if frames come first, save permute(%s, [2 3 1])"
        logger.warning(text, path.name, name, shape, name)
    known = [key for key in (*FS_NAMES, *PIXEL_NAMES) if key in variables and variables[key].dtype != object]
    singles = {key: positive(read(key)) for key in known if np.prod(variables[key].shape) == 1}
    fs_name = next((key for key in FS_NAMES if singles.get(key)), "")
    return Source(
        read(name),
        kind,
        fs=singles.get(fs_name),
        fs_from=f"variable {fs_name!r}",
        pixel_um=next((singles[key] for key in PIXEL_NAMES if singles.get(key)), None),
        notes=(f"variable {name}, rows x columns x frames turned to frames x rows x columns",),
    )


def _open_v5(path: Path) -> tuple[Mapping[str, _Variable], Callable[[str], Any]]:
    """Return what a file of version 4 to 7 holds, and a function that reads a variable, frames first."""
    from scipy.io import loadmat, whosmat

    def read(name: str) -> Any:
        try:
            array = loadmat(path, variable_names=[name])[name]
        except Exception as error:  # whatever the parser of a damaged file raises
            raise _broken(path, error) from error
        return native(np.moveaxis(array, -1, 0)) if array.ndim == 3 else array

    try:
        return {name: _Variable(tuple(shape), _dtype(kind)) for name, shape, kind in whosmat(path)}, read
    except Exception as error:
        raise _broken(path, error) from error


def _open_v73(file: Any) -> tuple[Mapping[str, _Variable], Callable[[str], Any]]:
    """Return what a file of version 7.3 holds, and a function that gives a variable, frames first and lazily."""
    datasets = {name: item for name, item in find_datasets(file).items() if not name.startswith("#")}  # parts of cells

    def read(name: str) -> Any:
        item = datasets[name]
        if item.ndim != 3:
            return item[()]
        frames, columns, rows = item.shape
        return LazyFrames(lambda key: item[key].transpose(0, 2, 1), (frames, rows, columns), item.dtype)

    kinds = {name: as_text(item.attrs.get("MATLAB_class", item.dtype.name)) for name, item in datasets.items()}
    return {name: _Variable(item.shape[::-1], _dtype(kinds[name])) for name, item in datasets.items()}, read


def _dtype(kind: str) -> np.dtype[Any]:
    """Return the type of a class of numbers, that of objects for all others."""
    return np.dtype(kind if kind in NUMBERS or kind.startswith("float") else object)


def _broken(path: Path, error: Exception) -> MovieFileError:
    return MovieFileError(path, f"is no readable MATLAB file ({error})", "It may be truncated: save or copy it again")
