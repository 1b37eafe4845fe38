"""Which numbers the report states, under which name and unit, and how they are written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Fact(NamedTuple):
    """One number (or word) of the summary as the report shows it; ``key`` is its dotted path in summary.json."""

    key: str
    label: str
    text: str
    unit: str = ""


# (key, label, unit) in the order shown. A key that the summary lacks, or holds as None, is left out.
HEADLINE = (
    ("n_accepted", "cells accepted", ""),
    ("duration_s", "recorded", "s"),
    ("median_snr", "median SNR", ""),
    ("statistics.events_per_min", "calcium events per cell", "per min"),
    ("motion.rms_shift_px", "RMS motion", "px"),
    ("truth.f1", "F1 against truth", ""),
)
RECORDING = (
    ("source", "File", ""),
    ("modality", "Modality", ""),
    ("fs_hz", "Frame rate", "Hz"),
    ("n_frames", "Frames", ""),
    ("duration_s", "Duration", "s"),
    ("height_px", "Height", "px"),
    ("width_px", "Width", "px"),
    ("pixel_um", "Pixel size", "µm"),
)
CELLS = (
    ("detector", "Detector", ""),
    ("n_components", "Components found", ""),
    ("n_accepted", "Accepted as cells", ""),
    ("n_rejected", "Rejected", ""),
    ("diameter_px", "Cell diameter used", "px"),
    ("median_snr", "Median SNR of accepted cells", ""),
    ("median_confidence", "Median confidence of accepted cells", ""),
    ("median_noise", "Median noise level", "ΔF/F"),
    ("denoising.median_noise_before", "Median noise level without denoising", "ΔF/F"),
    ("denoising.share_removed", "Share of the noise's variance that denoising removed", ""),
    ("denoising.gain", "Denoising lowers the noise", "times"),
    ("decay_s", "Decay of calcium used for spikes", "s"),
    ("rise_s", "Rise of calcium used for spikes", "s"),
    ("seconds_total", "Time the run took", "s"),
)
# Spikes and events are two things, and their rates must not be taken for each other.
EVENTS = (
    ("statistics.n_events", "Calcium events (transients) of accepted cells", ""),
    ("statistics.events_per_min", "Calcium events, mean of accepted cells", "per min"),
    ("parameters.false_positives_per_min", "False events allowed in noise alone, each cell", "per min"),
    ("statistics.median_amplitude", "Median amplitude of events", "ΔF/F"),
    ("statistics.median_rise_s", "Median rise of events", "s"),
    ("statistics.median_half_decay_s", "Median half-decay of events", "s"),
    ("statistics.n_event_clusters", "Kinds (clusters) of events", ""),
    ("mean_rate", "Inferred spikes (deconvolution: frames with any), not calcium events, mean of accepted cells", "per min"),
    ("spikes_from", "Spikes were inferred by", ""),
)
CLUSTERS = (("statistics.n_cell_clusters", "Clusters of cells", ""),)
FREQUENCY = (("statistics.n_rhythmic", "Cells with a rhythm beyond chance", ""),)
CORRELATION = (
    ("statistics.n_pairs", "Pairs of cells", ""),
    ("statistics.n_correlated_pairs", "Pairs correlated beyond chance", ""),
    ("statistics.n_lagged_pairs", "The same at their best lag", ""),
    ("statistics.n_coincident_pairs", "Pairs whose events coincide beyond chance (tiling)", ""),
    ("statistics.mean_correlation", "Mean correlation of all pairs", ""),
)
SYNCHRONY = (("statistics.n_synchronous", "Synchronous events", ""),)
RESPONSES = (("statistics.n_responsive", "Cells that respond beyond chance", ""),)
MOTION = (
    ("motion.mode", "Kind of correction", ""),
    ("motion.estimated_on", "Estimated on", ""),
    ("motion.max_shift_px", "Largest shift", "px"),
    ("motion.rms_shift_px", "RMS shift", "px"),
    ("motion.residual_px", "Shift left after correction", "px"),
    ("motion.n_bad_frames", "Frames that could not be aligned", ""),
    ("motion.bidiphase_px", "Offset between scan directions", "px"),
    ("motion.template_correlation_before", "Match with the template, before", ""),
    ("motion.template_correlation_after", "Match with the template, after", ""),
    ("motion.crispness_before", "Crispness of the mean image, before", ""),
    ("motion.crispness_after", "Crispness of the mean image, after", ""),
)
TRUTH = (
    ("truth.f1", "F1 of the cells", ""),
    ("truth.precision", "Precision", ""),
    ("truth.recall", "Recall", ""),
    ("truth.n_truth", "True cells", ""),
    ("truth.trace_correlation_all", "Trace correlation, missed cells as zero", ""),
    ("truth.trace_correlation_matched", "Trace correlation, matched cells", ""),
    ("truth.denoised_correlation_matched", "The same, denoised traces", ""),
    ("truth.spike_correlation", "Spike correlation, matched cells", ""),
    ("truth.rigid_rms_px", "Motion error, rigid part (RMS)", "px"),
    ("truth.field_rms_px", "Motion error over the field (RMS)", "px"),
)
GROUPS = {
    "headline": HEADLINE, "recording": RECORDING, "cells": CELLS, "motion": MOTION, "truth": TRUTH, "events": EVENTS,
    "clusters": CLUSTERS, "frequency": FREQUENCY, "correlation": CORRELATION, "synchrony": SYNCHRONY, "responses": RESPONSES,
}  # fmt: skip
CELL_LABELS = {
    "y_px": "y (px)", "x_px": "x (px)", "area_px": "area (px)", "snr": "SNR", "confidence": "confidence", "reason": "reason",
}  # fmt: skip
# Measures of the tidy table of cells that the page's table of cells shows.
MEASURES = {
    "rate": "events (1/min)", "interval": "interval (s)", "amplitude": "amplitude (ΔF/F)", "rise": "rise (s)",
    "half_decay": "half-decay (s)",
}  # fmt: skip


def facts(summary: Mapping[str, Any], rows: tuple[tuple[str, str, str], ...]) -> list[Fact]:
    """Return those of ``rows`` that the summary holds, written out."""
    found = ((key, label, _at(summary, key), unit) for key, label, unit in rows)
    return [Fact(key, label, format_value(value), unit) for key, label, value, unit in found if value is not None]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, written value) for each leaf of nested parameters."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", format_value(value)


def format_value(value: Any) -> str:
    """Write a value for people.

    Examples
    --------
    >>> [format_value(v) for v in (0.012345, 12.5, 1500, 2345.6, True, None, "cnmf")]
    ['0.0123', '12.5', '1500', '2346', 'yes', 'not set', 'cnmf']
    """
    if value is None:
        return "not set"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        number = float(value)
        return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    return str(value)


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
