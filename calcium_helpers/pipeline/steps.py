"""The steps of a run, each computed or, where its key is found, read back."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from warnings import catch_warnings

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers import motion
from calcium_helpers.containers import Events, Footprints, Movie, Shifts, Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.denoise import denoise, estimate_share_removed
from calcium_helpers.events import detect_events
from calcium_helpers.io.lazy import LazyFrames
from calcium_helpers.memory import scratch_array
from calcium_helpers.noise import estimate_noise
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.detectors import DETECTORS
from calcium_helpers.results import Detection
from calcium_helpers.traces import estimate_dff, extract_with_neuropil, subtract_neuropil
from calcium_helpers.workdir import is_whole, load_arrays, new_array, save_arrays


class Activity(NamedTuple):
    """Traces of one run, all (N, T): raw and neuropil in counts, dff and denoised as a fraction.

    ``spikes`` are in dF/F a frame, those of the network in Hz; ``kinetics_s`` are the decay and the rise of the
    deconvolution, seconds. Where the movie was denoised, ``noise_before`` (N,) is the noise of dF/F without,
    ``share_removed`` (N,) the share of its variance taken out.
    """

    raw: Traces
    neuropil: Traces
    dff: Traces
    denoised: Traces
    spikes: Traces
    kinetics_s: np.ndarray
    noise_before: np.ndarray | None = None
    share_removed: np.ndarray | None = None


class Step(NamedTuple):
    """What a step gave, and whether it was found from an earlier run."""

    value: object
    found: bool


def correct_motion(
    movie: Movie, config: PipelineConfig, register_on: Movie | None, path: Path | None, device: str, progress: bool
) -> Step:
    """Register the movie, or apply the shifts of another channel; a file, where named, holds the corrected frames."""
    settings = config.motion or motion.TWO_PHOTON
    if path is not None and is_whole(path):
        shifts, note = _load_shifts(path.with_suffix(".npz"))
        return Step(motion.Registration(_kept(movie, path, note), shifts), True)
    with nullcontext(None) if path is None else new_array(path, movie.shape) as out:
        if register_on is None:
            corrected, shifts = motion.register(movie, config=settings, out=out, device=device, progress=progress)
            note = corrected.history[-1]
        else:
            shifts = motion.estimate_shifts(register_on, config=settings, device=device, progress=progress)
            note = f"shifts applied (at most {np.abs(shifts.rigid_yx).max():.1f} px), estimated on {name_channel(register_on)}"
            applied = motion.apply_shifts(movie, shifts, out=out)
            corrected = applied.replace(history=(*movie.history, note))
    if path is not None:
        _save_shifts(path.with_suffix(".npz"), shifts, note)
        corrected = _kept(movie, path, note)
    return Step(motion.Registration(corrected, shifts), False)


def check_motion(
    movie: Movie, corrected: Movie, shifts: Shifts, config: PipelineConfig, register_on: Movie | None
) -> motion.MotionQuality:
    """Measure how well motion was corrected, on the channel that it was estimated on."""
    settings = config.motion or motion.TWO_PHOTON
    if register_on is not None:
        movie, corrected = register_on, _shifted(register_on, shifts)
    return motion.estimate_quality(movie, corrected, shifts, config=settings)


def _shifted(movie: Movie, shifts: Shifts) -> Movie:
    """Return the movie as the shifts correct it, each frame when it is asked for."""

    def read(rows: slice | np.ndarray) -> np.ndarray:
        part = Shifts(shifts.yx[rows], shifts.template, shifts.valid, bidiphase_px=shifts.bidiphase_px)
        return np.asarray(motion.apply_shifts(movie.replace(data=np.asarray(movie.data[rows]), times_s=None), part).data)

    return movie.replace(data=LazyFrames(read, movie.shape, np.float32))


def name_channel(movie: Movie) -> str:
    """Say in a few words which channel motion was estimated on."""
    source = movie.history[0].removeprefix("loaded ") if movie.history else "another array"
    found = re.search(r"(channel|colour) \d+ of \d+|dataset [^,)]+|array [^,)]+", source)
    return found[0] if found else source.split(" (")[0]


def _kept(movie: Movie, path: Path, note: str) -> Movie:
    """Return the movie that lies in a file."""
    return movie.replace(data=np.load(path, mmap_mode="r"), history=(*movie.history, note))


def denoise_movie(movie: Movie, shifts: Shifts | None, config: PipelineConfig, path: Path | None, progress: bool) -> Step:
    """Take noise out of the movie; a file, where named, holds the result."""
    if path is not None and is_whole(path):
        return Step(_kept(movie, path, str(load_arrays(path.with_suffix(".npz"))["note"])), True)
    bad = None if shifts is None else shifts.bad_frames
    with nullcontext(scratch_array(movie.shape)) if path is None else new_array(path, movie.shape) as out:
        denoising = denoise(movie, config=config.denoise, bad_frames=bad, out=out, progress=progress)
    if path is None:
        return Step(denoising.movie, False)
    note = denoising.movie.history[-1]
    save_arrays(path.with_suffix(".npz"), note=np.array(note), noise=denoising.noise, rank=denoising.rank)
    return Step(_kept(movie, path, note), False)


def detect_cells(
    movie: Movie, shifts: Shifts | None, config: PipelineConfig, path: Path | None, device: str, progress: bool
) -> Step:
    """Run the detector."""
    if path is not None and path.exists():
        return Step(_load_detection(path, movie.fs), True)
    detector = DETECTORS[config.detector]
    valid, bad = (None, None) if shifts is None else (shifts.valid, shifts.bad_frames)
    also = {name: value for name, value in (("seed", config.seed), ("device", device)) if name in detector.takes}
    detection = detector.detect(movie, config=config.detector_config, valid=valid, bad_frames=bad, progress=progress, **also)
    detection = detection._replace(background=None)  # as large as hundreds of frames, and no later step asks for it
    if path is not None:
        _save_detection(path, detection)
    return Step(detection, False)


def extract_activity(
    movie: Movie, footprints: Footprints, config: PipelineConfig, path: Path | None, progress: bool, noisy: Movie | None = None
) -> Step:
    """Traces, neuropil, dF/F and spikes of the footprints; ``noisy`` is the movie before denoising."""
    if path is not None and path.exists():
        stored = load_arrays(path)
        others: dict[str, Any] = {name: stored.pop(name) for name in Activity._fields[5:] if name in stored}
        traces: dict[str, Any] = {kind: Traces(values, movie.fs, kind, footprints.ids) for kind, values in stored.items()}
        return Step(Activity(**traces, **others), True)
    raw, neuropil, dff = _extract_dff(movie, footprints, config, progress)
    before = share = None
    if noisy is not None:
        raw_before, _, dff_before = _extract_dff(noisy, footprints, config, progress)
        before, share = estimate_noise(dff_before), estimate_share_removed(raw_before, raw)
    fitted = deconvolve(dff, method=config.deconvolution, indicator=config.indicator)
    kinetics = np.array([fitted.decay_s, fitted.rise_s])
    spikes = fitted.spikes if config.spikes == "oasis" else _infer_with_net(dff)
    activity = Activity(raw, neuropil, dff, fitted.denoised, spikes, kinetics, before, share)
    if path is not None:
        arrays = {name: getattr(value, "values", value) for name, value in activity._asdict().items()}
        save_arrays(path, **{name: array for name, array in arrays.items() if array is not None})
    return Step(activity, False)


def _infer_with_net(dff: Traces) -> Traces:
    from calcium_helpers.models.spike_inference import infer_spikes  # torch takes seconds to load

    with catch_warnings(action="ignore", category=UserWarning):  # the summary says them, of a resumed run too
        return infer_spikes(dff)


def find_events(activity: Activity, config: PipelineConfig) -> Events:
    """Find the transients of all components."""
    decay_s, rise_s = activity.kinetics_s.tolist()
    return detect_events(
        activity.dff, decay_s=decay_s, rise_s=rise_s, false_positives_per_min=config.false_positives_per_min,
        noise=activity.noise_before,
    )  # fmt: skip


def _extract_dff(movie: Movie, footprints: Footprints, config: PipelineConfig, progress: bool) -> tuple[Traces, ...]:
    """Raw traces, neuropil and dF/F."""
    raw, neuropil = (
        traces.replace(values=traces.values - config.offset)
        for traces in extract_with_neuropil(movie, footprints, progress=progress)
    )
    return raw, neuropil, state_change(raw, neuropil, footprints, config)


def state_change(raw: Traces, neuropil: Traces, footprints: Footprints, config: PipelineConfig) -> Traces:
    """Return dF/F of what is left without the neuropil."""
    signal = subtract_neuropil(raw, neuropil, coefficient=config.neuropil)
    return estimate_dff(
        signal, baseline=config.baseline, window_s=config.baseline_window_s, polarity=config.polarity,
        footprints=footprints if config.unmix else None, relative_to=raw if config.f0 == "all" else None,
    )  # fmt: skip


def _save_shifts(path: Path, shifts: Shifts, note: str) -> None:
    arrays = {name: np.asarray(value) for name, value in vars(shifts).items() if value is not None}
    save_arrays(path, note=np.array(note), **arrays)


def _load_shifts(path: Path) -> tuple[Shifts, str]:
    stored = load_arrays(path)
    note = str(stored.pop("note"))
    y0, y1, x0, x1 = (int(n) for n in stored.pop("valid"))
    bidiphase_px = float(stored.pop("bidiphase_px"))
    return Shifts(valid=(y0, y1, x0, x1), bidiphase_px=bidiphase_px, **stored), note


def _save_detection(path: Path, detection: Detection) -> None:
    weights = detection.footprints.weights
    save_arrays(
        path, data=weights.data, indices=weights.indices, indptr=weights.indptr, shape=np.array(detection.footprints.shape),
        ids=detection.footprints.ids, traces=detection.traces.values,
        **_columns("scores", detection.scores), **_columns("funnel", detection.funnel),
        extras=np.array(json.dumps({k: v for k, v in detection.extras.items() if isinstance(v, (int, float, str))})),
    )  # fmt: skip


def _load_detection(path: Path, fs: float) -> Detection:
    stored = load_arrays(path)
    height, width = (int(n) for n in stored["shape"])
    parts = (stored["data"], stored["indices"], stored["indptr"])
    weights = sparse.csr_matrix(parts, shape=(len(stored["ids"]), height * width))
    footprints = Footprints(weights, (height, width), stored["ids"])
    scores, funnel = (_table(name, stored) for name in ("scores", "funnel"))
    traces = Traces(stored["traces"], fs, "raw", stored["ids"])
    return Detection(footprints, traces, None, scores.rename_axis("id"), funnel, json.loads(str(stored["extras"])))


def _columns(prefix: str, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Take a table apart into arrays that need no pickle: text of fixed length instead of objects."""
    columns = {f"{prefix}.{name}": table[name].to_numpy() for name in table}
    return {name: values.astype(str) if values.dtype == object else values for name, values in columns.items()}


def _table(prefix: str, stored: dict[str, np.ndarray]) -> pd.DataFrame:
    """Put together what ``_columns`` took apart."""
    names = [name for name in stored if name.startswith(f"{prefix}.")]
    return pd.DataFrame({name.removeprefix(f"{prefix}."): stored[name] for name in names})
