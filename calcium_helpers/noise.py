"""How noisy a trace is, and how far its signal stands above the noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import welch

from calcium_helpers.containers import Traces

_SEGMENT_FRAMES = 256
_SHORTEST_SPECTRUM = 16


def check_finite(traces: Traces) -> None:
    """Raise a ValueError that names the first row with NaN or infinity, if there is one."""
    bad = np.flatnonzero(~np.isfinite(traces.values).all(axis=1))
    if bad.size:
        frame = int(np.flatnonzero(~np.isfinite(traces.values[bad[0]]))[0])
        raise ValueError(
            f"traces must be finite, got NaN or infinity in {bad.size} of {len(traces)} rows, first in row {bad[0]} "
            f"(id {traces.ids[bad[0]]}), frame {frame}; drop these rows with select or mend the frames"
        )


def estimate_noise(traces: Traces) -> np.ndarray:
    """Estimate the standard deviation of the white noise of each trace.

    The power spectral density (Welch's method, median over segments, so that single artefacts do not count) is averaged
    over the upper half of the frequencies, where calcium has almost no power (Pnevmatikakis et al. 2016,
    doi:10.1016/j.neuron.2015.11.037). Under 16 frames it is the standard deviation of the differences over sqrt(2).

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.

    Returns
    -------
    ndarray, shape (N,), float64
        Noise in the unit of the traces; 0 for a constant trace or a single frame.

    Raises
    ------
    ValueError
        For a trace with NaN or infinity; the message names the row.

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(scale=0.2, size=(1, 20000))
    >>> round(float(estimate_noise(Traces(white, 30, "dff"))[0]), 2)
    0.2
    """
    check_finite(traces)
    values = traces.values.astype(np.float64)
    n_frames = traces.n_frames
    if not len(traces) or n_frames < 2:
        return np.zeros(len(traces))
    if n_frames < _SHORTEST_SPECTRUM:
        return np.sqrt(np.mean(np.diff(values, axis=1) ** 2, axis=1) / 2)
    # At fs=1 the one-sided density of white noise is twice its variance.
    frequency, density = welch(values, fs=1.0, nperseg=min(_SEGMENT_FRAMES, n_frames), average="median", axis=1)
    upper = (frequency > 0.25) & (frequency < 0.5)
    return np.sqrt(density[:, upper].mean(axis=1) / 2)


def estimate_snr(traces: Traces) -> np.ndarray:
    """Peak of each trace above its median, in units of its noise, shape (N,).

    The peak is that of the mean over three frames, so that one noisy frame does not make it; a trace without noise
    (constant) has 0. White noise alone scores about 2 to 3.

    Raises
    ------
    ValueError
        For a trace with NaN or infinity; the message names the row.
    """
    noise = estimate_noise(traces)
    if not len(traces) or not traces.n_frames:
        return np.zeros(len(traces))
    smooth = uniform_filter1d(traces.values.astype(np.float64), 3, axis=1, mode="nearest")
    peak = smooth.max(axis=1) - np.median(traces.values, axis=1)
    return np.divide(peak, noise, out=np.zeros(len(traces)), where=noise > 0)
