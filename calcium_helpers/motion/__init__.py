"""Motion correction: rigid, then piecewise-rigid, by phase correlation with sub-pixel peaks."""

from calcium_helpers.motion.config import ONE_PHOTON, TWO_PHOTON, MotionConfig
from calcium_helpers.motion.quality import MotionQuality, estimate_quality
from calcium_helpers.motion.register import SMALLEST_SIDE_PX, Registration, apply_shifts, estimate_shifts, register
from calcium_helpers.motion.template import estimate_bidiphase, estimate_template, sample_frames

__all__ = [
    "ONE_PHOTON",
    "SMALLEST_SIDE_PX",
    "TWO_PHOTON",
    "MotionConfig",
    "MotionQuality",
    "Registration",
    "apply_shifts",
    "estimate_bidiphase",
    "estimate_quality",
    "estimate_shifts",
    "estimate_template",
    "register",
    "sample_frames",
]
