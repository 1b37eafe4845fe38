"""Other programs, measured beside ours on the same movies; each runs in an environment of its own.

suite2p is found through the environment variable ``SUITE2P_PYTHON``, the interpreter of an environment made by::

    python -m venv suite2p-peer
    suite2p-peer/bin/pip install torch "numpy<2.5" scipy numba scikit-learn matplotlib natsort tifffile tqdm importlib-metadata
    suite2p-peer/bin/pip install scanimage-tiff-reader opencv-python-headless fastremap fill-voids roifile
    suite2p-peer/bin/pip install --no-deps suite2p==1.1.0 cellpose==4.2.1.1
    export SUITE2P_PYTHON=$PWD/suite2p-peer/bin/python

torchvision, which cellpose names among its needs, is left out (it replaces torch); an empty module stands in for it.

CNMF-E, as its port to C++ by Inscopix, is found through ``CNMFE_PYTHON``, the interpreter of an environment of Python 3.10::

    python3.10 -m venv cnmfe-peer
    cnmfe-peer/bin/pip install "numpy<2" tifffile inscopix-cnmfe==1.0.2
    export CNMFE_PYTHON=$PWD/cnmfe-peer/bin/python
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from calcium_helpers.containers import Footprints, Shifts

logger = logging.getLogger(__name__)

FIELD_GRID = 16  # points a side on which the peer's field of shifts is stored: those of ``metrics.field_rms``

# glibc gives every large buffer back to the system when it is freed, and the next one costs a page fault every 4 KB. This
# keeps freed buffers (no mmap, no trimming, one arena) in huge pages.
KEEP_BUFFERS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "MALLOC_ARENA_MAX": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Suite2pRun(NamedTuple):
    """What suite2p found, in our containers and sign; ``seconds`` by stage, ``cell_probability`` (N,) its classifier's.

    ``shifts`` is None in mode "extract"; ``footprints`` and traces (N, T) are None in modes "rigid" and "nonrigid".
    """

    shifts: Shifts | None
    footprints: Footprints | None
    fluorescence: np.ndarray | None
    neuropil: np.ndarray | None
    spikes: np.ndarray | None
    cell_probability: np.ndarray | None
    seconds: dict[str, float]
    peak_mb: float
    versions: dict[str, str]


class CNMFERun(NamedTuple):
    """What CNMF-E found: footprints and ``traces`` (N, T), in counts; ``seconds`` of all of it, and of processors."""

    footprints: Footprints
    traces: np.ndarray
    seconds: float
    processor_s: float
    peak_mb: float
    version: str


def run_suite2p(
    movie: np.ndarray, fs: float, *, mode: str, threads: int = 2, tuned_allocator: bool = True, **options: Any
) -> Suite2pRun | None:
    """Run suite2p on a movie (T, H, W) in memory, memory to memory: neither import, files nor the first call are timed.

    Parameters
    ----------
    movie : ndarray, shape (T, H, W)
        Integer counts.
    fs : float
        Frames per second, Hz.
    mode : str
        "rigid" or "nonrigid" (registration alone), "extract" (detection, extraction and spikes of a registered movie) or
        "pipeline" (all of it).
    threads : int
        Threads of torch, OpenMP and BLAS.
    tuned_allocator : bool
        Let the C library keep freed buffers, see ``KEEP_BUFFERS``.
    **options
        ``tau`` (s), ``diameter`` (px), ``threshold_scaling``, ``max_rois``, ``one_photon`` (the authors' settings for such
        movies), ``warm_up`` (default True), ``settings`` ({section: {name: value}} of suite2p's own).

    Returns
    -------
    Suite2pRun or None
        None, with a logged reason, where ``SUITE2P_PYTHON`` is not set.

    Raises
    ------
    RuntimeError
        When suite2p fails; the message ends with what it wrote.
    """
    if mode not in ("rigid", "nonrigid", "extract", "pipeline"):
        raise ValueError(f"mode must be 'rigid', 'nonrigid', 'extract' or 'pipeline', got {mode!r}")
    python = os.environ.get("SUITE2P_PYTHON")
    if not python:
        logger.warning("suite2p is not measured: set SUITE2P_PYTHON to the interpreter of an environment that has it")
        return None
    request = {"mode": mode, "threads": threads, **options}
    environment = KEEP_BUFFERS if tuned_allocator else {}
    found = _run_script([python, "suite2p_run.py"], movie, [str(fs), json.dumps(request)], threads, environment)
    return _read(found, movie.shape[1:])


def open_in_suite2p(folder: Path, *, movie: np.ndarray | None = None, fs: float = 30.0) -> dict[str, np.ndarray]:
    """Open ``folder`` with suite2p's own loaders; where a movie is given, suite2p analyses it and writes that folder first.

    Parameters
    ----------
    folder : Path
        The one that holds ``plane0``.
    movie : ndarray, shape (T, H, W), optional
        Integer counts.
    fs : float
        Of the movie, Hz.

    Returns
    -------
    dict
        Arrays as ``suite2p_open.py`` names them.

    Raises
    ------
    RuntimeError
        When suite2p fails or refuses the folder; the message ends with what it wrote.
    """
    frames = np.zeros((0, 1, 1), np.int16) if movie is None else movie
    return _run_script([os.environ["SUITE2P_PYTHON"], "suite2p_open.py"], frames, [str(folder), str(fs)], 2, {})


def run_cnmfe(movie: np.ndarray, *, diameter_px: float, threads: int = 2) -> CNMFERun | None:
    """Run CNMF-E on a motion-corrected movie (T, H, W) of integer counts, its other parameters as its authors set them.

    Parameters
    ----------
    movie : ndarray, shape (T, H, W)
        Integer counts.
    diameter_px : float
        Mean diameter of the cells, which it has to be told, px.
    threads : int
        Threads it works with.

    Returns
    -------
    CNMFERun or None
        None, with a logged reason, where ``CNMFE_PYTHON`` is not set.

    Raises
    ------
    RuntimeError
        When it fails; the message ends with what it wrote.
    """
    python = os.environ.get("CNMFE_PYTHON")
    if not python:
        logger.warning("CNMF-E is not measured: set CNMFE_PYTHON to the interpreter of an environment that has it")
        return None
    request = {"diameter": round(diameter_px), "threads": threads}
    found = _run_script([python, "cnmfe_run.py"], movie, [json.dumps(request)], threads, {})
    images = np.maximum(found["footprints"], 0)
    there = images.any(axis=(1, 2))
    measured = {name: float(found[name]) for name in ("seconds", "processor_s", "peak_mb")}
    return CNMFERun(Footprints.from_images(images[there]), found["traces"][there], version=str(found["version"]), **measured)


def _run_script(
    program: list[str], movie: np.ndarray, arguments: list[str], threads: int, environment: dict[str, str]
) -> dict[str, np.ndarray]:
    """Run ``program`` (interpreter and script beside this file) on a movie and return the arrays that it stores."""
    python, script = program
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **environment}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "movie.npy"), Path(folder, "found.npz")
        np.save(source, movie)
        command = [python, str(Path(__file__).with_name(script)), str(source), str(target), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{script} failed with exit code {done.returncode}: {done.stderr[-2000:]}")
        with np.load(target) as found:
            return dict(found)


def _read(found: dict[str, np.ndarray], shape: tuple[int, int]) -> Suite2pRun:
    """Turn what ``suite2p_run.py`` stored into our containers."""
    return Suite2pRun(
        shifts=_shifts(found, shape) if "yoff" in found else None,
        footprints=_footprints(found, shape) if "start" in found else None,
        fluorescence=found.get("F"),
        neuropil=found.get("Fneu"),
        spikes=found.get("spks"),
        cell_probability=found["iscell"][:, 1] if "iscell" in found else None,
        seconds=json.loads(str(found["seconds"])),
        peak_mb=float(found["peak_mb"]),
        versions=json.loads(str(found["versions"])),
    )


def _shifts(found: dict[str, np.ndarray], shape: tuple[int, int]) -> Shifts:
    """Shifts in our sign: suite2p states where in the raw frame a corrected pixel is found, we by how much it moved."""
    yx = -np.column_stack([found["yoff"], found["xoff"]]).astype(np.float32)
    if "yoff1" in found:
        n_blocks = len(found["centre_y"]), len(found["centre_x"])
        blocks = -np.stack([found["yoff1"], found["xoff1"]], axis=-1).reshape(len(yx), *n_blocks, 2)
        weights = [_block_weights(found[f"centre_{axis}"], n) for axis, n in zip("yx", shape, strict=True)]
        yx = yx[:, None, None] + np.einsum("tabc,ya,xb->tyxc", blocks, *weights, optimize=True)
    valid = (*found["yrange"].tolist(), *found["xrange"].tolist())
    return Shifts(yx, found["refImg"], valid, bad_frames=np.flatnonzero(found["badframes"]))


def _block_weights(centres: np.ndarray, length: int) -> np.ndarray:
    """Weights (16, n) of evenly spaced block centres at the points of our grid: linear between, constant beyond them."""
    points = (np.arange(FIELD_GRID) + 0.5) * length / FIELD_GRID - 0.5
    step = (centres[-1] - centres[0]) / max(len(centres) - 1, 1)
    index = np.clip((points - centres[0]) / max(step, 1), 0, len(centres) - 1)
    return np.maximum(0.0, 1.0 - np.abs(index[:, None] - np.arange(len(centres))))


def _footprints(found: dict[str, np.ndarray], shape: tuple[int, int]) -> Footprints:
    """Footprints with suite2p's pixel weights (``lam``)."""
    pixels = (found["ypix"] * shape[1] + found["xpix"]).astype(np.int64)
    n_rois = len(found["start"]) - 1
    return Footprints(sparse.csr_matrix((found["lam"], pixels, found["start"]), shape=(n_rois, shape[0] * shape[1])), shape)
