"""Moments when more cells become active together than chance gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Events
from calcium_helpers.containers._base import check_positive
from calcium_helpers.stats.shuffles import find_onsets

_STEPS = 5  # a window


class Synchrony(NamedTuple):
    """How many cells become active together, and when that is more than chance gives.

    ``times_s`` (T,) centres of a sliding window; ``n_active`` (T,) cells with an onset inside it; ``threshold`` count that
    shuffled events reach anywhere in the recording with a chance of at most ``alpha``; ``table`` (``onset_s, peak_s,
    offset_s, n_cells, share, p``) one row a synchronous event: when the count is at the threshold or above, cells at the peak,
    their share of all, chance that shuffled events reach as many anywhere; ``expected`` mean count of shuffled events.
    """

    times_s: np.ndarray
    n_active: np.ndarray
    threshold: float
    alpha: float
    table: pd.DataFrame
    expected: float


def find_synchrony(
    events: Events,
    *,
    ids: np.ndarray,
    duration_s: float,
    window_s: float = 0.5,
    alpha: float = 0.05,
    n_shuffles: int = 1000,
    seed: int = 0,
) -> Synchrony:
    """Find when more cells have an event within a window than in any window of shuffled events.

    Each cell's events are shifted circularly by an offset of its own, which keeps its rate and rhythm; the largest count of
    each shuffle makes the threshold, so that alpha is the chance of one false event or more in the whole recording (maximum
    statistic, Nichols and Holmes 2002, doi:10.1002/hbm.1058). Counts are whole numbers: the chance is at most alpha.

    Parameters
    ----------
    events : Events
        Events of these and, maybe, other cells.
    ids : ndarray of int, shape (N,)
        Cells to look at.
    duration_s : float
        Length of the recording, seconds.
    window_s : float
        Onsets within so many seconds are taken as together; it slides by a fifth of itself.
    alpha : float
        Chance of any false event.
    n_shuffles : int
        Shuffles; at least 1 / alpha - 1.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    Synchrony
        The table is empty where nothing stands out.

    Raises
    ------
    ValueError
        For an event outside the recording, and for a parameter outside its range.
    """
    check_positive("window_s", window_s, "seconds")
    if not 0 < alpha < 1 or (n_shuffles + 1) * alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1 and n_shuffles at least 1 / alpha - 1, got {alpha} and {n_shuffles}")
    ids = np.asarray(ids)
    row, onset = find_onsets(events, ids, duration_s)
    step_s = window_s / _STEPS
    n_steps = int(np.ceil(duration_s / step_s)) + _STEPS  # the end is that much longer: no window holds both ends
    start = (onset / step_s).astype(np.int64)
    # A cell counts once: its windows end where the next one begins.
    until = np.where(np.diff(row, append=-1) == 0, np.diff(start, append=0), _STEPS)
    length = np.minimum(until, _STEPS)
    n_active = _count(start, length, n_steps)
    rng = np.random.default_rng(seed)
    highest = np.empty(n_shuffles, dtype=np.int64)
    for k in range(n_shuffles):
        offsets = rng.integers(n_steps, size=len(ids))
        highest[k] = _count((start + offsets[row]) % n_steps, length, n_steps).max()
    highest.sort()
    threshold = int(highest[-int(alpha * (n_shuffles + 1) + 1e-9)]) + 1
    times = np.clip((np.arange(n_steps) + 1 - _STEPS / 2) * step_s, 0, duration_s)
    table = _find_runs(n_active, threshold, times)
    table["share"] = table["n_cells"] / max(len(ids), 1)
    table["p"] = (n_shuffles - np.searchsorted(highest, table["n_cells"]) + 1) / (n_shuffles + 1)
    return Synchrony(times, n_active, float(threshold), alpha, table, float(n_active.mean()))


def _count(start: np.ndarray, length: np.ndarray, n_steps: int) -> np.ndarray:
    """Cells active at each step of a circle, from where their stretches begin and how long they are."""
    end = start + length
    change = np.bincount(start, minlength=n_steps) - np.bincount(end % n_steps, minlength=n_steps)
    return np.cumsum(change) + np.count_nonzero(end >= n_steps)


def _find_runs(n_active: np.ndarray, threshold: int, times: np.ndarray) -> pd.DataFrame:
    """Stretches at the threshold or above; those less than a window apart are one."""
    above = np.flatnonzero(n_active >= threshold)
    runs = np.split(above, np.flatnonzero(np.diff(above) > _STEPS) + 1) if len(above) else []
    peaks = [run[0] + np.argmax(n_active[run[0] : run[-1] + 1]) for run in runs]
    columns = {"onset_s": [run[0] for run in runs], "peak_s": peaks, "offset_s": [run[-1] for run in runs]}
    table = pd.DataFrame({name: times[np.asarray(at, dtype=int)] for name, at in columns.items()})
    table["n_cells"] = n_active[np.asarray(peaks, dtype=int)]
    return table
