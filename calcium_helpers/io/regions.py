"""``load_regions``: regions of the user (label images, masks, suite2p's ``stat.npy``, ImageJ's, our results) as footprints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, sparse

from calcium_helpers.containers import Footprints
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.imagej import read_imagej
from calcium_helpers.io.pickled import BROKEN, load_objects
from calcium_helpers.io.results import load_results
from calcium_helpers.io.suite2p import stack_stat

logger = logging.getLogger(__name__)

LABEL_NAMES = ("labels", "masks", "rois", "regions")
"""What a label image is usually called in an ``.npz`` file that holds several arrays."""


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
        - regions of ImageJ, a ``.roi`` or the ROI manager's ``.zip`` (needs the extra ``rois``): rectangles, ovals, polygons,
          freehand and composite ones; their place in the file becomes their id, others are left out with a warning;
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
    ModuleNotFoundError
        For regions of ImageJ without roifile.
    """
    path = Path(path)
    if not path.is_file():
        raise MovieFileError(path, "there is no such file", "Check the path; relative ones start at the working folder")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise MovieFileError(path, f"has the unknown suffix {path.suffix!r}", f"Regions are read from {', '.join(READERS)}")
    try:
        footprints = reader(path, shape)
    except (MovieFileError, ModuleNotFoundError):
        raise
    except BROKEN as error:
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
    stored = load_objects(path, remedy="Do not open it elsewhere unless you trust it; save a label image (H, W)")
    if isinstance(stored, np.ndarray) and not stored.dtype.hasobject:
        return _from_array(path, stored, shape)
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
    ".roi": read_imagej,
    ".zip": read_imagej,
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
    """Take suite2p's list of dicts with ``ypix, xpix, lam``; of those that ``iscell.npy`` knows only the cells."""
    weights = stack_stat(path, stat, shape)
    marks = path.with_name("iscell.npy")
    keep = np.load(marks, allow_pickle=False).reshape(len(stat), -1)[:, 0] > 0 if marks.is_file() else np.ones(len(stat), bool)
    if not keep.all():
        logger.warning(
            "%s: %d of %d regions are cells by iscell.npy; the others are left out", path.name, keep.sum(), len(keep)
        )
    return Footprints(weights[keep], shape, np.flatnonzero(keep))


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
