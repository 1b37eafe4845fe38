"""Deconvolve all traces: check, choose the kinetics, fit each row on its own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np

from calcium_helpers.containers import Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.deconvolve.search import find_kinetics
from calcium_helpers.deconvolve.single import fit_trace
from calcium_helpers.indicators import get_indicator
from calcium_helpers.noise import check_finite, estimate_noise

Method = Literal["ar1", "ar2"]


class Deconvolution(NamedTuple):
    """Spikes of each trace, and what they were found with.

    ``spikes`` (N, T) are in dF/F a frame: the height of the transient that the spikes of a frame set off. ``denoised`` (N, T)
    is the fitted trace, baseline included. ``g`` (N, 1 or 2) are the autoregressive coefficients a frame, of ``decay_s`` and
    ``rise_s`` (0 with "ar1"); ``baseline`` and
    ``noise`` (N,) are in dF/F; ``penalty`` (N,) is the sparsity penalty, infinite for a trace that is nothing but noise.
    """

    spikes: Traces
    denoised: Traces
    g: np.ndarray
    decay_s: float
    rise_s: float
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
        Time constants, seconds, before those of the indicator; only "ar2" uses the rise. What is not given is found from the
        strongest traces together, taken to share one indicator: the kinetics with which the fewest spikes explain them down to
        their noise. Where they hold too few spikes for that, 0.6 and 0.04 s, as of GCaMP6f and GCaMP6s.
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
    decay_s, rise_s = _check_times(indicator, decay_s, rise_s)
    n = len(dff)
    spikes, denoised = np.zeros((2, n, dff.n_frames), dtype=np.float32)
    baseline, used = np.zeros(n), np.zeros(n)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        rise_s = 0.0 if method == "ar1" else rise_s
        kinetics = find_kinetics(dff.values, sd, dff.fs, decay_s=decay_s, rise_s=rise_s, pool=pool)
        roots = kinetics.roots(dff.fs)

        def fit_row(i: int) -> None:
            spikes[i], denoised[i], baseline[i], used[i] = fit_trace(dff.values[i], roots, sd[i], lam)

        if dff.n_frames:
            list(pool.map(fit_row, range(n)))
    g = np.broadcast_to(roots if method == "ar1" else [roots.sum(), -roots.prod()], (n, len(roots))).copy()
    found, fitted = dff.replace(values=spikes, kind="spikes"), dff.replace(values=denoised, kind="denoised")
    return Deconvolution(found, fitted, g, *kinetics, baseline, sd, used)


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


def _check_times(indicator: str | None, decay_s: float | None, rise_s: float | None) -> tuple[float | None, float | None]:
    """Decay and rise, seconds, as given or as the indicator's; None where the traces have to say."""
    if indicator is not None:
        known = get_indicator(indicator)
        decay_s = known.decay_s if decay_s is None else decay_s
        rise_s = known.rise_s if rise_s is None else rise_s
    for name, value in (("decay_s", decay_s), ("rise_s", rise_s)):
        if value is not None:
            check_positive(name, value, "seconds")
    if decay_s is not None and rise_s is not None and rise_s >= decay_s:
        raise ValueError(f"rise_s must be below decay_s, got {rise_s} and {decay_s} seconds")
    return decay_s, rise_s
