"""``.npy`` files of objects, which are pickles: read by an unpickler that knows data alone unless the user trusts them."""

from __future__ import annotations

import pickle
from pathlib import Path, PurePath
from typing import IO, Any

import numpy as np

from calcium_helpers.io.errors import MovieFileError

HARMLESS = {
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    *(("datetime", name) for name in ("date", "datetime", "timedelta", "timezone")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
"""All that pickles of arrays, numbers and dates ask for; plain containers ask for nothing."""

PATHS = {"Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"}
BROKEN = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError, ImportError, pickle.UnpicklingError)
"""What reading such a file may raise when it is damaged or not of its kind."""


def load_objects(path: Path, *, remedy: str, trusted: bool = False) -> Any:
    """Read a ``.npy`` of numbers or objects; a single object comes out of its array.

    Parameters
    ----------
    path : Path
        The file.
    remedy : str
        What to do with a file that asks for programs to be run.
    trusted : bool
        Read whatever it holds, and run what it asks for.

    Raises
    ------
    MovieFileError
        When it asks for more than arrays, numbers, dates and plain containers, and is not trusted.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if not dtype.hasobject or trusted:
            stored = np.load(path, allow_pickle=dtype.hasobject)
        else:
            stored = _DataOnly(file, path, remedy).load()
    return stored.item() if shape == () and dtype.hasobject and isinstance(stored, np.ndarray) else stored


class _DataOnly(pickle.Unpickler):
    """Reads pickles of arrays, numbers, dates, paths and plain containers; refuses whatever else they ask for."""

    def __init__(self, file: IO[bytes], path: Path, remedy: str) -> None:
        super().__init__(file)
        self.path, self.remedy = path, remedy

    def find_class(self, module: str, name: str) -> Any:
        """Return the few names that data is made with; paths of any system become what every system has."""
        if (module, name) in HARMLESS:
            return super().find_class(module, name)
        if module in ("pathlib", "pathlib._local") and name in PATHS:
            return PurePath
        if (module, name) == ("_codecs", "encode"):  # bytes, as pickles that Python 2 could read hold them
            return _encode
        problem = f"asks for {module}.{name} to be run when it is read, expected arrays and numbers only"
        raise MovieFileError(self.path, problem, self.remedy)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")
