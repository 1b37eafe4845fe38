"""What a network is told of a recording besides its samples: rate, noise, and shapes from which kinetics can be read."""

from __future__ import annotations

import numpy as np

LAGS_S = (0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)
"""Lags of autocorrelation and of differences, seconds."""

UPSTROKE_S = (-0.8, -0.4, -0.2, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.48, 0.64, 0.96, 1.6, 2.4, 3.2)
"""Where the mean transient is looked at, seconds from its steepest rise."""

N_FEATURES = 5 + 3 * len(LAGS_S) + len(UPSTROKE_S)
_UPSTROKES_PER_S = 0.1
# Median absolute difference of neighbours in white noise of sd 1.
_STEP_OF_SD = 0.954
_MOST_SAMPLES = 20000


def standardise(dff: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring traces to units of their own noise, so that the gain of a recording does not count.

    Parameters
    ----------
    dff : ndarray, shape (N, T), float32

    Returns
    -------
    tuple of ndarray
        Traces minus their median, over the noise (N, T); the noise (N,), 1 for a constant trace.
    """
    values = np.asarray(dff, dtype=np.float32)
    if values.shape[1] < 2:
        return np.zeros_like(values), np.ones(len(values), np.float32)
    sample = values[:, :: max(1, values.shape[1] // _MOST_SAMPLES)]
    steps = np.diff(values[:, :_MOST_SAMPLES], axis=1)
    noise = np.median(np.abs(steps), axis=1) / _STEP_OF_SD
    # More than half of the samples are held or clipped: the mean step says more.
    noise = np.where(noise > 0, noise, steps.std(axis=1) / np.sqrt(2))
    noise = np.where(noise > 0, noise, 1).astype(np.float32)
    centre = np.median(sample, axis=1).astype(np.float32)
    return (values - centre[:, None]) / noise[:, None], noise


def describe(dff: np.ndarray, *, fs: float, own_fs: float | None = None) -> np.ndarray:
    """Describe recordings by numbers of order one.

    Parameters
    ----------
    dff : ndarray, shape (N, T), float32
        Fluorescence, dF/F as a fraction.
    fs : float
        Samples per second, Hz.
    own_fs : float, optional
        Frames per second before they were averaged to these samples, Hz; as many by default.

    Returns
    -------
    ndarray, shape (N, N_FEATURES), float32
        Log rate; log of the frames in a sample; log noise level; log signal over noise; skewness; at each of ``LAGS_S`` the
        autocorrelation, the spread and the skewness of differences (rises are faster than falls); the mean transient at
        ``UPSTROKE_S``.
    """
    return describe_standardised(*standardise(dff), fs=fs, own_fs=own_fs)


def describe_standardised(z: np.ndarray, noise: np.ndarray, *, fs: float, own_fs: float | None = None) -> np.ndarray:
    """Describe what ``standardise`` returned, as `describe` does."""
    z = z[:, :_MOST_SAMPLES]
    n, n_samples = z.shape
    level = np.log(np.clip(noise_level(noise, fs=fs), 1e-2, 1e3))
    z = np.clip(z - z.mean(axis=1, keepdims=True), -1e3, 1e3) if n_samples else z
    power, skewness = _moments(z)
    columns = [np.full(n, np.log(fs / 25)), np.full(n, np.log((own_fs or fs) / fs)), level - 1, 0.5 * np.log(power), skewness]
    for lag_s in LAGS_S:
        lag = max(1, round(lag_s * fs))
        if lag >= n_samples:
            columns += [np.zeros(n)] * 3
            continue
        late, early = z[:, lag:], z[:, :-lag]
        spread, skewness = _moments(late - early)
        columns += [np.einsum("nt,nt->n", late, early) / late.shape[1] / power, 0.5 * np.log(spread) - 0.35, skewness]
    return np.concatenate([np.array(columns).T, _mean_transient(z, fs)], axis=1).astype(np.float32)


def noise_level(noise: np.ndarray, *, fs: float) -> np.ndarray:
    """Noise sd of white noise in the units of `calcium_helpers.spike_trains.estimate_noise_level`, %/sqrt(Hz)."""
    return 100 * _STEP_OF_SD * noise / np.sqrt(fs)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean square, never 0, and the cube root of the skewness, each (N,)."""
    if not x.shape[1]:
        return np.ones(len(x)), np.zeros(len(x))
    square = x * x
    power = np.maximum(square.mean(axis=1, dtype=np.float64), 1e-6)
    return power, np.cbrt(np.einsum("nt,nt->n", square, x) / x.shape[1] / power**1.5)


def _mean_transient(z: np.ndarray, fs: float) -> np.ndarray:
    """Mean course around the steepest rises, from its lowest to its highest as 0 to 1, shape (N, len(UPSTROKE_S))."""
    offsets = np.round(np.array(UPSTROKE_S) * fs).astype(int)
    half, count = max(1, round(0.08 * fs)), max(3, round(z.shape[1] / fs * _UPSTROKES_PER_S))
    inside = z.shape[1] + offsets[0] - offsets[-1] - 2 * half
    if inside <= count:
        return np.zeros((len(z), len(offsets)))
    total = np.cumsum(np.pad(z, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    start = half - offsets[0]
    at = start + np.arange(inside)
    rise = total[:, at + half] - 2 * total[:, at] + total[:, at - half]
    peaks = np.argpartition(rise, -count, axis=1)[:, -count:] + start
    course = np.take_along_axis(z[:, None], (peaks[:, :, None] + offsets).reshape(len(z), 1, -1), axis=2)
    course = course.reshape(len(z), count, len(offsets)).mean(axis=1)
    course -= course.min(axis=1, keepdims=True)
    return course / np.maximum(course.max(axis=1, keepdims=True), 1e-6)
