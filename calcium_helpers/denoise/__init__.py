"""Noise out of a movie: block-wise low rank, with thresholds calibrated on noise."""

from calcium_helpers.denoise.config import DenoiseConfig
from calcium_helpers.denoise.quality import estimate_share_removed
from calcium_helpers.denoise.stream import Denoising, denoise

__all__ = ["DenoiseConfig", "Denoising", "denoise", "estimate_share_removed"]
