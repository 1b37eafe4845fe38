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
    y0, y1, x0, x1 = shifts.valid
    inside = np.s_[:, y0:y1, x0:x1]
    template = shifts.template[y0:y1, x0:x1]
    rigid = MotionConfig(**{**vars(config), "piecewise": False})
    reference = Reference(shifts.template, rigid)
    before, after = (sample_frames(m, 200) for m in (movie, corrected))
    residual, _ = align_frames(lambda: Aligner(reference), after)
    before, after = before[inside], after[inside]
    return MotionQuality(
        correlation_before=_mean_correlation(before, template),
        correlation_after=_mean_correlation(after, template),
        crispness_before=_crispness(before.mean(axis=0, dtype=np.float64)),
        crispness_after=_crispness(after.mean(axis=0, dtype=np.float64)),
        residual_px=float(np.sqrt((residual**2).sum(axis=-1).mean())),
    )


def _mean_correlation(frames: np.ndarray, template: np.ndarray) -> float:
    """Mean Pearson correlation of frames with a template; 0 where either is constant."""
    target = (template - template.mean()).reshape(-1)
    correlations = []
    for frame in frames:  # one at a time: copies of all would be large
        flat = frame.reshape(-1) - frame.mean(dtype=np.float64)
        norm = np.linalg.norm(flat) * np.linalg.norm(target)
        correlations.append(flat @ target / norm if norm > 0 else 0.0)
    return float(np.mean(correlations))


def _crispness(image: np.ndarray) -> float:
    """Norm of the gradient of an image."""
    if min(image.shape) < 2:
        return 0.0
    return float(np.linalg.norm(np.hypot(*np.gradient(image))))
