"""The steps of a run, each computed or, where its key is found, read back."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers import motion
from calcium_helpers.containers import Footprints, Movie, Shifts, Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.models import cnmf
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.results import Detection
from calcium_helpers.traces import estimate_dff, extract_with_neuropil, subtract_neuropil
from calcium_helpers.workdir import WorkDir, create_array, finish, load_arrays, save_arrays


def _detect_cnmf(movie: Movie, shifts: Shifts | None, config: PipelineConfig, progress: bool) -> Detection:
    valid, bad = (None, None) if shifts is None else (shifts.valid, shifts.bad_frames)
    return cnmf.detect(movie, config=config.cnmf, valid=valid, bad_frames=bad, progress=progress)


DETECTORS = {"cnmf": _detect_cnmf}


class Activity(NamedTuple):
    """Traces of one run, all (N, T): raw and neuropil in counts, dff as a fraction, spikes in dF/F a frame."""

    raw: Traces
    neuropil: Traces
    dff: Traces
    spikes: Traces


class Step(NamedTuple):
    """What a step gave, and whether it was found from an earlier run."""

    value: object
    found: bool


def correct_motion(movie: Movie, config: PipelineConfig, work: WorkDir, device: str, progress: bool) -> Step:
    """Register the movie; the corrected frames lie in a memory map where there is a work folder."""
    settings = config.motion or motion.TWO_PHOTON
    path = work.path("motion", asdict(settings), "npy")
    shifts_path = None if path is None else path.with_suffix(".npz")
    if path is not None and shifts_path is not None and path.exists() and shifts_path.exists():
        stored = load_arrays(shifts_path)
        note = str(stored.pop("note"))
        shifts = Shifts(
            stored["yx"], stored["template"], tuple(int(n) for n in stored["valid"]), stored["correlation"],
            stored["bad_frames"], float(stored["bidiphase_px"]),
        )  # fmt: skip
        corrected = movie.replace(data=np.load(path, mmap_mode="r"), history=(*movie.history, note))
        return Step(motion.Registration(corrected, shifts), True)
    out = None if path is None else create_array(path, movie.shape)
    registration = motion.register(movie, config=settings, out=out, device=device, progress=progress)
    if path is None or shifts_path is None:
        return Step(registration, False)
    out.flush()
    finish(path)
    shifts = registration.shifts
    save_arrays(
        shifts_path, yx=shifts.yx, template=shifts.template, valid=np.array(shifts.valid), correlation=shifts.correlation,
        bad_frames=shifts.bad_frames, bidiphase_px=np.array(shifts.bidiphase_px), note=np.array(registration.movie.history[-1]),
    )  # fmt: skip
    corrected = registration.movie.replace(data=np.load(path, mmap_mode="r"))
    return Step(motion.Registration(corrected, shifts), False)


def detect_cells(movie: Movie, shifts: Shifts | None, config: PipelineConfig, work: WorkDir, progress: bool) -> Step:
    """Run the detector."""
    settings = asdict(config.cnmf) if config.detector == "cnmf" else {}
    path = work.path("detect", {"detector": config.detector, **settings}, "npz")
    if path is not None and path.exists():
        return Step(_load_detection(path, movie.fs), True)
    detection = DETECTORS[config.detector](movie, shifts, config, progress)
    if path is not None:
        _save_detection(path, detection)
    return Step(detection, False)


def extract_activity(movie: Movie, footprints: Footprints, config: PipelineConfig, work: WorkDir, progress: bool) -> Step:
    """Traces, neuropil, dF/F and spikes of the footprints."""
    names = ("offset", "neuropil", "baseline", "baseline_window_s", "polarity", "deconvolution", "indicator")
    path = work.path("traces", {name: getattr(config, name) for name in names}, "npz")
    if path is not None and path.exists():
        stored = load_arrays(path)
        kinds = Activity._fields
        return Step(Activity(*(Traces(stored[kind], movie.fs, kind, footprints.ids) for kind in kinds)), True)
    raw, neuropil = (
        traces.replace(values=traces.values - config.offset)
        for traces in extract_with_neuropil(movie, footprints, progress=progress)
    )
    signal = subtract_neuropil(raw, neuropil, coefficient=config.neuropil)
    dff = estimate_dff(signal, baseline=config.baseline, window_s=config.baseline_window_s, polarity=config.polarity)
    spikes = deconvolve(dff, method=config.deconvolution, indicator=config.indicator).spikes
    activity = Activity(raw, neuropil, dff, spikes)
    if path is not None:
        save_arrays(path, **{kind: traces.values for kind, traces in activity._asdict().items()})
    return Step(activity, False)


def _save_detection(path: Path, detection: Detection) -> None:
    weights = detection.footprints.weights
    spatial, temporal = detection.background or (np.zeros((0, *detection.footprints.shape)), np.zeros((0, 0)))
    save_arrays(
        path, data=weights.data, indices=weights.indices, indptr=weights.indptr, shape=np.array(detection.footprints.shape),
        ids=detection.footprints.ids, traces=detection.traces.values, spatial=spatial, temporal=temporal,
        scores=np.array(detection.scores.to_json(orient="table")), funnel=np.array(detection.funnel.to_json(orient="table")),
        extras=np.array(json.dumps({k: v for k, v in detection.extras.items() if isinstance(v, (int, float, str))})),
    )  # fmt: skip


def _load_detection(path: Path, fs: float) -> Detection:
    stored = load_arrays(path)
    shape = tuple(int(n) for n in stored["shape"])
    parts = (stored["data"], stored["indices"], stored["indptr"])
    footprints = Footprints(sparse.csr_matrix(parts, shape=(len(stored["ids"]), shape[0] * shape[1])), shape, stored["ids"])
    tables = [pd.read_json(StringIO(str(stored[name])), orient="table") for name in ("scores", "funnel")]
    background = (stored["spatial"], stored["temporal"]) if len(stored["spatial"]) else None
    extras = json.loads(str(stored["extras"]))
    return Detection(footprints, Traces(stored["traces"], fs, "raw", stored["ids"]), background, *tables, extras)
