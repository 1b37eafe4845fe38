"""Run suite2p on one movie: ``python suite2p_run.py MOVIE.npy OUT.npz FS OPTIONS``, OPTIONS being JSON.

Runs inside the interpreter where suite2p is installed (see ``__init__.py``), so it imports nothing of this repository.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import types
from importlib import metadata
from typing import Any

import numpy as np

# The settings that suite2p's authors ship for one-photon movies (ops_1P.npy), under the names of version 1.1. Its high-pass
# before registration exists no more.
ONE_PHOTON = {
    "registration": {"smooth_sigma": 4.0, "spatial_taper": 40.0, "nimg_init": 300, "maxregshiftNR": 8},
    "detection": {"highpass_time": 6},
    "extraction": {"allow_overlap": False},
}
WARM_UP_FRAMES = 100


def stub_torchvision() -> None:
    """Stand in for torchvision, which cellpose (needed by suite2p for a few of its functions) imports and never calls here."""
    names = ["torchvision", "torchvision.transforms"]
    names += [f"{names[1]}.functional", f"{names[1]}._functional_tensor"]
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules[names[1]].functional = sys.modules[names[2]]  # type: ignore[attr-defined]
    sys.modules[names[1]]._functional_tensor = sys.modules[names[3]]  # type: ignore[attr-defined]
    sys.modules[names[0]].transforms = sys.modules[names[1]]  # type: ignore[attr-defined]


def make_settings(fs: float, options: dict[str, Any]) -> dict[str, Any]:
    """Return suite2p's defaults with ours: ``mode, tau, diameter, threshold_scaling, max_rois, one_photon, settings``."""
    from suite2p import default_settings

    settings = default_settings()
    settings["fs"], settings["tau"] = fs, options.get("tau", settings["tau"])
    settings["diameter"] = options.get("diameter", settings["diameter"])
    settings["run"]["do_regmetrics"] = False
    settings["registration"]["nonrigid"] = options["mode"] != "rigid"
    for name, key in (("threshold_scaling", "threshold_scaling"), ("max_rois", "max_ROIs")):
        if name in options:
            settings["detection"][key] = options[name]
    for part in (ONE_PHOTON if options.get("one_photon") else {}, options.get("settings", {})):
        for section, values in part.items():
            settings[section].update(values)
    return settings


def to_int16(movie: np.ndarray) -> np.ndarray:
    """Return a copy as int16, the only type suite2p works on; counts that do not fit are halved, as it does itself."""
    return (movie // 2 if movie.max() > np.iinfo(np.int16).max else movie).astype(np.int16)


def run(movie: np.ndarray, fs: float, options: dict[str, Any]) -> dict[str, Any]:
    """Register, detect and extract, as ``options["mode"]`` says; ``movie`` is overwritten by the registered one."""
    import torch
    from suite2p import pipeline, registration

    settings, cpu = make_settings(fs, options), torch.device("cpu")
    start = time.perf_counter()
    if options["mode"] in ("rigid", "nonrigid"):
        found = registration.registration_wrapper(movie, settings=settings["registration"], device=cpu)
        return {"registration": found, "seconds": {"registration": time.perf_counter() - start}}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found, _, stat, f, fneu, _, _, spks, iscell, _, _, seconds = pipeline(
                folder, movie, run_registration=options["mode"] == "pipeline", settings=settings, device=cpu
            )
        except ValueError as error:  # how it says that it found nothing
            if "no ROIs were found" not in str(error):
                raise
            found = np.load(f"{folder}/reg_outputs.npy", allow_pickle=True).item()
            stat = f = fneu = spks = iscell = None
            seconds = {"until nothing was found": time.perf_counter() - start}
    cells = {"stat": stat, "F": f, "Fneu": fneu, "spks": spks, "iscell": iscell}
    return {"registration": found, "seconds": seconds, **cells}


def pack_shifts(found: dict[str, Any], shape: tuple[int, int], settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Shifts as suite2p has them, and the centres of its blocks."""
    packed = {name: np.asarray(found[name]) for name in ("yoff", "xoff", "corrXY", "badframes", "refImg") if name in found}
    packed["yrange"], packed["xrange"] = np.array(found["yrange"]), np.array(found["xrange"])
    if "yoff1" in found:
        from suite2p.registration.nonrigid import make_blocks

        y, x, (_, nx), *_ = make_blocks(*shape, block_size=settings["registration"]["block_size"])
        packed["centre_y"] = np.array(y[::nx]).mean(axis=1).astype(int)
        packed["centre_x"] = np.array(x[:nx]).mean(axis=1).astype(int)
        packed["yoff1"], packed["xoff1"] = found["yoff1"], found["xoff1"]
    return packed


def pack_cells(found: dict[str, Any], n_frames: int) -> dict[str, np.ndarray]:
    """Footprints as ``ypix, xpix, lam`` behind one another (ROI ``k`` is ``start[k]:start[k + 1]``), and traces (N, T)."""
    stat = found["stat"] if found["stat"] is not None else []
    packed = {
        name: np.concatenate([roi[name] for roi in stat]) if len(stat) else np.zeros(0) for name in ("ypix", "xpix", "lam")
    }
    packed["start"] = np.cumsum([0, *(len(roi["ypix"]) for roi in stat)])
    for name in ("F", "Fneu", "spks"):
        packed[name] = np.zeros((0, n_frames), np.float32) if found[name] is None else found[name].astype(np.float32)
    packed["iscell"] = np.zeros((0, 2)) if found["iscell"] is None else found["iscell"]
    return packed


def main(movie_path: str, out_path: str, fs: str, options_json: str) -> None:
    """Run once on the first frames to warm up, then on all, and store what was found."""
    options = json.loads(options_json)
    stub_torchvision()
    import torch

    torch.set_num_threads(options.get("threads", 2))
    movie = to_int16(np.load(movie_path, mmap_mode="r"))
    if options.get("warm_up", True):
        run(movie[:WARM_UP_FRAMES].copy(), float(fs), options)
    found = run(movie, float(fs), options)
    packed: dict[str, Any] = {}
    if options["mode"] != "extract":
        packed |= pack_shifts(found["registration"], movie.shape[1:], make_settings(float(fs), options))
    if "stat" in found:
        packed |= pack_cells(found, len(movie))
    packed["seconds"] = json.dumps({name: float(value) for name, value in found["seconds"].items()})
    names = ("suite2p", "cellpose", "torch", "numpy", "scipy")
    packed["versions"] = json.dumps({name: metadata.version(name) for name in names})
    packed["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(out_path, **packed)


if __name__ == "__main__":
    main(*sys.argv[1:])
