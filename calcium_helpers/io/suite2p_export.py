"""``save_suite2p``: results as a folder that suite2p (Pachitariu et al. 2017, doi:10.1101/061507) opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers.io.save import atomic_folder
from calcium_helpers.io.suite2p import SHARE
from calcium_helpers.results import Results


def save_suite2p(results: Results, folder: str | Path) -> None:
    """Write results as a folder that suite2p opens: all components, those accepted as cells.

    Parameters
    ----------
    results : Results
        Of a run, or imported. Of piecewise shifts the mean over the field is written; where shares of neuropil were fitted
        cell by cell, suite2p is told its usual 0.7.
    folder : path
        A new one, usually called ``plane0``; it gets its name when it is complete.

    Raises
    ------
    ValueError
        When the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"folder must be a new one, got {folder}, which exists: name another, or delete it first")
    cells = results.cells_by_id()
    accepted = cells["accepted"].to_numpy(dtype=np.float64)
    parts = _describe(results, folder)
    arrays: dict[str, Any] = {
        "F": results.raw.values,
        "Fneu": results.neuropil.values,
        "spks": results.spikes.values,
        "iscell": np.stack([accepted, cells.get("confidence", accepted)], axis=1),
        "stat": _make_stat(results, parts["settings"]["neucoeff"]),
        "ops": {name: value for part in parts.values() for name, value in part.items()},
        **parts,
    }
    with atomic_folder(folder) as temporary:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=True)


def _describe(results: Results, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what suite2p wants to know beside the cells, in the files of its version 1."""
    height, width = results.footprints.shape
    shifts, images, summary = results.shifts, results.images, results.summary
    y0, y1, x0, x1 = shifts.valid if shifts is not None else (0, height, 0, width)
    share = results.parameters.get("neuropil", SHARE)
    share = float(share) if share != "fit" else SHARE
    diameter = float(summary.get("diameter_px") or 2 * np.sqrt(_usual_area_px(results) / np.pi))
    known = {"pixel_um": summary["pixel_um"]} if summary.get("pixel_um") else {}
    blank = np.zeros((height, width), np.float32)
    registration = {"yrange": [y0, y1], "xrange": [x0, x1], "meanImg": np.asarray(images.get("mean", blank), np.float32)}
    if shifts is not None:
        yoff, xoff = -shifts.rigid_yx.T
        bad = np.isin(np.arange(results.raw.n_frames), shifts.bad_frames)
        registration |= {"yoff": yoff, "xoff": xoff, "refImg": shifts.template, "badframes": bad}
        registration |= {} if shifts.correlation is None else {"corrXY": shifts.correlation}
    detection = {
        key: np.asarray(images.get(name, blank), np.float32)[y0:y1, x0:x1]
        for name, key in (("max", "max_proj"), ("correlation", "Vcorr"))
    }
    return {
        "db": {
            "Ly": height, "Lx": width, "nframes": results.raw.n_frames, "nplanes": 1, "nchannels": 1,
            "data_path": [], "save_path": str(folder), "batch_size": 500, **known,
        },
        "settings": {
            "fs": float(results.raw.fs), "tau": float(summary.get("decay_s") or 1.0), "diameter": [diameter, diameter],
            "neucoeff": share, "extraction": {"neuropil_coefficient": share}, "detection": {"soma_crop": False},
        },
        "reg_outputs": registration,
        "detect_outputs": detection,
    }  # fmt: skip


def _make_stat(results: Results, share: float) -> np.ndarray:
    """Return the entries of ``stat``: pixels, and the measures of shape and trace that suite2p shows and sorts by."""
    from scipy.stats import skew  # a second to load

    weights, shape = results.footprints.weights, results.footprints.shape
    crowded = np.bincount(weights.indices, minlength=weights.shape[1]) > 1
    change = results.raw.values.astype(np.float64) - share * results.neuropil.values
    stat = np.empty(weights.shape[0], dtype=object)
    for row, trace in enumerate(change):
        part = slice(*weights.indptr[row : row + 2])
        pixels, lam = weights.indices[part], weights.data[part]
        points = np.stack(np.divmod(pixels.astype(np.int64), shape[1]))
        middle = np.median(points, axis=1)
        n, distance = len(pixels), np.hypot(*(points - middle[:, None])).mean()
        minor, major = 2 * np.sqrt(np.maximum(np.linalg.eigvalsh(np.atleast_2d(np.cov(points, aweights=lam, ddof=0))), 0))
        stat[row] = {
            "ypix": points[0], "xpix": points[1], "lam": lam.copy(), "npix": n, "med": [int(value) for value in middle],
            "radius": float(max(major, 0.5)), "aspect_ratio": float(2 * major / (0.01 + major + minor)), "footprint": 0.0,
            # Mean distance of pixels from the middle, against that in a disc of as many.
            "compact": float(max(1.0, 1.5 * distance / np.sqrt(n / np.pi))), "npix_norm": float(n / _usual_area_px(results)),
            "overlap": crowded[pixels], "skew": float(np.nan_to_num(skew(trace))), "std": float(trace.std()),
            "soma_crop": np.ones(n, bool), "npix_soma": n, "id": int(results.footprints.ids[row]),
        }  # fmt: skip
    return stat


def _usual_area_px(results: Results) -> float:
    return float(np.median(results.footprints.area_px)) if len(results.footprints) else 100.0
