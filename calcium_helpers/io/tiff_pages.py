"""Where the pages of a TIFF file lie, and how to get at them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from weakref import finalize

import numpy as np
from tqdm import tqdm

from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.lazy import LazyFrames
from calcium_helpers.io.scanimage import read_scanimage, timestamp
from calcium_helpers.io.tiff_meta import TiffMeta, read_meta

COUNTED_PAGES = 50_000
"""Up to so many page directories are counted even where the data is one block: that takes a fraction of a second."""

_AGAIN = "Copy or export the file again"


class TiffPages(NamedTuple):
    """The pages of one file.

    ``n`` pages of ``shape`` and ``dtype``; ``axes`` names the axes of a page ("YX", or with "S" for samples as in RGB).
    ``offset`` and ``stride`` (bytes) place the pages where they lie evenly spaced and uncompressed, else ``stride`` is 0.
    ``times_s`` (n,) is NaN where pages state no time.
    """

    path: Path
    n: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    meta: TiffMeta
    offset: int
    stride: int
    times_s: np.ndarray


def index_pages(path: Path, *, progress: bool) -> TiffPages:
    """Find the pages of a file and check that all that were promised are there."""
    try:
        with _silence(), _open(path) as tif:
            page = tif.pages.first
            if tif.is_stk or tif.is_lsm or page.dtype is None:
                raise MovieFileError(path, "is a TIFF of a kind that is not read", "Export it as OME-TIFF")
            meta = read_scanimage(path, tif) or read_meta(path, tif)
            n, stride, times = _block(tif, meta.n_pages) or _walk(path, tif, meta, progress)
            if meta.n_pages not in (0, n):
                problem = f"holds {n} pages, its {meta.kind} description promises {meta.n_pages}"
                raise MovieFileError(path, problem, f"It is incomplete, or other images were appended. {_AGAIN}")
            dtype = page.dtype.newbyteorder(tif.byteorder)
            return TiffPages(path, n, page.shape, dtype, page.axes, meta, page.dataoffsets[0], stride, times)
    except MovieFileError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in the parser, with any exception
        raise MovieFileError(path, f"is no readable TIFF ({error})", f"It may be damaged. {_AGAIN}") from error


def open_pages(pages: TiffPages) -> Any:
    """Return all pages of a file as an array (n, ...): memory-mapped, or lazy."""
    if not pages.stride:
        return LazyFrames(_PageReader(pages.path).read, (pages.n, *pages.shape), pages.dtype)
    itemsize = pages.dtype.itemsize
    inner = [itemsize * int(np.prod(pages.shape[axis + 1 :])) for axis in range(len(pages.shape))]
    file = np.memmap(pages.path, np.uint8, mode="r")
    return np.ndarray((pages.n, *pages.shape), pages.dtype, file, pages.offset, (pages.stride, *inner))


class _PageReader:
    """Decodes pages of one file; one thread at a time, for the file has one position."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tif = _open(path)
        finalize(self, self._tif.close)
        self._lock = Lock()

    def read(self, key: slice | np.ndarray) -> np.ndarray:
        with self._lock, _silence():
            rows = range(len(self._tif.pages))[key] if isinstance(key, slice) else [int(row) for row in key]
            try:
                frames = self._tif.asarray(key=rows)
            except Exception as error:  # whatever the decoder of a damaged page raises
                raise MovieFileError(self._path, f"cannot decode pages {rows[0]} to {rows[-1]} ({error})", _AGAIN) from error
        return frames[None] if len(rows) == 1 else frames


def _open(path: Path) -> Any:
    """Open with tifffile, whose guesses at the pages of large ScanImage files are switched off: all are looked up."""
    import tifffile

    return tifffile.TiffFile(path, is_scanimage=False)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep tifffile's own log quiet where its complaints become one error of ours."""
    log = logging.getLogger("tifffile")
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was


def _block(tif: Any, n: int) -> tuple[int, int, np.ndarray] | None:
    """Return the promised ``n`` pages as one block of bytes, without looking at each, or None where they are no such block."""
    page = tif.pages.first
    start, stop = page.dataoffsets[0], page.dataoffsets[0] + n * page.nbytes
    if n < 1 or not page.is_final or stop > tif.filehandle.size:
        return None
    if n > 1 and tif.pages.is_multipage:
        second = tif.pages.get(1)
        if second.dataoffsets[0] != start + page.nbytes or start < second.offset < stop:
            return None
        if n <= COUNTED_PAGES and len(tif.pages) != n:
            return None
    return n, page.nbytes, np.full(n, np.nan)


def _walk(path: Path, tif: Any, meta: TiffMeta, progress: bool) -> tuple[int, int, np.ndarray]:
    """Look at each page: its place, its size, its time."""
    first, size = tif.pages.first, tif.filehandle.size
    n = len(tif.pages)
    offsets, times = np.zeros(n, dtype=np.int64), np.full(n, np.nan)
    plain = True
    for i in tqdm(range(n), desc=f"indexing {path.name}", unit="page", disable=not progress or n < 1000):
        page = tif.pages.get(i)
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            problem = f"page {i} is {page.shape} {page.dtype}, the first one {first.shape} {first.dtype}"
            raise MovieFileError(path, problem, "Save the frames of the movie, which are all equal, as their own file")
        if any(start + count > size for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
            raise MovieFileError(path, f"is truncated: page {i} of {n} ends after the file does ({size} bytes)", _AGAIN)
        offsets[i], plain = page.dataoffsets[0], plain and page.is_final
        if meta.kind == "ScanImage TIFF":
            times[i] = timestamp(page.description)
    _check_end(path, tif, n)
    steps = np.unique(np.diff(offsets))
    stride = int(steps[0]) if len(steps) == 1 else first.nbytes if n == 1 else 0
    return n, stride if plain and stride >= first.nbytes else 0, times


def _check_end(path: Path, tif: Any, n: int) -> None:
    """Raise where the chain of pages breaks off instead of ending."""
    handle, form = tif.filehandle, tif.tiff
    handle.seek(tif.pages.next_page_offset)
    if handle.read(form.offsetsize) != bytes(form.offsetsize):
        raise MovieFileError(path, f"is truncated: after page {n - 1} another one is announced and missing", _AGAIN)
