"""The numbers that a report states."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

from calcium_helpers import metrics
from calcium_helpers.containers import Movie, Shifts, Traces
from calcium_helpers.motion import MotionQuality
from calcium_helpers.movie import find_gaps
from calcium_helpers.noise import estimate_noise
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.detectors import DETECTORS
from calcium_helpers.pipeline.steps import Activity
from calcium_helpers.results import Detection, Simulation

PACKAGES = ("calcium-helpers", "numpy", "scipy", "numba", "torch", "pandas", "h5py", "tifffile")
SPIKE_BIN_S = 0.1
SPIKES_FROM = {"oasis": "deconvolution", "net": "a network trained on electrophysiology, as rates in Hz"}
MATCH_WINDOW_S, POOR_MATCH = 2.0, 0.75
DIP_WINDOW_S, DIP_NOISES = 0.5, 5.0


def summarise_run(
    movie: Movie, config: PipelineConfig, shifts: Shifts | None, quality: MotionQuality | None, detection: Detection,
    activity: Activity, warnings: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Collect the numbers of a run; those of traces are over accepted cells."""
    accepted = detection.scores["accepted"].to_numpy(dtype=bool)
    n_accepted = int(accepted.sum())
    n_frames, height, width = movie.shape
    if not n_accepted:
        warnings.append("no cell was accepted: the funnel says what was found and why it was left out")
    if movie.times_s is not None and len((gaps := find_gaps(movie.times_s)).frames):
        warnings.append(f"{gaps}: rates are counted as if there were none")
    if shifts is not None and (spans := find_poor_match(shifts, movie.fs)):
        times = ", ".join(f"{start:.1f}–{stop:.1f} s" for start, stop in spans[:3]) + (", ..." if len(spans) > 3 else "")
        warnings.append(
            f"frames match the template far worse than usual for long ({times}): motion in depth, a change of focus or of "
            "light? What cells seem to do there may not be activity"
        )
    if len(dipping := find_dipping(activity.dff.select(accepted))):
        ids = ", ".join(map(str, dipping[:10])) + (", ..." if len(dipping) > 10 else "")
        warnings.append(
            f"dF/F of {len(dipping)} accepted cells falls further below its median than it rises above (ids {ids}): too much "
            "neuropil taken out, motion, or an indicator that dims?"
        )
    if config.spikes == "net":
        from calcium_helpers.models.spike_inference import find_strange  # torch takes seconds to load

        warnings.extend(find_strange(activity.dff.select(accepted)))
    noise = _median(estimate_noise(activity.dff.select(accepted)))
    denoising = _denoising(activity, accepted)
    if denoising is not None:  # what is left is not white, and that estimate would be far too low
        noise = denoising["median_noise_before"] * max(1 - denoising["share_removed"], 0) ** 0.5
    spikes = activity.spikes.select(accepted).values
    per_frame = spikes > 0 if config.spikes == "oasis" else spikes / movie.fs
    return {
        "source": movie.history[0].removeprefix("loaded ").split(" (")[0] if movie.history else "array",
        "fs_hz": float(movie.fs), "n_frames": n_frames, "duration_s": movie.duration_s, "height_px": height,
        "width_px": width, "pixel_um": movie.pixel_um, "modality": config.modality,
        "detector": config.detector, "method": DETECTORS[config.detector].method if config.detector in DETECTORS else None,
        "diameter_px": detection.extras.get("diameter_px"), "n_components": len(accepted), "n_accepted": n_accepted,
        "n_rejected": len(accepted) - n_accepted, "motion": _motion(shifts, quality),
        "median_snr": _median(detection.scores["snr"][accepted]), "median_noise": noise,
        "median_confidence": _median(detection.scores["confidence"][accepted]) if "confidence" in detection.scores else None,
        "denoising": denoising,
        "mean_rate": float(per_frame.sum(axis=1).mean() / movie.duration_s * 60) if n_accepted else None,
        "spikes_from": SPIKES_FROM[config.spikes],
        "decay_s": float(activity.kinetics_s[0]), "rise_s": float(activity.kinetics_s[1]),
        "warnings": warnings, "versions": _versions(),
    }  # fmt: skip


def score_against_truth(truth: Simulation, shifts: Shifts | None, detection: Detection, activity: Activity) -> dict[str, Any]:
    """Compare what was found with what is true of a simulated movie.

    Parameters
    ----------
    truth : Simulation
        The movie's own truth.
    shifts : Shifts or None
        As estimated.
    detection : Detection
        Only accepted components count.
    activity : Activity
        Traces and spikes of the components.

    Returns
    -------
    dict
        Cells matched at IoU 0.5; correlation of dF/F and, in bins of 0.1 s and without lag, of spikes; motion in px.
    """
    rows = detection.scores["accepted"].to_numpy(dtype=bool)
    matching = metrics.match_footprints(detection.footprints.select(rows), truth.footprints)
    traces, denoised = (
        metrics.trace_correlation(kind.select(rows), truth.calcium, matching) for kind in (activity.dff, activity.denoised)
    )
    spikes = metrics.spike_correlation(activity.spikes.select(rows), truth.spikes, matching, bin_s=SPIKE_BIN_S)
    scores: dict[str, Any] = {
        "n_truth": len(truth.footprints), "f1": matching.f1, "precision": matching.precision, "recall": matching.recall,
        "trace_correlation_all": traces.all, "trace_correlation_matched": traces.matched,
        "denoised_correlation_all": denoised.all, "denoised_correlation_matched": denoised.matched,
        "spike_correlation": spikes.matched,
    }  # fmt: skip
    if shifts is not None:
        scores["rigid_rms_px"] = metrics.rigid_rms(shifts, truth.shifts)
        scores["field_rms_px"] = metrics.field_rms(shifts, truth.shifts)
    return {name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in scores.items()}


def find_poor_match(shifts: Shifts, fs: float) -> list[tuple[float, float]]:
    """Return the stretches of 2 s or more, (start, stop) in s, that match the template worse than 3/4 of the median match."""
    if shifts.correlation is None:
        return []
    n = max(3, round(MATCH_WINDOW_S * fs) | 1)
    running = median_filter(np.asarray(shifts.correlation, dtype=float), n, mode="nearest")
    poor = running < POOR_MATCH * np.median(shifts.correlation)
    starts, stops = np.flatnonzero(np.diff(poor.astype(int), prepend=0, append=0)).reshape(-1, 2).T
    return [(float(start / fs), float(stop / fs)) for start, stop in zip(starts, stops, strict=True) if stop - start >= n - 1]


def find_dipping(dff: Traces) -> np.ndarray:
    """Return the ids of traces that, over half a second, fall further below their median than they rise above, beyond noise."""
    if not dff.values.size:
        return dff.ids[:0]
    smooth = uniform_filter1d(dff.values.astype(np.float64), max(1, round(DIP_WINDOW_S * dff.fs)), axis=1)
    smooth -= np.median(smooth, axis=1, keepdims=True)
    noise = 1.4826 * np.median(np.abs(smooth), axis=1)
    dip = -smooth.min(axis=1)
    return dff.ids[(dip > smooth.max(axis=1)) & (dip > DIP_NOISES * noise)]


def _motion(shifts: Shifts | None, quality: MotionQuality | None) -> dict[str, Any] | None:
    """Numbers on motion, None where it was not corrected."""
    if shifts is None or quality is None:
        return None
    length = np.hypot(*shifts.rigid_yx.T)
    return {
        "mode": "piecewise" if shifts.is_piecewise else "rigid",
        "max_shift_px": float(length.max()), "rms_shift_px": float(np.sqrt((length**2).mean())),
        "n_bad_frames": len(shifts.bad_frames), "bidiphase_px": shifts.bidiphase_px,
        "template_correlation_before": quality.correlation_before, "template_correlation_after": quality.correlation_after,
        "crispness_before": quality.crispness_before, "crispness_after": quality.crispness_after,
        "residual_px": quality.residual_px,
    }  # fmt: skip


def _denoising(activity: Activity, accepted: np.ndarray) -> dict[str, Any] | None:
    """Median noise of accepted cells' dF/F without denoising, the share of its variance taken out, and how much lower it is."""
    if activity.noise_before is None or activity.share_removed is None or not accepted.any():
        return None
    before, share = (float(np.nanmedian(values[accepted])) for values in (activity.noise_before, activity.share_removed))
    return {"median_noise_before": before, "share_removed": share, "gain": (1 - share) ** -0.5 if share < 1 else None}


def _median(values: Any) -> float | None:
    """Median, None of nothing."""
    return float(np.median(values)) if len(values) else None


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the numbers."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
