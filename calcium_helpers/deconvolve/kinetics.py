"""Rise and decay as a model of frames needs them."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter


def factor_of(time_s: float, fs: float) -> float:
    """Decay a frame, exp(-1 / (fs time_s))."""
    return float(np.exp(-1.0 / (fs * time_s)))


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
