"""Time courses with noise: details that noise could have made are taken out, edges and peaks stay.

An undecimated wavelet transform (translation invariant, Coifman and Donoho 1995, doi:10.1007/978-1-4612-2544-7_9) with the
biorthogonal spline wavelet 1.3 (Cohen, Daubechies and Feauveau 1992, doi:10.1002/cpa.3160450502): a detail is a difference of
neighbours, which the steep rise of a transient fills, and is put back as a smooth ripple, which its slow decay needs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import fft
from scipy.ndimage import maximum_filter1d

TAIL_DRAWS = 100  # details of noise above the threshold that is estimated from them


class _Transform(NamedTuple):
    """Transfer functions (F,) to and from the details of each scale, and through what remains; what noise makes of them.

    ``thresholds`` (n_scales,) and ``median`` (of the finest details) are for white noise of unit variance.
    """

    analyses: list[np.ndarray]
    syntheses: list[np.ndarray]
    coarse: np.ndarray
    thresholds: list[float]
    median: float


def smooth_courses(courses: np.ndarray, *, n_scales: int, false_details: float) -> np.ndarray:
    """Keep of each course what stands out of its own noise.

    A detail is kept whole, never shrunk, where it or a neighbour within its own width is larger than noise would make it, so
    that peaks keep their height; means over ``2**n_scales`` frames always stay.

    Parameters
    ----------
    courses : ndarray, shape (R, T), float32
        Signal and white noise of any level, which is measured on the finest details.
    n_scales : int
        Scales of details, the coarsest over ``2**n_scales`` frames; 0 changes nothing.
    false_details : float
        Chance that a detail is kept where there is noise alone; 1 changes nothing.

    Returns
    -------
    ndarray, shape (R, T), float32
    """
    n_frames = courses.shape[1]
    pad = min(4 * 2**n_scales, n_frames - 1)
    if not courses.size or n_scales == 0 or false_details >= 1 or pad < 1:
        return courses
    length = fft.next_fast_len(n_frames + 2 * pad, real=True)
    transform = _make_transform(length, n_scales, false_details)
    spectrum = fft.rfft(np.pad(courses, ((0, 0), (pad, length - n_frames - pad)), mode="reflect"), axis=1)
    kept = spectrum * transform.coarse
    level = np.zeros((len(courses), 1), dtype=np.float32)
    for scale, (analysis, synthesis) in enumerate(zip(transform.analyses, transform.syntheses, strict=True)):
        details = fft.irfft(spectrum * analysis, length, axis=1)
        if scale == 0:
            level = np.median(np.abs(details[:, pad : pad + n_frames]), axis=1, keepdims=True) / transform.median
        details[_largest_near(details, scale) <= transform.thresholds[scale] * level] = 0
        kept += fft.rfft(details, axis=1) * synthesis
    return fft.irfft(kept, length, axis=1)[:, pad : pad + n_frames].astype(np.float32, copy=False)


def _largest_near(details: np.ndarray, scale: int) -> np.ndarray:
    """Largest size of a detail within the width of one."""
    return maximum_filter1d(np.abs(details), 2 * 2**scale + 1, axis=1)


@lru_cache(maxsize=8)
def _make_transform(length: int, n_scales: int, false_details: float) -> _Transform:
    """Build the transform of courses of ``length`` frames and run noise through it."""
    frequency = 2 * np.pi * fft.rfftfreq(length)
    smooth, back = np.ones_like(frequency, dtype=complex), np.ones_like(frequency, dtype=complex)
    analyses, syntheses = [], []
    for scale in range(n_scales):
        step = np.exp(1j * frequency * 2**scale)
        low = (8 + step.conj() - step.conj() ** 2 + 8 * step + step**2 - step**3) / 16
        low_back = (1 + step.conj()) / 2
        high = (1 - step) / 2
        rest = 1 - low * low_back  # what the way to the coarser scale and back leaves for the details
        high_back = np.divide(rest, high, out=np.zeros_like(rest), where=np.abs(high) > 1e-9)
        analyses.append((smooth * high).astype(np.complex64))
        syntheses.append((back * high_back).astype(np.complex64))
        smooth, back = smooth * low, back * low_back
    n_courses = int(np.ceil(TAIL_DRAWS / false_details / length))
    noise = np.random.default_rng(0).standard_normal((n_courses, length), dtype=np.float32)
    details = [fft.irfft(fft.rfft(noise, axis=1) * analysis, length, axis=1) for analysis in analyses]
    thresholds = [float(np.quantile(_largest_near(part, scale), 1 - false_details)) for scale, part in enumerate(details)]
    median = float(np.median(np.abs(details[0])))
    return _Transform(analyses, syntheses, (smooth * back).astype(np.complex64), thresholds, median)
