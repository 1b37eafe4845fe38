"""How well motion was corrected, without truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calcium_helpers.containers import Movie, Shifts
from calcium_helpers.motion.align import Aligner, Reference
from calcium_helpers.motion.config import MotionConfig
from calcium_helpers.motion.template import sample_frames
from calcium_helpers.motion.threads import align_frames


class MotionQuality(NamedTuple):
    """Measures before and after correction, from up to 200 frames.

    ``correlation`` is the mean correlation of frames with the template, ``crispness`` the norm of the gradient of the mean
    image (higher is sharper), ``residual_px`` the rms rigid shift that is found again in the corrected frames.
    """

    correlation_before: float
    correlation_after: float
    crispness_before: float
    crispness_after: float
    residual_px: float


def estimate_quality(movie: Movie, corrected: Movie, shifts: Shifts, *, config: MotionConfig) -> MotionQuality:
    """Compare a movie with its corrected version inside the valid rectangle.

    Parameters
    ----------
    movie, corrected : Movie
        Before and after, of one shape.
    shifts : Shifts
        What corrected it.
    config : MotionConfig
        How it was corrected.

    Returns
    -------
    MotionQuality
    """
    before, after = (sample_frames(m, 200).astype(np.float32) for m in (movie, corrected))
    y0, y1, x0, x1 = shifts.valid
    inside = np.s_[:, y0:y1, x0:x1]
    template = shifts.template[y0:y1, x0:x1]
    rigid = MotionConfig(**{**vars(config), "piecewise": False})
    reference = Reference(shifts.template, rigid)
    residual, _ = align_frames(lambda: Aligner(reference), after)
    return MotionQuality(
        correlation_before=_mean_correlation(before[inside], template),
        correlation_after=_mean_correlation(after[inside], template),
        crispness_before=_crispness(before[inside].mean(axis=0)),
        crispness_after=_crispness(after[inside].mean(axis=0)),
        residual_px=float(np.sqrt((residual**2).sum(axis=-1).mean())),
    )


def _mean_correlation(frames: np.ndarray, template: np.ndarray) -> float:
    """Mean Pearson correlation of frames with a template; 0 where either is constant."""
    flat = frames.reshape(len(frames), -1) - frames.mean(axis=(1, 2))[:, None]
    target = (template - template.mean()).reshape(-1)
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(target)
    return float(np.mean(np.divide(flat @ target, norms, out=np.zeros(len(flat), np.float32), where=norms > 0)))


def _crispness(image: np.ndarray) -> float:
    """Norm of the gradient of an image."""
    if min(image.shape) < 2:
        return 0.0
    return float(np.linalg.norm(np.hypot(*np.gradient(image))))
