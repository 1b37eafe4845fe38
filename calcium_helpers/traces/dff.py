"""The baseline of a trace, and the change relative to it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d, percentile_filter

from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.noise import check_finite, estimate_noise
from calcium_helpers.traces.unmix import unmix

Baseline = Literal["percentile", "maximin"]

# Blocks of the running percentile and the smoothing of maximin, as parts of the window.
_BLOCKS_A_WINDOW = 60
_SMOOTHINGS_A_WINDOW = 120


def estimate_baseline(
    traces: Traces, *, baseline: Baseline = "percentile", window_s: float = 60.0, percentile: float = 8.0
) -> np.ndarray:
    """Slow baseline F0 of each trace.

    "percentile": the trace is averaged in blocks of a sixtieth of the window (1 s by default), the percentile is taken over
    the blocks of a centred window (mirrored at the ends; over all blocks where the trace is shorter), and interpolated
    linearly between block centres. The averaging keeps noise from pulling the baseline down. "maximin": the trace is smoothed
    by a Gaussian (sd: 1/120 of the window), then a running minimum and a running maximum over the window are taken.

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    baseline : {"percentile", "maximin"}
        Which baseline.
    window_s : float
        Width of the window, seconds: long against transients, short against bleaching.
    percentile : float
        For "percentile", 0..100.

    Returns
    -------
    ndarray, shape (N, T), float64
        F0 in the unit of the traces.

    Raises
    ------
    ValueError
        For an unknown baseline, a number out of range, or a trace with NaN or infinity (the message names the row).
    """
    check_finite(traces)
    check_positive("window_s", window_s, "seconds")
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must lie in 0..100, got {percentile}")
    if baseline not in ("percentile", "maximin"):
        raise ValueError(f'baseline must be "percentile" or "maximin", got {baseline!r}')
    values = traces.values.astype(np.float64)
    if not values.size:
        return values
    window = window_s * traces.fs
    if baseline == "percentile":
        return _running_percentile(values, window, percentile)
    size = max(1, round(window))
    smooth = gaussian_filter1d(values, window / _SMOOTHINGS_A_WINDOW, axis=1)
    return maximum_filter1d(minimum_filter1d(smooth, size, axis=1), size, axis=1)


def estimate_dff(
    raw: Traces,
    *,
    baseline: Baseline = "percentile",
    window_s: float = 60.0,
    percentile: float = 8.0,
    f0_floor: float = 1.0,
    polarity: Literal[1, -1] = 1,
    footprints: Footprints | None = None,
    relative_to: Traces | None = None,
) -> Traces:
    """Relative change of fluorescence, (F - F0) / F0.

    The defaults suit somata that rest for at least a few seconds of each minute.

    Parameters
    ----------
    raw : Traces
        N traces in counts, of which 0 must mean no light (subtract the camera's offset first), neuropil taken out or not.
    baseline, window_s, percentile
        As for `estimate_baseline`; for ``polarity=-1`` of the inverted trace, so the 8th percentile means the 92nd.
    f0_floor : float
        F0 is not allowed below this many standard deviations of the trace's noise: where less light is left than noise
        (too much neuropil taken out), a ratio says nothing and would explode. A trace without light or noise has dF/F 0.
    polarity : {1, -1}
        -1 for indicators that dim when calcium rises: activity is positive in the result for both.
    footprints : Footprints, optional
        Of the same cells: their changes are then unmixed where they overlap (see `unmix`).
    relative_to : Traces, optional
        Take F0 from these traces instead: in one-photon movies little of the light is left as the cell's own, and the change
        is stated relative to all light in its place.

    Returns
    -------
    Traces
        Kind "dff", as a fraction; unchanged when the raw traces are multiplied by a gain.

    Raises
    ------
    ValueError
        As `estimate_baseline`, or for another polarity or a negative floor.
    """
    if polarity not in (1, -1):
        raise ValueError(f"polarity must be 1 or -1, got {polarity!r}")
    if relative_to is not None and relative_to.values.shape != raw.values.shape:
        raise ValueError(f"relative_to must have the shape of raw {raw.values.shape}, got {relative_to.values.shape}")
    if not f0_floor >= 0:
        raise ValueError(f"f0_floor must be at least 0, got {f0_floor}")
    signed = raw if polarity == 1 else raw.replace(values=-raw.values)
    slow = estimate_baseline(signed, baseline=baseline, window_s=window_s, percentile=percentile)
    change = signed.values - slow
    if footprints is not None:
        change = unmix(change, footprints)
    if relative_to is not None:
        light = relative_to.replace(values=polarity * relative_to.values)
        slow = estimate_baseline(light, baseline=baseline, window_s=window_s, percentile=percentile)
    f0 = np.maximum(polarity * slow, f0_floor * estimate_noise(raw)[:, None])
    return raw.replace(values=np.divide(change, f0, out=np.zeros(f0.shape), where=f0 > 0), kind="dff")


def _running_percentile(values: np.ndarray, window: float, percentile: float) -> np.ndarray:
    """Percentile of block means in a centred window of ``window`` frames, interpolated to every frame."""
    n_frames = values.shape[1]
    block = max(1, round(window / _BLOCKS_A_WINDOW))
    # A remainder joins the last block: on its own it would be noisier than the others, hence lower.
    starts = np.arange(0, max(n_frames - block + 1, 1), block)
    lengths = np.diff(np.append(starts, n_frames))
    means = np.add.reduceat(values, starts, axis=1) / lengths
    size = max(1, round(window / block))
    if size >= len(starts):
        return np.percentile(means, percentile, axis=1, keepdims=True) + np.zeros(n_frames)
    slow = percentile_filter(means, percentile, size=(1, size), mode="reflect")
    centres = starts + (lengths - 1) / 2
    left = np.clip(np.searchsorted(centres, np.arange(n_frames), side="right") - 1, 0, len(starts) - 2)
    part = np.clip((np.arange(n_frames) - centres[left]) / (centres[left + 1] - centres[left]), 0, 1)
    return slow[:, left] * (1 - part) + slow[:, left + 1] * part
