"""One trace: spikes, fitted calcium and baseline, given its kinetics and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calcium_helpers.deconvolve.ar1 import fit_ar1
from calcium_helpers.deconvolve.ar2 import fit_ar2
from calcium_helpers.deconvolve.kinetics import own_part, peak_of


class Fit(NamedTuple):
    """Spikes and denoised trace, both (T,), the baseline and the penalty used."""

    spikes: np.ndarray
    denoised: np.ndarray
    baseline: float
    penalty: float


def fit_trace(y: np.ndarray, roots: np.ndarray, noise: float, penalty: float) -> Fit:
    """Deconvolve the trace ``y`` (T,) with the decay and, for AR(2), rise a frame in ``roots``; a penalty below 0 is sought."""
    y = y.astype(np.float64)
    calcium, spikes = np.empty_like(y), np.empty_like(y)
    if len(roots) == 1:
        baseline, used = fit_ar1(y, roots[0], noise, penalty, calcium, spikes)
    else:
        kinetics = np.array([*roots, own_part(*roots)])
        baseline, used = fit_ar2(y, kinetics, noise, penalty, calcium, spikes)
        spikes[0] = 0.0
        spikes *= peak_of(*roots)
    return Fit(spikes, calcium + baseline, baseline, used)
