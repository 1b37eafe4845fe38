"""The columns in which cells are scored: hybrids, a simulator out of the range in view, and the one that was in view.

Each entry makes a movie with its truth from a seed; the hybrids need CALCIUM_DATA_DIR. Not every true cell shows: cells of a
brain are often silent. So beside the F1 over all cells, score as on the real field: recall of the visible cells, precision
against all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from anchors import anchor_1p, anchor_2p
from hybrids import hybrid_1p, hybrid_2p
from out_of_range import out_of_range_1p, out_of_range_2p
from scipy import ndimage

from calcium_helpers.containers import Traces
from calcium_helpers.motion import apply_shifts
from calcium_helpers.noise import estimate_noise
from calcium_helpers.results import Simulation
from calcium_helpers.traces import extract_with_neuropil

VISIBLE_SNR = 5.0

COLUMNS_2P: dict[str, Callable[[int], Simulation]] = {
    "hybrid": hybrid_2p,
    "out of range": out_of_range_2p,
    "same simulator": anchor_2p,
}
COLUMNS_1P: dict[str, Callable[[int], Simulation]] = {
    "hybrid": hybrid_1p,
    "out of range": out_of_range_1p,
    "same simulator": anchor_1p,
}


def true_snr(simulation: Simulation) -> np.ndarray:
    """Height of each cell's largest true transient over the noise of its trace, shape (N,).

    The motion is undone and the surroundings are subtracted, so that glow counts neither as signal nor as noise. The
    transient is a mean over three frames; its height in counts is found by regressing the trace on the true calcium.
    """
    found = extract_with_neuropil(apply_shifts(simulation.movie, simulation.shifts), simulation.footprints)
    trace = found.raw.values - found.neuropil.values
    calcium = simulation.calcium.values - simulation.calcium.values.mean(axis=1, keepdims=True)
    power = (calcium**2).sum(axis=1)
    counts = np.divide((trace * calcium).sum(axis=1), power, out=np.zeros_like(power), where=power > 0)
    smooth = ndimage.uniform_filter1d(simulation.calcium.values, 3, axis=1)
    height = counts * (smooth.max(axis=1) - np.median(simulation.calcium.values, axis=1))
    noise = estimate_noise(Traces(trace, simulation.movie.fs, "raw"))
    return np.divide(height, noise, out=np.zeros_like(height), where=noise > 0)


def visible_cells(simulation: Simulation) -> np.ndarray:
    """Which true cells anybody would see in a trace drawn with the true footprint, bool (N,)."""
    return true_snr(simulation) > VISIBLE_SNR
