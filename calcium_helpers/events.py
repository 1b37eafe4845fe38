"""Transients in dF/F: found at a stated rate of false positives, and measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import brentq
from scipy.signal import find_peaks, oaconvolve
from scipy.stats import multivariate_normal, norm

from calcium_helpers.containers import Events, Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.noise import check_finite, estimate_noise

# Decay times before and after a possible onset that are looked at. Longer windows tell more in white noise, but run into
# neighbouring events and slow noise: these did best on the electrophysiology sets DS09, DS14 and DS30.
BEFORE, AFTER = 1.0, 1.0
STEPS_A_FRAME = 10
QUANTILE = 0.99
SMOOTHING = 0.25  # of the time to the peak: more would flatten it, less leave its height to noise
CHUNK_ROWS = 64
MEASURED = ("onset_s", "peak_s", "offset_s", "amplitude", "rise_s", "half_decay_s", "area")


class OnsetFilter(NamedTuple):
    """What a trace is correlated with: ``weights`` (L,) of norm 1, the ``onset`` frame in them, the ``threshold`` of z."""

    weights: np.ndarray
    onset: int
    threshold: float


def detect_events(
    dff: Traces, *, decay_s: float, rise_s: float, false_positives_per_min: float = 0.1, noise: np.ndarray | None = None
) -> Events:
    """Find transients and measure them.

    Each frame is asked for evidence that a transient begins there: the trace around it is taken for a level, the decay of what
    was before, and a transient of the given kinetics; the latter's size in units of its error is the statistic ``z``. How
    often white noise crosses a threshold is known (Rice 1945, doi:10.1002/j.1538-7305.1945.tb00453.x), so the threshold follows
    from the false positives that you accept. In the decay of one event a second one counts where z falls by a whole
    threshold between them.

    Parameters
    ----------
    dff : Traces
        N traces of T frames; finite.
    decay_s, rise_s : float
        Time constants of a transient, seconds: of the indicator, or as deconvolution found them; a rise of 0 is immediate.
    false_positives_per_min : float
        False events a minute in a trace of white noise. Slow noise adds some: its size is told from the negative side of z
        outside events, and raises the threshold of that trace.
    noise : ndarray, shape (N,), optional
        Standard deviation of each trace's noise where it is not white, as after denoising; estimated by default.

    Returns
    -------
    Events
        ``roi`` (id); ``onset_s``; ``peak_s``; ``offset_s`` (back to a tenth of the amplitude or into the noise, or the next
        onset); ``amplitude`` (dF/F above the level before the onset); ``rise_s`` (10 to 90 %); ``half_decay_s`` (peak to half;
        NaN where something comes before); ``area`` (dF/F s); ``z``. Times count from the first frame. Peak, rise and decay
        are those of the trace smoothed by a Gaussian of a quarter of the time that a transient takes to its peak.

    Raises
    ------
    ValueError
        For kinetics or a rate that make no sense, or a trace with NaN or infinity; the message names it.

    Examples
    --------
    >>> after = np.arange(600) / 30 - 10
    >>> clean = np.where(after >= 0, np.exp(-after / 0.6), 0)
    >>> dff = Traces(clean[None] + np.random.default_rng(0).normal(scale=0.1, size=600), 30, "dff")
    >>> detect_events(dff, decay_s=0.6, rise_s=0.05).table["onset_s"].round(1).tolist()
    [10.0]
    """
    check_positive("decay_s", decay_s, "seconds")
    check_positive("false_positives_per_min", false_positives_per_min, "events a minute")
    if not 0 <= rise_s < decay_s:
        raise ValueError(f"rise_s must be at least 0 and below decay_s, got {rise_s} and {decay_s} s")
    check_finite(dff)
    noise = estimate_noise(dff) if noise is None else np.asarray(noise, dtype=float)
    if noise.shape != (len(dff),):
        raise ValueError(f"noise must have one entry a trace ({len(dff)}), got shape {noise.shape}")
    onset_filter = design_filter(dff.fs, decay_s, rise_s, false_positives_per_min)
    to_peak_s = np.log(decay_s / rise_s) * decay_s * rise_s / (decay_s - rise_s) if rise_s else 0.0
    n_rise, sd_frames = max(1, round(to_peak_s * dff.fs)), max(0.5, SMOOTHING * to_peak_s * dff.fs)
    tables = []
    for start in range(0, len(dff) if dff.n_frames else 0, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        values = dff.values[rows].astype(np.float64)
        smooth = gaussian_filter1d(values, sd_frames, axis=1, mode="nearest")
        z = _evidence(values, noise[rows], onset_filter)
        for row, roi in enumerate(dff.ids[rows]):
            onsets = _find_onsets(z[row], onset_filter)
            level = noise[start + row] / np.sqrt(2 * np.sqrt(np.pi) * sd_frames)
            measured = _measure(values[row], smooth[row], onsets, level, n_rise, dff.fs)
            tables.append(pd.DataFrame(measured, columns=list(MEASURED)).assign(roi=roi, z=z[row, onsets]))
    table = pd.concat(tables) if tables else pd.DataFrame(columns=[*MEASURED, "roi", "z"], dtype=float).astype({"roi": int})
    # What noise alone carried over the threshold may not rise at all once it is smoothed: it has no amplitude.
    return Events(table.loc[table["amplitude"] > 0, ["roi", *MEASURED, "z"]])


def design_filter(fs: float, decay_s: float, rise_s: float, false_positives_per_min: float) -> OnsetFilter:
    """Return the filter whose output is the evidence for an onset, and the threshold for it.

    The transient, averaged over each frame, has its projections on a constant and on a decay taken out. For its output z
    with correlation r from frame to frame, frames at which z rises through u come at fs (P(z < u) - P(z < u, z' < u)) a second.
    """
    before, after = (max(3, round(part * decay_s * fs)) for part in (BEFORE, AFTER))
    fine = (np.arange(-before * STEPS_A_FRAME, after * STEPS_A_FRAME) + 0.5) / (STEPS_A_FRAME * fs)
    since = np.maximum(fine, 0)
    rising = np.exp(-since / rise_s) if rise_s else fine <= 0
    transient = (np.exp(-since / decay_s) - rising).reshape(-1, STEPS_A_FRAME).mean(axis=1)
    known = np.stack([np.ones(before + after), np.exp(-np.arange(before + after) / (decay_s * fs))], axis=1)
    weights = transient - known @ np.linalg.lstsq(known, transient, rcond=None)[0]
    weights /= np.linalg.norm(weights)
    r = float(weights[:-1] @ weights[1:])
    neighbours = multivariate_normal(cov=[[1, r], [r, 1]])

    def surplus(u: float) -> float:
        return 60 * fs * float(norm.cdf(u) - neighbours.cdf([u, u])) - false_positives_per_min

    if not surplus(6.0) < 0 < surplus(1.0):
        most, least = (surplus(u) + false_positives_per_min for u in (1.0, 6.0))
        raise ValueError(
            f"false_positives_per_min must lie between {least:.1g} and {most:.2g} for these kinetics at {fs:g} Hz, "
            f"got {false_positives_per_min:g}"
        )
    return OnsetFilter(weights, before, float(brentq(surplus, 1, 6)))


def _evidence(values: np.ndarray, noise: np.ndarray, onset_filter: OnsetFilter) -> np.ndarray:
    """Return the statistic z of each frame, (N, T); 0 for a trace without noise."""
    weights, onset, _ = onset_filter
    around = (onset, len(weights) - onset - 1)
    padded = np.pad(values, ((0, 0), around), mode="reflect" if values.shape[1] > max(around) else "edge")
    found = oaconvolve(padded, weights[None, ::-1], mode="valid", axes=1)
    return np.divide(found, noise[:, None], out=np.zeros_like(found), where=noise[:, None] > 0)


def _find_onsets(z: np.ndarray, onset_filter: OnsetFilter) -> np.ndarray:
    """Frames where z peaks above its threshold, which is raised where z outside events is wider than white noise makes it."""
    weights, before, threshold = onset_filter
    onsets = find_peaks(z, height=threshold, prominence=threshold)[0]
    quiet = np.ones(len(z), dtype=bool)
    for onset in onsets:
        quiet[max(0, onset - len(weights) + before) : onset + 2 * before] = False
    if quiet.sum() < 5 * len(weights):
        return onsets
    below = np.quantile(-z[quiet], QUANTILE) / norm.ppf(QUANTILE)
    spread = np.median(np.abs(z[quiet] - np.median(z[quiet]))) / norm.ppf(0.75)
    threshold *= max(1.0, below, spread)
    return find_peaks(z, height=threshold, prominence=threshold)[0]


@njit(cache=True)
def _measure(values: np.ndarray, smooth: np.ndarray, onsets: np.ndarray, level: float, n_rise: int, fs: float) -> np.ndarray:
    """Measure the events of one trace, (n, 7) in the order of ``MEASURED``; ``level`` is the noise of the smooth trace."""
    measured = np.empty((len(onsets), 7))
    for i in range(len(onsets)):
        onset = onsets[i]
        end = onsets[i + 1] if i + 1 < len(onsets) else len(values) - 1
        base = values[max(0, onset - n_rise) : max(1, onset)].mean()
        peak = onset
        for frame in range(onset, end + 1):
            if smooth[frame] > smooth[peak]:
                peak = frame
            elif frame > onset + n_rise and smooth[frame] - base < 0.5 * (smooth[peak] - base):
                break
        amplitude = smooth[peak] - base
        half = np.nan
        if not np.isnan(_crossing(smooth, peak, end, base + 0.5 * amplitude, 1)):
            quarter = _crossing(smooth, peak, end, base + 0.25 * amplitude, 1)
            last = end if np.isnan(quarter) else int(np.ceil(quarter))
            half = _frames_above(smooth, peak, last, base + 0.5 * amplitude)
        offset = _crossing(smooth, peak, end, base + max(0.1 * amplitude, level), 1)
        offset = end if np.isnan(offset) else offset
        first = max(0, onset - n_rise)
        low = _crossing(smooth, peak, first, base + 0.1 * amplitude, -1)
        high = _crossing(smooth, peak, first, base + 0.9 * amplitude, -1)
        rise = (high if not np.isnan(high) else first) - (low if not np.isnan(low) else first)
        area = (values[onset : int(np.ceil(offset)) + 1] - base).sum()
        measured[i] = np.array([onset, peak, max(offset, peak), amplitude, rise, half, area])
        measured[i, :3] /= fs
        measured[i, 4:] /= fs
    return measured


@njit(cache=True)
def _crossing(smooth: np.ndarray, start: int, stop: int, level: float, step: int) -> float:
    """Where the trace first falls below ``level`` on the way from ``start`` to ``stop``, between frames; NaN if nowhere."""
    frame = start
    while frame != stop:
        if smooth[frame + step] <= level:
            return frame + step * (smooth[frame] - level) / (smooth[frame] - smooth[frame + step])
        frame += step
    return np.nan


@njit(cache=True)
def _frames_above(smooth: np.ndarray, start: int, stop: int, level: float) -> float:
    """Return how long the trace, straight between frames, is above ``level``, in frames: noise adds as much as it takes."""
    total = 0.0
    for frame in range(start, stop):
        low, high = min(smooth[frame], smooth[frame + 1]), max(smooth[frame], smooth[frame + 1])
        if high > level:
            total += 1.0 if low >= level else (high - level) / (high - low)
    return total
