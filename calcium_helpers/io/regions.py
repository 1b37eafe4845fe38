"""``load_regions``: regions of the user (label images, stacks of masks, suite2p's ``stat.npy``, our results) as footprints."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from scipy import ndimage, sparse

from calcium_helpers.containers import Footprints
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.results import load_results

logger = logging.getLogger(__name__)

LABEL_NAMES = ("labels", "masks", "rois", "regions")
"""What a label image is usually called in an ``.npz`` file that holds several arrays."""

HARMLESS = {
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
"""All that pickles of arrays and numbers ask for; plain containers ask for nothing."""


def load_regions(path: str | Path, shape: tuple[int, int]) -> Footprints:
    """Read regions drawn or found elsewhere.

    Parameters
    ----------
    path : path
        One of

        - a label image (H, W) in ``.tif``, ``.npy`` or ``.npz``: 0 is background, pixels of one number are one region, and the
          number becomes its id. An image of two values only is a mask: its connected pieces are the regions;
        - a stack of masks or weights (N, H, W) in the same formats: one region each, its place in the stack becomes its id;
          empty ones are left out;
        - suite2p's ``stat.npy``; where ``iscell.npy`` lies beside it, only the cells. It is a pickle, which may hold programs:
          it is read by an unpickler that knows arrays, numbers and plain containers, and refuses everything else;
        - the ``results.h5`` of an earlier run: the accepted cells.
    shape : tuple of int
        Frames (H, W) that the regions belong to, px.

    Returns
    -------
    Footprints
        At least one.

    Raises
    ------
    MovieFileError
        When the file is absent, of another kind, of another frame size, holds no region, or asks for more than arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise MovieFileError(path, "there is no such file", "Check the path; relative ones start at the working folder")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise MovieFileError(path, f"has the unknown suffix {path.suffix!r}", f"Regions are read from {', '.join(READERS)}")
    try:
        footprints = reader(path, shape)
    except MovieFileError:
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, pickle.UnpicklingError) as error:
        raise MovieFileError(path, f"cannot be read as regions ({error})", "Save them as a label image (H, W)") from error
    if not len(footprints):
        raise MovieFileError(path, "holds no region: all pixels are background", "Draw some, or leave the regions out")
    return footprints


def _read_tiff(path: Path, shape: tuple[int, int]) -> Footprints:
    import tifffile

    return _from_array(path, tifffile.imread(path), shape)


def _read_npz(path: Path, shape: tuple[int, int]) -> Footprints:
    with np.load(path, allow_pickle=False) as file:
        named = [name for name in LABEL_NAMES if name in file.files] if len(file.files) > 1 else file.files
        if len(named) != 1:
            problem = f"holds the arrays {', '.join(file.files) or 'none'}, expected one, or one of {', '.join(LABEL_NAMES)}"
            raise MovieFileError(path, problem, "Save the label image alone")
        return _from_array(path, file[named[0]], shape)


def _read_npy(path: Path, shape: tuple[int, int]) -> Footprints:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read_header(file)
        if not dtype.hasobject:
            return _from_array(path, np.load(path, allow_pickle=False), shape)
        stored = _ArraysOnly(file, path).load()
    if isinstance(stored, np.ndarray) and stored.ndim == 0:
        stored = stored.item()
    if isinstance(stored, dict) and "masks" in stored:  # what Cellpose calls _seg.npy
        return _from_array(path, np.asarray(stored["masks"]), shape)
    return _from_stat(path, list(stored), shape)


def _read_results(path: Path, shape: tuple[int, int]) -> Footprints:
    results = load_results(path)
    _check_shape(path, results.footprints.shape, shape)
    return results.footprints.select(results.cells_by_id()["accepted"].to_numpy())


READERS: dict[str, Callable[[Path, tuple[int, int]], Footprints]] = {
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".h5": _read_results,
    ".hdf5": _read_results,
}
"""How files are read, by suffix."""


def _from_array(path: Path, array: np.ndarray, shape: tuple[int, int]) -> Footprints:
    """Take a label image (H, W) or a stack (N, H, W) for what it is."""
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3):
        problem = f"holds {array.dtype} of shape {array.shape}, expected a label image (H, W) or masks (N, H, W)"
        raise MovieFileError(path, problem, "Save one of these")
    _check_shape(path, array.shape[-2:], shape)
    if array.size and (not np.isfinite(array).all() or array.min() < 0):
        raise MovieFileError(path, "has negative or infinite values, or NaN", "0 is background, regions are above it")
    if array.ndim == 2 or (len(array) == 1 and array.dtype.kind != "f"):
        return _from_labels(path, array.reshape(shape), shape)
    filled = np.flatnonzero(array.any(axis=(1, 2)))
    if len(filled) < len(array):
        logger.warning("%s: %d of %d masks are empty and are left out", path.name, len(array) - len(filled), len(array))
    weights = array if array.dtype.kind == "f" else array > 0
    rows = [sparse.csr_matrix(weights[row].reshape(1, -1), dtype=np.float32) for row in filled]
    return Footprints(_stack(rows, shape), shape, filled)


def _from_labels(path: Path, image: np.ndarray, shape: tuple[int, int]) -> Footprints:
    if image.dtype.kind == "f" and (image != np.round(image)).any():
        raise MovieFileError(path, "has fractions in a label image", "Number the regions 1, 2, ..., or save a stack (N, H, W)")
    labels = image.astype(np.int64)
    if len(np.unique(labels[labels > 0])) == 1:
        pieces, n = ndimage.label(labels > 0)
        if n > 1:
            labels = pieces
            logger.warning("%s: a mask without numbers: its %d connected pieces are taken as regions", path.name, n)
    ids, row = np.unique(labels[labels > 0], return_inverse=True)
    pixels = np.flatnonzero(labels.reshape(-1) > 0)
    weights = sparse.csr_matrix((np.ones(len(pixels)), (row, pixels)), shape=(len(ids), labels.size))
    return Footprints(weights, shape, ids)


def _from_stat(path: Path, stat: list[Any], shape: tuple[int, int]) -> Footprints:
    """Take suite2p's list of dicts with ``ypix, xpix, lam``."""
    if not all(isinstance(entry, dict) and {"ypix", "xpix", "lam"} <= entry.keys() for entry in stat):
        raise MovieFileError(path, "is not suite2p's stat.npy: entries lack ypix, xpix, lam", "Save a label image (H, W)")
    marks = path.with_name("iscell.npy")
    keep = np.load(marks, allow_pickle=False).reshape(len(stat), -1)[:, 0] > 0 if marks.is_file() else np.ones(len(stat), bool)
    if not keep.all():
        logger.warning(
            "%s: %d of %d regions are cells by iscell.npy; the others are left out", path.name, keep.sum(), len(keep)
        )
    rows = []
    for number in np.flatnonzero(keep):
        y, x, weight = (np.asarray(stat[number][name]) for name in ("ypix", "xpix", "lam"))
        if len(y) and (min(y.min(), x.min()) < 0 or y.max() >= shape[0] or x.max() >= shape[1]):
            problem = f"region {number} reaches pixel (y, x) = ({y.max()}, {x.max()}), the movie's frames are {shape}"
            raise MovieFileError(path, problem, "Regions and movie must be of one recording, neither cropped nor transposed")
        flat = np.asarray(y, dtype=np.int64) * shape[1] + x
        rows.append(sparse.csr_matrix((weight, (np.zeros(len(flat), int), flat)), shape=(1, shape[0] * shape[1])))
    return Footprints(_stack(rows, shape), shape, np.flatnonzero(keep))


def _stack(rows: list[sparse.csr_matrix], shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.vstack(rows).tocsr() if rows else sparse.csr_matrix((0, shape[0] * shape[1]), dtype=np.float32)


def _check_shape(path: Path, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    if tuple(found) == tuple(shape):
        return
    turned = tuple(found) == tuple(shape)[::-1]
    remedy = (
        "It is transposed: save its transpose (array.T)" if turned else "They must be of one recording, not cropped or binned"
    )
    raise MovieFileError(path, f"has regions in frames of {tuple(found)} px, the movie's are {tuple(shape)}", remedy)


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of arrays, numbers and plain containers; refuses whatever else they ask for."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return the few names of NumPy that arrays are made with."""
        if (module, name) in HARMLESS:
            return super().find_class(module, name)
        problem = f"asks for {module}.{name} to be run when it is read, expected arrays and numbers only"
        raise MovieFileError(self.path, problem, "Do not open it elsewhere unless you trust it; save a label image (H, W)")
