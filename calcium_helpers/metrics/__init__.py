"""How well a result agrees with a truth: matched cells, correlations, registration error, image quality."""

from calcium_helpers.metrics.activity import TraceScore, spike_correlation, trace_correlation
from calcium_helpers.metrics.images import field_rms, psnr, rigid_rms
from calcium_helpers.metrics.matching import Matching, match_footprints, match_points

__all__ = [
    "Matching",
    "TraceScore",
    "field_rms",
    "match_footprints",
    "match_points",
    "psnr",
    "rigid_rms",
    "spike_correlation",
    "trace_correlation",
]
