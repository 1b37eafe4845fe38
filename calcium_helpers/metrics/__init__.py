"""How well a result agrees with a truth: matched cells and events, correlations, registration error, image quality."""

from calcium_helpers.metrics.activity import TraceScore, spike_correlation, trace_correlation
from calcium_helpers.metrics.images import field_rms, psnr, rigid_rms
from calcium_helpers.metrics.matching import Matching, match_footprints, match_points
from calcium_helpers.metrics.volumes import (
    PrecisionRecall,
    average_precision,
    by_kind,
    detection_curve,
    dice,
    match_events,
    match_volumes,
    precision_recall,
)

__all__ = [
    "Matching",
    "PrecisionRecall",
    "TraceScore",
    "average_precision",
    "by_kind",
    "detection_curve",
    "dice",
    "field_rms",
    "match_events",
    "match_footprints",
    "match_points",
    "match_volumes",
    "precision_recall",
    "psnr",
    "rigid_rms",
    "spike_correlation",
    "trace_correlation",
]
