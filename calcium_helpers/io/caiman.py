"""``read_caiman``: what CaImAn (Giovannucci et al. 2019, doi:10.7554/eLife.38173) saved of its CNMF objects, in HDF5."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.io.arrays import open_hdf5
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.pickled import BROKEN
from calcium_helpers.io.source import choose_rate, positive
from calcium_helpers.results import Imported

logger = logging.getLogger(__name__)


def read_caiman(path: str | Path, *, fs: float | None = None) -> Imported:
    """Read the components of a CaImAn file.

    Raw traces are ``C + YrA`` and the background (``b f``, or ``b0`` of the ring model) that CaImAn saw in each component's
    place, which stands in for the neuropil. ``F_dff`` and ``S`` are taken as dF/F and spikes where they are.

    Parameters
    ----------
    path : path
        ``.hdf5`` as ``cnmf.save`` writes it; groups of the estimates may also lie at the top.
    fs : float, optional
        Frames per second, Hz; by default what the file says.

    Returns
    -------
    Imported

    Raises
    ------
    MovieFileError
        When the file is absent, damaged, not CaImAn's, or of a volume.
    """
    path = Path(path)
    if not path.is_file():
        raise MovieFileError(path, "there is no such file", "Name the .hdf5 that CaImAn saved")
    with open_hdf5(path) as file, file:
        try:
            return _read(path, file, file.get("estimates", file), fs)
        except MovieFileError:
            raise
        except BROKEN as error:
            raise MovieFileError(path, f"cannot be read as CaImAn's ({error!r})", "Save it again from CaImAn") from error


def _read(path: Path, file: Any, estimates: Any, fs: float | None) -> Imported:
    if not {"A", "C"} <= set(estimates):
        raise MovieFileError(path, "holds no components A and C", "A file that CaImAn's cnmf.save wrote is expected")
    rate = choose_rate(path, positive(_array(file, "params/data/fr", "fr")), fs)
    shape = _shape(path, file)
    a = _matrix(estimates["A"])
    c = np.asarray(estimates["C"][()], dtype=np.float64)
    if c.ndim != 2 or a.shape != (shape[0] * shape[1], len(c)):
        problem = f"has A of shape {a.shape}, C of {c.shape}, frames of {shape} px: they do not fit"
        raise MovieFileError(path, problem, "Expected are A (pixels, N) and C (N, frames)")
    keep = np.diff(a.indptr) > 0
    if not keep.all():
        logger.warning("%s: %d of %d components have no pixel and are left out", path.name, (~keep).sum(), len(keep))
    a, traces = a[:, keep], {name: _traces(path, estimates, names, c.shape) for name, names in TRACES.items()}
    if not all(np.isfinite(values).all() for values in (c, *traces.values()) if values is not None):
        raise MovieFileError(path, "holds NaN or infinity in its traces", "Run CaImAn again")
    own = c + (0.0 if traces["residual"] is None else traces["residual"])
    around, still = _background(estimates, a, c.shape[1])
    footprints = Footprints(_row_major(a, shape), shape, np.flatnonzero(keep))
    light = around if around is not None else np.zeros_like(own[keep])
    raw = Traces(own[keep] + light, rate, "raw", footprints.ids)
    if around is None:
        logger.warning("%s: holds no background: dF/F cannot be relative to all light in a cell's place", path.name)
    dff, spikes = (
        None if (values := traces[kind]) is None else raw.replace(values=values[keep], kind=kind) for kind in ("dff", "spikes")
    )
    images = {"mean": (a @ c[keep].mean(axis=1) + still).reshape(shape, order="F").astype(np.float32)}
    correlation = _array(estimates, "Cn")
    if correlation is not None and correlation.shape == shape:
        images["correlation"] = correlation.astype(np.float32)
    return Imported(
        "CaImAn", str(path), footprints, raw, raw.replace(values=light, kind="neuropil"), dff, spikes,
        _scores(estimates, len(keep))[keep].reset_index(drop=True), images, None, 1.0,
        "cell" if around is None else "all", None,
    )  # fmt: skip


TRACES = {"residual": ("YrA", "R"), "dff": ("F_dff",), "spikes": ("S",)}


def _array(group: Any, *names: str) -> np.ndarray | None:
    """Return the first of these that holds numbers; None of Python is stored as the text ``NoneType``."""
    for name in names:
        item = group.get(name)
        if item is not None and hasattr(item, "dtype") and item.dtype.kind in "biuf" and item.size:
            return np.asarray(item[()])
    return None


def _matrix(item: Any) -> sparse.csc_matrix:
    """Return a matrix that is stored whole or by columns."""
    if hasattr(item, "dtype"):
        return sparse.csc_matrix(item[()])
    parts = tuple(item[name][()] for name in ("data", "indices", "indptr"))
    matrix = sparse.csc_matrix(parts, shape=tuple(int(n) for n in item["shape"][()]))
    matrix.eliminate_zeros()
    return matrix


def _shape(path: Path, file: Any) -> tuple[int, int]:
    """Return the size of frames."""
    dims = _array(file, "params/data/dims", "dims", "estimates/dims")
    if dims is None or dims.size != 2:
        what = "does not tell the size of frames (dims)" if dims is None else f"is of a volume of {dims.tolist()} px"
        raise MovieFileError(path, what, "Results of one plane, with their dims, can be read")
    return int(dims[0]), int(dims[1])


def _traces(path: Path, estimates: Any, names: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the traces of all components, where they are stored."""
    values = _array(estimates, *names)
    if values is not None and values.shape != shape:
        raise MovieFileError(path, f"has {names[0]} of shape {values.shape}, C of {shape}", "Save it again from CaImAn")
    return values


def _background(estimates: Any, a: sparse.csc_matrix, n_frames: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the background in each component's place (N, T), in the unit of C, and its mean over time (pixels,)."""
    b, f, b0 = (_array(estimates, name) for name in ("b", "f", "b0"))
    if b is None and "b" in estimates and not hasattr(estimates["b"], "dtype"):
        b = _matrix(estimates["b"]).toarray()
    scale = np.asarray(a.power(2).sum(axis=0)).reshape(-1, 1)  # C times A is light: C is a projection on A over its square
    if b is not None and f is not None:
        b, f = b.reshape(a.shape[0], -1), f.reshape(-1, n_frames)
        return (a.T @ b) @ f / scale, b @ f.mean(axis=1)
    if b0 is not None:
        still = b0.reshape(-1)
        return np.broadcast_to((a.T @ still)[:, None] / scale, (a.shape[1], n_frames)), still
    return None, np.zeros(a.shape[0])


def _row_major(a: sparse.csc_matrix, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Turn columns of pixels that run down the image into rows of pixels that run along it."""
    entries = a.tocoo()
    x, y = np.divmod(entries.row.astype(np.int64), shape[0])
    return sparse.csr_matrix((entries.data, (entries.col, y * shape[1] + x)), shape=a.shape[::-1])


def _scores(estimates: Any, n: int) -> pd.DataFrame:
    """Return which components CaImAn accepted, all where it did not judge, and its network's probability."""
    good, bad, network = (_array(estimates, name) for name in ("idx_components", "idx_components_bad", "cnn_preds"))
    accepted = np.full(n, good is None)
    accepted[bad.astype(int) if bad is not None and good is None else []] = False
    accepted[good.astype(int) if good is not None else []] = True
    scores = pd.DataFrame({"accepted": accepted, "reason": np.where(accepted, "", "rejected by CaImAn")})
    known = network is not None and network.shape == (n,) and np.isfinite(network).all()
    return scores.assign(confidence=network) if known else scores
