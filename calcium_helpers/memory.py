"""How much memory work may take: the size of the chunks that frames are read in, and where large arrays lie.

Within ``limit_memory`` chunks become smaller and large arrays lie in unnamed files, whose pages the system takes back when
memory is short. Results do not depend on it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

CHUNKS_A_LIMIT = 32
"""So many chunks fill the limit: work on a chunk makes several copies of it."""

ARRAYS_A_LIMIT = 16
"""An array that is larger than the limit by so much lies in a file."""


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt's options
_USUAL_BYTES = 2**25  # where the C library's own adaptation of both ends


class Limit(NamedTuple):
    """A limit in bytes, and the folder for arrays that are too large for it."""

    n_bytes: int
    folder: Path | None


_limit: ContextVar[Limit | None] = ContextVar("limit", default=None)


@contextmanager
def limit_memory(gb: float | None, folder: Path | None = None) -> Iterator[None]:
    """Let work inside the block take about ``gb`` (10**9 bytes) of memory; None sets no limit.

    Parameters
    ----------
    gb : float or None
        Limit for everything together; what is decided by it are chunks and large arrays.
    folder : Path, optional
        Where large arrays lie; the system's folder for temporary files, which may itself be in memory, where not given.
    """
    token = _limit.set(None if gb is None else Limit(int(gb * 1e9), folder))
    try:
        yield
    finally:
        _limit.reset(token)


def chunk_bytes(usual: int) -> int:
    """Bytes of frames to hold at a time: what is usual, or less within a limit."""
    limit = _limit.get()
    return usual if limit is None else min(usual, max(2**20, limit.n_bytes // CHUNKS_A_LIMIT))


def scratch_array(shape: tuple[int, ...], dtype: Any = np.float32, *, sparse: bool = False) -> np.ndarray:
    """Allocate an array of zeros that nobody needs later: in memory, or in an unnamed file where it is large for the limit.

    Of a ``sparse`` one most will stay zero: its file takes room on the disk only as it is written.
    """
    limit = _limit.get()
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if limit is None or n_bytes <= limit.n_bytes // ARRAYS_A_LIMIT:
        return np.zeros(shape, dtype=dtype)
    if limit.folder is not None:
        limit.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=limit.folder) as file:  # the map keeps the file, its name is gone at once
        if not sparse:
            _take_space(file, n_bytes, limit.folder or Path(tempfile.gettempdir()))
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def mapped_npy(path: Path, shape: tuple[int, ...], dtype: Any = np.float32) -> np.memmap:
    """Make a new ``.npy`` to be written through a memory map; OSError where the disk has no room for all of it."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        _take_space(file, path.stat().st_size, path.parent)
    return array


def _take_space(file: IO[bytes], n_bytes: int, folder: Path) -> None:
    """Take the disk space that a memory map will need: on a disk that is full, writing to the map would kill the process."""
    free = shutil.disk_usage(folder).free
    try:
        if n_bytes > free:
            raise OSError(errno.ENOSPC, "")
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # otherwise: the file system cannot tell beforehand
            room = f"{n_bytes / 1e9:.2f} GB are needed on disk for a movie, {free / 1e9:.2f} GB are free"
            raise OSError(f"{folder}: {room}; make room, or work in another folder") from None


def let_go(*arrays: Any) -> None:
    """Give back the memory of memory-mapped arrays that were read or written: their content stays in the file.

    The system would do so when memory is short, but until then it counts as this process's. Other arrays stay as they are.
    """
    for array in arrays:
        mapped = getattr(array, "_mmap", None)
        if isinstance(mapped, mmap.mmap) and array.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Have the C library of Linux keep what is freed inside the block for what is asked for next, up to 1 GB at a time.

    A training frees and asks for the same large arrays at each step: new pages for them took a tenth to a third of the time.
    Afterwards what is free goes back to the system: work on arrays of many sizes would leave holes, which fill the memory.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    set_option, trim = (getattr(libc, name, None) for name in ("mallopt", "malloc_trim"))
    if set_option is None or trim is None:  # not every C library has them
        yield
        return
    set_option(_MMAP_THRESHOLD, 2**30)
    set_option(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        set_option(_MMAP_THRESHOLD, _USUAL_BYTES)
        set_option(_TRIM_THRESHOLD, _USUAL_BYTES)
        trim(0)
