"""Rise and decay from the traces themselves: those that need the fewest spikes."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from calcium_helpers.deconvolve.kinetics import factor_of
from calcium_helpers.deconvolve.single import fit_trace

DECAYS_S = np.geomspace(0.1, 3.0, 14)
RISES_S = (0.01, 0.02, 0.04, 0.07, 0.1)
USUAL_DECAY_S, USUAL_RISE_S = 0.6, 0.04  # in between those of GCaMP6f and GCaMP6s
CLOSEST = 0.7  # rises of more than this share of the decay are not tried
CLOSEST_ROOTS = 0.98  # rise and decay closer than this are numerically one
MOST_TRACES, MOST_FRAMES = 16, 5000  # the strongest traces, and the first frames of each, say enough
FEWEST_SPIKES = 30
REACHED = 1.02  # a residual of so many noise sds counts as explained
AS_FEW = 1.04  # a slower rise must save more than this, for it always saves a little


class Kinetics(NamedTuple):
    """Time constants of calcium after a spike, seconds; a rise of 0 is none."""

    decay_s: float
    rise_s: float

    def roots(self, fs: float) -> np.ndarray:
        """Decay and, where there is one, rise a frame."""
        decay = factor_of(self.decay_s, fs)
        return np.array([decay, min(factor_of(self.rise_s, fs), CLOSEST_ROOTS * decay)] if self.rise_s else [decay])


def find_kinetics(
    values: np.ndarray, noise: np.ndarray, fs: float, *, decay_s: float | None, rise_s: float | None, pool: Executor
) -> Kinetics:
    """Find the kinetics with which the fewest spikes explain the traces down to their noise.

    With a decay that is too short, spikes must hold the calcium up; with one that is too long, no spikes bring it down in time
    and noise is fitted or left over. In between the count has a minimum. All traces are taken to share one indicator.

    Parameters
    ----------
    values : ndarray, shape (N, T)
        Traces, finite.
    noise : ndarray, shape (N,)
        Noise sd of each.
    fs : float
        Frames a second, Hz.
    decay_s, rise_s : float or None
        Seconds, where known; a rise of 0 for a model without one.
    pool : Executor
        Where traces are fitted.

    Returns
    -------
    Kinetics
        The usual ones of GCaMP6 where there are too few spikes to tell.
    """
    if decay_s is not None and rise_s is not None:
        return Kinetics(decay_s, rise_s)
    usual = min(USUAL_RISE_S, CLOSEST * (decay_s or USUAL_DECAY_S)) if rise_s is None else rise_s
    rows = _strongest(values, noise)
    traces = values[rows, :MOST_FRAMES]

    def count(kinetics: Kinetics) -> float:
        """Spikes in all traces, infinite where the noise is not reached."""
        roots = kinetics.roots(fs)
        fits = list(pool.map(lambda pair: fit_trace(pair[0], roots, pair[1], -1.0), zip(traces, noise[rows], strict=True)))
        left = [np.std(y - fit.denoised) / sd for y, fit, sd in zip(traces, fits, noise[rows], strict=True)]
        return float(sum(int(np.count_nonzero(fit.spikes)) for fit in fits)) if np.median(left) <= REACHED else np.inf

    decays = [d for d in DECAYS_S.tolist() if d > max(usual / CLOSEST, 1 / fs)] if decay_s is None else [decay_s]
    counts = [count(Kinetics(decay, usual)) for decay in decays] if len(rows) else [0.0]
    if not max((c for c in counts if np.isfinite(c)), default=0) >= FEWEST_SPIKES:
        return Kinetics(decay_s or max(USUAL_DECAY_S, usual / CLOSEST), usual)
    at = int(np.argmin(counts))
    if rise_s is not None:
        return Kinetics(decays[at], rise_s)
    near = decays[max(at - 2, 0) : at + 3]
    rises = [r for r in RISES_S if r < CLOSEST * near[-1]] or [usual]
    tried = {Kinetics(d, r): count(Kinetics(d, r)) for r in rises for d in near if r <= CLOSEST * d}
    fewest = min(tried.values())
    rise = next(kinetics.rise_s for kinetics, n in tried.items() if n <= AS_FEW * fewest)
    return min((kinetics for kinetics in tried if kinetics.rise_s == rise), key=lambda kinetics: tried[kinetics])


def _strongest(values: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Rows with the largest variance over their noise's; none where there is no noise to compare with."""
    if not values.shape[1]:
        return np.zeros(0, dtype=int)
    strength = np.divide(values[:, :MOST_FRAMES].var(axis=1), noise**2, out=np.zeros(len(values)), where=noise > 0)
    order = np.argsort(-strength, kind="stable")[:MOST_TRACES]
    return order[noise[order] > 0]
