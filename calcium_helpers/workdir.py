"""Intermediates on disk: what a step made is found again by a key of its inputs and parameters."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers import __version__
from calcium_helpers.containers import Movie
from calcium_helpers.memory import mapped_npy

SAMPLED_FRAMES = 16


class WorkDir:
    """A folder ``<step>-<key>.<suffix>``; files are written under a temporary name, then renamed.

    Parameters
    ----------
    folder : Path
        Where intermediates lie; made when the first is written.
    movie : Movie
        The input: its shape, rate, history and a sample of its frames enter every key, and so does the package's version.
    """

    def __init__(self, folder: Path, movie: Movie) -> None:
        self.folder = folder
        self._chain = hashlib.sha256(fingerprint(movie).encode())

    def branch(self) -> WorkDir:
        """Return a copy that names steps beside those that follow: these do not depend on them."""
        copied = copy(self)
        copied._chain = self._chain.copy()
        return copied

    def path(self, step: str, parameters: dict[str, Any], suffix: str) -> Path:
        """Name the file of a step; its key covers ``parameters`` and those of all steps asked for before."""
        self._chain.update(json.dumps([step, parameters], sort_keys=True, default=str).encode())
        return self.folder / f"{step}-{self._chain.hexdigest()[:12]}.{suffix}"


def is_whole(path: Path | None) -> bool:
    """Whether a step's result is there: of a movie in ``.npy`` also what is known of it, in ``.npz``, written after it."""
    return path is not None and path.exists() and path.with_suffix(".npz").exists()


@contextmanager
def new_array(path: Path, shape: tuple[int, ...]) -> Iterator[np.memmap]:
    """Open a new float32 ``.npy`` of that shape for writing; it gets its name at the end, or is removed after an error."""
    with _named_when_complete(path) as part:
        array = mapped_npy(part, shape)
        yield array
        array.flush()


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write named arrays (no pickles) to an ``.npz``."""
    with _named_when_complete(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what ``save_arrays`` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def clear_parts(folder: Path) -> None:
    """Delete half-written files of a run whose process was killed: they may be large, and nobody looks for them."""
    for part in (*folder.glob("work/*-*.part"), *folder.glob(".*-*.part.*"), *folder.glob("figures/.*-*.part.*")):
        found = re.search(r"-(\d+)\.part(\.\w+)?$", part.name)
        if found and not _is_running(int(found[1])):
            part.unlink(missing_ok=True)


def _is_running(number: int) -> bool:
    """Whether there is a process of that number; elsewhere than on POSIX systems, asking would end it."""
    if os.name != "posix" or number == os.getpid():
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _named_when_complete(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the number of the process: of two runs at a time neither gives the other's half-written file its name.
    part = path.with_name(f"{path.name}-{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def fingerprint(movie: Movie) -> str:
    """Text that changes when the movie does: sampled frames, since hashing terabytes would take as long as the work."""
    indices = np.unique(np.linspace(0, movie.n_frames - 1, SAMPLED_FRAMES).astype(int))
    digest = hashlib.sha256(repr((__version__, movie.shape, movie.fs, str(movie.data.dtype), movie.history)).encode())
    for index in indices:
        digest.update(np.ascontiguousarray(movie.frames(int(index), int(index) + 1)).tobytes())
    return digest.hexdigest()
