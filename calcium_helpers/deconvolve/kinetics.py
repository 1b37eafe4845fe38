"""How fast the calcium of each trace rises and decays: as a model of frames needs it."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

_LAGS = 20
_SHORTEST_FRAMES = 0.5
_LONGEST_S = 5.0


def factor_of(time_s: float, fs: float) -> float:
    """Decay a frame, exp(-1 / (fs time_s))."""
    return float(np.exp(-1.0 / (fs * time_s)))


def estimate_decay(values: np.ndarray, noise: np.ndarray, fs: float) -> np.ndarray:
    """Decay a frame of each trace, from its autocovariance.

    The autocovariance of calcium that decays by g falls by g from lag to lag once the noise is taken out of lag 0 (Friedrich
    et al. 2017, doi:10.1371/journal.pcbi.1005423); g is fitted to 20 lags by least squares and limited to time constants from
    half a frame to 5 s. A trace without structure gets the shortest.

    Parameters
    ----------
    values : ndarray, shape (N, T)
        Traces, finite.
    noise : ndarray, shape (N,)
        Noise sd of each.
    fs : float
        Frames a second, Hz.

    Returns
    -------
    ndarray, shape (N,)
        Factor a frame.
    """
    lags = min(_LAGS, values.shape[1] // 4)
    decay = np.zeros(len(values))
    for row, (trace, sd) in enumerate(zip(values, noise, strict=True)):
        y = trace - trace.mean(dtype=np.float64)
        cov = np.array([y[: len(y) - k] @ y[k:] for k in range(lags + 1)]) / max(len(y), 1)
        cov[0] = max(cov[0] - sd**2, 0.0)
        power = cov[:-1] @ cov[:-1]
        decay[row] = cov[:-1] @ cov[1:] / power if power > 0 else 0.0
    return np.clip(decay, np.exp(-1 / _SHORTEST_FRAMES), factor_of(_LONGEST_S, fs))


def own_part(decay: float, rise: float) -> float:
    """Part of a frame that shows its own calcium, where frames average over their duration.

    A spike falls anywhere within its frame, so that the mean over this frame hardly shows it yet and the mean over the next
    one does. The part p makes p c[t] + (1 - p) c[t-1] agree with the true ratio of these two means.

    Parameters
    ----------
    decay, rise : float
        Factors a frame, 0 < rise < decay < 1.

    Returns
    -------
    float
        Near 1/2 where the rise is much faster than a frame, smaller where it is slower.
    """
    u = (np.arange(100) + 0.5) / 100

    def response(t: np.ndarray) -> np.ndarray:
        return decay**t - rise**t

    first = ((1 - u) * response(u)).mean()
    second = (u * response(u) + (1 - u) * response(1 + u)).mean()
    ratio = first / second
    return float(ratio / (1 - ratio * (decay + rise - 1)))


def peak_of(decay: float, rise: float) -> float:
    """Peak of the response of c[t] = (decay + rise) c[t-1] - decay rise c[t-2] + s[t] to one s of 1."""
    frames = 2 + int(np.ceil(np.log(np.log(rise) / np.log(decay)) / np.log(decay / rise)))
    impulse = np.zeros(frames)
    impulse[0] = 1.0
    return float(lfilter([1.0], [1.0, -(decay + rise), decay * rise], impulse).max())
