"""The numbers and warnings of a run's summary that are over accepted cells: counted anew when cells are decided otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter1d

from calcium_helpers.containers import Traces
from calcium_helpers.noise import estimate_noise

DIP_WINDOW_S, DIP_NOISES = 0.5, 5.0


def summarise_cells(cells: pd.DataFrame, dff: Traces, spikes: Traces, *, in_hz: bool) -> dict[str, Any]:
    """Count and average over the accepted cells; None where there is nothing to average.

    Parameters
    ----------
    cells : DataFrame
        One row a trace: ``accepted``, and where they are known ``snr``, ``confidence`` and, of a denoised movie,
        ``noise_before`` and ``share_removed``.
    dff : Traces
        Fractions; a trace with NaN has no noise.
    spikes : Traces
        Of the same cells.
    in_hz : bool
        Spikes are rates; otherwise a frame has one or has none.

    Returns
    -------
    dict
        As in ``Results.summary``.
    """
    accepted = cells["accepted"].to_numpy(dtype=bool)
    n_accepted = int(accepted.sum())
    noise = _median(estimate_noise(dff.select(accepted & np.isfinite(dff.values).all(axis=1))))
    denoising = _denoising(cells[accepted])
    if denoising is not None:  # what is left is not white, and that estimate would be far too low
        noise = denoising["median_noise_before"] * max(1 - denoising["share_removed"], 0) ** 0.5
    values = spikes.select(accepted).values
    per_frame = values / spikes.fs if in_hz else values > 0
    minutes = spikes.n_frames / spikes.fs / 60
    return {
        "n_components": len(cells), "n_accepted": n_accepted, "n_rejected": len(cells) - n_accepted,
        **{f"median_{name}": _median(cells[name][accepted]) if name in cells else None for name in ("snr", "confidence")},
        "median_noise": noise, "denoising": denoising,
        "mean_rate": float(per_frame.sum(axis=1).mean() / minutes) if n_accepted and minutes else None,
    }  # fmt: skip


def warn_of_cells(accepted: np.ndarray, dff: Traces) -> list[str]:
    """Say in words what is wrong with the accepted cells."""
    if not accepted.any():
        return ["no cell was accepted: the funnel says what was found and why it was left out"]
    if not len(dipping := find_dipping(dff.select(accepted))):
        return []
    ids = ", ".join(map(str, dipping[:10])) + (", ..." if len(dipping) > 10 else "")
    return [
        f"dF/F of {len(dipping)} accepted cells falls further below its median than it rises above (ids {ids}): too much "
        "neuropil taken out, motion, or an indicator that dims?"
    ]


def find_dipping(dff: Traces) -> np.ndarray:
    """Return the ids of traces that, over half a second, fall further below their median than they rise above, beyond noise."""
    if not dff.values.size:
        return dff.ids[:0]
    smooth = uniform_filter1d(dff.values.astype(np.float64), max(1, round(DIP_WINDOW_S * dff.fs)), axis=1)
    smooth -= np.median(smooth, axis=1, keepdims=True)
    noise = 1.4826 * np.median(np.abs(smooth), axis=1)
    dip = -smooth.min(axis=1)
    return dff.ids[(dip > smooth.max(axis=1)) & (dip > DIP_NOISES * noise)]


def _denoising(cells: pd.DataFrame) -> dict[str, Any] | None:
    """Median noise of dF/F without denoising, the share of its variance taken out, and how much lower it is."""
    if "share_removed" not in cells or not len(cells):
        return None
    before, share = (float(np.nanmedian(cells[name])) for name in ("noise_before", "share_removed"))
    return {"median_noise_before": before, "share_removed": share, "gain": (1 - share) ** -0.5 if share < 1 else None}


def _median(values: Any) -> float | None:
    """Median, None of nothing."""
    return float(np.median(values)) if len(values) else None
