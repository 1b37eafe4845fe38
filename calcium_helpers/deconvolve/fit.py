"""Deconvolve all traces: check, choose the kinetics, fit each row on its own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np

from calcium_helpers.containers import Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.deconvolve.ar1 import fit_ar1
from calcium_helpers.deconvolve.ar2 import fit_ar2
from calcium_helpers.deconvolve.kinetics import estimate_decay, factor_of, own_part, peak_of
from calcium_helpers.indicators import get_indicator
from calcium_helpers.noise import check_finite, estimate_noise

Method = Literal["ar1", "ar2"]
# Rise and decay closer than this are numerically one.
_CLOSEST_ROOTS = 0.98
_USUAL_RISE_S = 0.04


class Deconvolution(NamedTuple):
    """Spikes of each trace, and what they were found with.

    ``spikes`` (N, T) are in dF/F a frame: the height of the transient that the spikes of a frame set off. ``denoised`` (N, T)
    is the fitted trace, baseline included. ``g`` (N, 1 or 2) are the autoregressive coefficients a frame; ``baseline`` and
    ``noise`` (N,) are in dF/F; ``penalty`` (N,) is the sparsity penalty, infinite for a trace that is nothing but noise.
    """

    spikes: Traces
    denoised: Traces
    g: np.ndarray
    baseline: np.ndarray
    noise: np.ndarray
    penalty: np.ndarray


def deconvolve(
    dff: Traces,
    *,
    method: Method = "ar2",
    indicator: str | None = None,
    decay_s: float | None = None,
    rise_s: float | None = None,
    noise: np.ndarray | float | None = None,
    penalty: float | Literal["noise"] = "noise",
    threads: int | None = None,
) -> Deconvolution:
    """Find the sparse non-negative spikes that explain each trace as calcium plus a baseline.

    "ar1": calcium jumps with a spike and decays, the exact active-set method of Friedrich, Zhou and Paninski 2017
    (doi:10.1371/journal.pcbi.1005423). Its spikes come late by the indicator's rise. "ar2": calcium rises, then decays, and a
    frame shows the mean over its duration; the exact optimum, by an interior-point method. Its spikes need no lag where the
    kinetics are right. Calcium left over from before the first frame is no spike.

    Parameters
    ----------
    dff : Traces
        N traces of T frames, any unit; finite.
    method : {"ar2", "ar1"}
        Model of calcium.
    indicator : str, optional
        Take rise and decay from `calcium_helpers.indicators`: those of single spikes; trains decay more slowly.
    decay_s, rise_s : float, optional
        Time constants, seconds, before those of the indicator. Without either, the decay is estimated from each trace, and
        the rise, which a noisy trace hardly shows, is 0.04 s, in between those of GCaMP6f and GCaMP6s. Only "ar2" uses it.
        Name the indicator where it is much faster, as jGCaMP8: a rise that is too slow puts spikes a frame too early.
    noise : ndarray, shape (N,), or float, optional
        Noise sd in the traces' unit; estimated from each trace by default.
    penalty : "noise" or float
        "noise": as sparse as possible with a residual as large as the noise. A number is the penalty on the sum of the
        model's spikes (half the squared residual + penalty x sum); 0 only asks for non-negative spikes.
    threads : int, optional
        Rows fitted at the same time; all processors by default. The result does not depend on it.

    Returns
    -------
    Deconvolution
        Traces of fewer than 3 frames have no spikes with "ar2".

    Raises
    ------
    ValueError
        For a trace with NaN or infinity (the message names the row), an unknown method or indicator, a number out of range.
    """
    if method not in ("ar1", "ar2"):
        raise ValueError(f'method must be "ar1" or "ar2", got {method!r}')
    check_finite(dff)
    sd = _noise(dff, noise)
    lam = _penalty(penalty)
    roots = _roots(dff, sd, method, *_time_constants(indicator, decay_s, rise_s))
    n = len(dff)
    spikes, denoised = np.zeros((2, n, dff.n_frames), dtype=np.float32)
    baseline, used = np.zeros(n), np.zeros(n)

    def fit_row(i: int) -> None:
        spikes[i], denoised[i], baseline[i], used[i] = _fit(dff.values[i].astype(np.float64), roots[i], sd[i], lam)

    if dff.n_frames:
        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            list(pool.map(fit_row, range(n)))
    g = roots if method == "ar1" else np.column_stack([roots.sum(axis=1), -roots.prod(axis=1)])
    return Deconvolution(
        dff.replace(values=spikes, kind="spikes"), dff.replace(values=denoised, kind="denoised"), g, baseline, sd, used
    )


def _fit(y: np.ndarray, roots: np.ndarray, noise: float, lam: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Spikes, fitted trace, baseline and penalty of one trace."""
    calcium, spikes = np.empty_like(y), np.empty_like(y)
    if len(roots) == 1:
        baseline, used = fit_ar1(y, roots[0], noise, lam, calcium, spikes)
    else:
        kinetics = np.array([*roots, own_part(*roots)])
        baseline, used = fit_ar2(y, kinetics, noise, lam, calcium, spikes)
        spikes[0] = 0.0
        spikes *= peak_of(*roots)
    return spikes, calcium + baseline, baseline, used


def _noise(dff: Traces, noise: np.ndarray | float | None) -> np.ndarray:
    if noise is None:
        return estimate_noise(dff)
    sd = np.asarray(noise, dtype=np.float64)
    if sd.shape not in ((), (len(dff),)) or not (np.isfinite(sd) & (sd >= 0)).all():
        raise ValueError(f"noise must be one number or one a trace ({len(dff)}), finite and at least 0, got shape {sd.shape}")
    return np.broadcast_to(sd, len(dff)).copy()


def _penalty(penalty: float | str) -> float:
    """Penalty, or -1 where it is to be found."""
    if isinstance(penalty, str):
        if penalty != "noise":
            raise ValueError(f'penalty must be "noise" or a number of at least 0, got {penalty!r}')
        return -1.0
    if not (np.isfinite(penalty) and penalty >= 0):
        raise ValueError(f'penalty must be "noise" or a number of at least 0, got {penalty!r}')
    return float(penalty)


def _time_constants(indicator: str | None, decay_s: float | None, rise_s: float | None) -> tuple[float | None, float]:
    """Decay, None where the trace has to say, and rise, seconds."""
    if indicator is not None:
        known = get_indicator(indicator)
        decay_s = known.decay_s if decay_s is None else decay_s
        rise_s = known.rise_s if rise_s is None else rise_s
    for name, value in (("decay_s", decay_s), ("rise_s", rise_s)):
        if value is not None:
            check_positive(name, value, "seconds")
    rise_s = _USUAL_RISE_S if rise_s is None else rise_s
    if decay_s is not None and rise_s >= decay_s:
        raise ValueError(f"rise_s must be below decay_s, got {rise_s} and {decay_s} seconds")
    return decay_s, rise_s


def _roots(dff: Traces, noise: np.ndarray, method: Method, decay_s: float | None, rise_s: float) -> np.ndarray:
    """Decay and, for "ar2", rise a frame of each trace (N, 1 or 2)."""
    decay = estimate_decay(dff.values, noise, dff.fs) if decay_s is None else np.full(len(dff), factor_of(decay_s, dff.fs))
    if method == "ar1":
        return decay[:, None]
    return np.column_stack([decay, np.minimum(factor_of(rise_s, dff.fs), _CLOSEST_ROOTS * decay)])
