"""The numbers that a report states."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import median_filter

from calcium_helpers import metrics
from calcium_helpers.cell_summary import summarise_cells, warn_of_cells
from calcium_helpers.containers import Movie, Shifts
from calcium_helpers.motion import MotionQuality
from calcium_helpers.movie import find_gaps
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.detectors import DETECTORS
from calcium_helpers.pipeline.steps import Activity
from calcium_helpers.results import Detection, Simulation

PACKAGES = ("calcium-helpers", "numpy", "scipy", "numba", "torch", "pandas", "h5py", "tifffile")
SPIKE_BIN_S = 0.1
SPIKES_FROM = {"oasis": "deconvolution", "net": "a network trained on electrophysiology, as rates in Hz"}
MATCH_WINDOW_S, POOR_MATCH = 2.0, 0.75


def summarise_run(
    movie: Movie, config: PipelineConfig, shifts: Shifts | None, quality: MotionQuality | None, detection: Detection,
    activity: Activity, cells: pd.DataFrame, warnings: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Collect the numbers of a run; those of traces are over accepted cells."""
    accepted = cells["accepted"].to_numpy(dtype=bool)
    n_frames, height, width = movie.shape
    if movie.times_s is not None and len((gaps := find_gaps(movie.times_s)).frames):
        warnings.append(f"{gaps}: rates are counted as if there were none")
    if shifts is not None and (spans := find_poor_match(shifts, movie.fs)):
        times = ", ".join(f"{start:.1f}–{stop:.1f} s" for start, stop in spans[:3]) + (", ..." if len(spans) > 3 else "")
        warnings.append(
            f"frames match the template far worse than usual for long ({times}): motion in depth, a change of focus or of "
            "light? What cells seem to do there may not be activity"
        )
    warnings.extend(warn_of_cells(accepted, activity.dff))
    if config.spikes == "net":
        from calcium_helpers.models.spike_inference import find_strange  # torch takes seconds to load

        warnings.extend(find_strange(activity.dff.select(accepted)))
    return {
        "source": movie.history[0].removeprefix("loaded ").split(" (")[0] if movie.history else "array",
        "fs_hz": float(movie.fs), "n_frames": n_frames, "duration_s": movie.duration_s, "height_px": height,
        "width_px": width, "pixel_um": movie.pixel_um, "modality": config.modality,
        "detector": config.detector, "method": DETECTORS[config.detector].method if config.detector in DETECTORS else None,
        "diameter_px": detection.extras.get("diameter_px"), "motion": _motion(shifts, quality),
        **summarise_cells(cells, activity.dff, activity.spikes, in_hz=config.spikes == "net"),
        "spikes_from": SPIKES_FROM[config.spikes],
        "decay_s": float(activity.kinetics_s[0]), "rise_s": float(activity.kinetics_s[1]),
        "warnings": warnings, "versions": list_versions(),
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


def list_versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the numbers."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
