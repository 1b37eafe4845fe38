"""``save_movie``: movies to disk, chunk by chunk, under a temporary name until they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers.containers import Movie
from calcium_helpers.io.lazy import read_chunks
from calcium_helpers.memory import mapped_npy

Chunks = Iterator[tuple[slice, np.ndarray]]

CLASSIC_TIFF_BYTES = 2**32 - 2**25
"""What fits in a TIFF with 32-bit offsets, with some room for its page directories."""

TIFF_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Numbers that the OME model has."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it when the block ends well, else delete it."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder of a temporary name beside ``path``; rename it when the block ends well, else delete it."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_movie(movie: Movie, path: str | Path, *, progress: bool = False) -> None:
    """Write a movie; a TIFF or HDF5 file also keeps the frame rate and the pixel size.

    Parameters
    ----------
    movie : Movie
        Read in chunks; its dtype is kept.
    path : str or Path
        ``.tif``/``.tiff`` (OME-TIFF, BigTIFF where needed), ``.h5``/``.hdf5`` (dataset ``movie`` with attributes ``fs`` and
        ``pixel_um``, dataset ``times_s``) or ``.npy`` (frames only). An existing file is replaced.
    progress : bool
        Show a bar.

    Raises
    ------
    ValueError
        When the suffix is none of these, or TIFF cannot hold the dtype.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"path must end in one of {', '.join(_WRITERS)}, got {path.name!r}")
    if writer is _write_tiff and movie.data.dtype.name not in TIFF_DTYPES:
        raise ValueError(f"path: TIFF holds {', '.join(TIFF_DTYPES)}, got a movie of {movie.data.dtype}; write .h5 or .npy")
    with atomic_path(path) as temporary:
        writer(movie, temporary, read_chunks(movie, desc=f"writing {path.name}", progress=progress))


def _write_tiff(movie: Movie, path: Path, chunks: Chunks) -> None:
    import tifffile

    metadata: dict[str, Any] = {"axes": "TYX", "TimeIncrement": 1 / movie.fs, "TimeIncrementUnit": "s"}
    if movie.pixel_um is not None:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": movie.pixel_um, f"PhysicalSize{axis}Unit": "µm"}
    n_bytes = int(np.prod(movie.shape)) * movie.data.dtype.itemsize + 512 * movie.n_frames
    tifffile.imwrite(
        path,
        (frame for _, frames in chunks for frame in frames),
        shape=movie.shape,
        dtype=movie.data.dtype,
        bigtiff=n_bytes > CLASSIC_TIFF_BYTES,
        ome=True,
        metadata=metadata,
        photometric="minisblack",
    )


def _write_hdf5(movie: Movie, path: Path, chunks: Chunks) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("movie", movie.shape, movie.data.dtype)
        dataset.attrs["fs"] = movie.fs
        if movie.pixel_um is not None:
            dataset.attrs["pixel_um"] = movie.pixel_um
        if movie.times_s is not None:
            file["times_s"] = movie.times_s
        for part, frames in chunks:
            dataset[part] = frames


def _write_npy(movie: Movie, path: Path, chunks: Chunks) -> None:
    array = mapped_npy(path, movie.shape, movie.data.dtype)
    for part, frames in chunks:
        array[part] = frames
    array.flush()


_WRITERS: dict[str, Callable[[Movie, Path, Chunks], None]] = {
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".npy": _write_npy,
}
