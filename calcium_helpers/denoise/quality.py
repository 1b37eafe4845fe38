"""What denoising gained, told without truth."""

from __future__ import annotations

import numpy as np

from calcium_helpers.containers import Traces
from calcium_helpers.noise import estimate_noise


def estimate_share_removed(raw: Traces, denoised: Traces) -> np.ndarray:
    """Estimate which share of the noise's variance denoising took out of each trace.

    The variance of raw minus denoised, over that of the raw trace's noise. As long as no signal went with it, the noise fell by
    ``1 / sqrt(1 - share)``; take the median over cells first, since the noise of one trace is known to a few per cent only.
    The noise left is not white: ``estimate_noise`` of the denoised trace is far too low.

    Parameters
    ----------
    raw, denoised : Traces
        The same N traces from the movie before and after, in the same unit.

    Returns
    -------
    ndarray, shape (N,)
        About 0 to 1; clearly above 1 where signal was taken out too, NaN for a trace without noise.

    Raises
    ------
    ValueError
        When the two differ in shape, or hold NaN or infinity.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(5, 9000))
    >>> share = estimate_share_removed(Traces(noise, 30, "raw"), Traces(noise / 2, 30, "raw"))
    >>> round(float(np.median(share)), 1)
    0.2
    """
    if raw.values.shape != denoised.values.shape:
        raise ValueError(f"denoised must have the shape of raw {raw.values.shape}, got {denoised.values.shape}")
    noise = estimate_noise(raw)
    removed = (raw.values.astype(np.float64) - denoised.values).var(axis=1)
    return np.divide(removed, noise**2, out=np.full(len(noise), np.nan), where=noise > 0)
