"""Known spikes beside fluorescence: one grid for both, noise in standard units, windows, families, bursts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from calcium_helpers.containers._base import check_positive
from calcium_helpers.io.ground_truth import GroundTruth

FAMILIES = (
    ("DS06", "DS07", "DS08"),
    ("DS10", "DS11", "DS13"),
    ("DS09", "DS14"),
    ("DS20", "DS21"),
    ("DS24", "DS25", "DS27"),
    ("DS30", "DS32"),
    ("DS02",),
    ("DS03",),
    ("DS19",),
    ("DS40",),
)
"""Data sets of one laboratory and preparation: never on both sides of a split."""

FOLDS = (
    ("DS10", "DS11", "DS13"),
    ("DS24", "DS25", "DS27", "DS03"),
    ("DS06", "DS07", "DS08", "DS02"),
    ("DS20", "DS21", "DS40"),
    ("DS09", "DS14", "DS30", "DS32", "DS19"),
)
"""Families in five groups; 74, 42, 43, 41 and 40 cells."""

DEVELOPMENT = ("DS09", "DS14", "DS25")
"""Architecture and length of training are chosen on these alone."""

# Bins end this share of a bin after a sample, so that times rounded in the file do not move samples from bin to bin.
_SLACK = 0.05


class Sampled(NamedTuple):
    """Fluorescence and spikes of one sweep on one regular grid.

    Attributes
    ----------
    dff : ndarray, shape (T,), float32
        Mean of the recording's samples in each bin.
    spikes : ndarray, shape (T,), float32
        Number of spikes in each bin.
    fs : float
        Bins per second, Hz.
    times_s : ndarray, shape (T,), float64
        End of each bin, seconds: a bin holds nothing later.
    valid : ndarray, shape (T,), bool
        False in gaps of the recording, where ``dff`` repeats the last earlier sample.
    """

    dff: np.ndarray
    spikes: np.ndarray
    fs: float
    times_s: np.ndarray
    valid: np.ndarray


def resample(recording: GroundTruth, *, fs: float | None = None) -> Sampled:
    """Bring a recording and its spikes onto one regular grid without looking ahead.

    Parameters
    ----------
    recording : GroundTruth
        One sweep.
    fs : float, optional
        Bins per second, Hz; by default the recording's own rate.

    Returns
    -------
    Sampled
        T bins; where ``fs`` is above the recording's rate, each sample is held until the next.

    Raises
    ------
    ValueError
        Unless ``fs`` is finite and above 0.
    """
    fs = recording.fs if fs is None else float(fs)
    check_positive("fs", fs, "Hz")
    times = recording.times_s
    start = times[0] - (1 - _SLACK) / max(recording.fs, fs)
    n = max(int((times[-1] - start) * fs + 2 * _SLACK), 1)
    edges = start + np.arange(n + 1) / fs
    # Bins are open on the left, closed on the right.
    upto = np.searchsorted(times, edges, side="right")
    count = np.diff(upto)
    last = np.maximum(upto[1:] - 1, 0)
    total = np.concatenate([[0.0], np.cumsum(recording.dff, dtype=np.float64)])
    dff = np.divide(np.diff(total[upto]), count, out=recording.dff[last].astype(np.float64), where=count > 0)
    valid = (count > 0) | (edges[1:] - times[last] < 1.5 / min(recording.fs, fs))
    spikes = np.diff(np.searchsorted(recording.spikes_s, edges, side="right"))
    return Sampled(dff.astype(np.float32), spikes.astype(np.float32), fs, edges[1:], valid)


def estimate_noise_level(dff: np.ndarray, *, fs: float) -> np.ndarray:
    """Noise of fluorescence in standard units, which makes recordings of different rates comparable.

    The median absolute difference of neighbouring samples over the root of the rate (Rupprecht et al. 2021,
    doi:10.1038/s41593-021-00895-5). Measure it at the recording's own rate: samples that are held make it too small.

    Parameters
    ----------
    dff : ndarray, shape (..., T)
        dF/F as a fraction; NaN are left out.
    fs : float
        Samples per second, Hz.

    Returns
    -------
    ndarray, shape (...)
        % / sqrt(Hz); 0 with fewer than two samples.
    """
    check_positive("fs", fs, "Hz")
    steps = np.abs(np.diff(np.asarray(dff, dtype=np.float64), axis=-1))
    if not steps.shape[-1]:
        return np.zeros(steps.shape[:-1])
    return np.nan_to_num(100 * np.nanmedian(steps, axis=-1) / np.sqrt(fs))


class Windows(NamedTuple):
    """Pieces of equal length of many sweeps.

    Attributes
    ----------
    dff, spikes : ndarray, shape (N, L), float32
        Fluorescence and number of spikes of each bin.
    sweep : ndarray, shape (N,), int
        Which of the sweeps a window is of.
    start : ndarray, shape (N,), int
        Its first bin there.
    """

    dff: np.ndarray
    spikes: np.ndarray
    sweep: np.ndarray
    start: np.ndarray


def cut_windows(sweeps: Sequence[Sampled], *, length: int, step: int | None = None) -> Windows:
    """Cut sweeps into windows with their spikes; windows with a gap and sweeps shorter than one are left out.

    Parameters
    ----------
    sweeps : sequence of Sampled
        Of one rate.
    length : int
        Bins of a window.
    step : int, optional
        Bins from the start of a window to the next; by default ``length``: windows side by side.

    Returns
    -------
    Windows
        N windows, in the order of the sweeps.

    Raises
    ------
    ValueError
        When ``length`` or ``step`` is below 1, or the sweeps differ in rate.
    """
    _check_one_rate(sweeps)
    step = length if step is None else step
    if length < 1 or step < 1:
        raise ValueError(f"length and step must be at least 1 bin, got {length} and {step}")
    places = [
        (i, start)
        for i, sweep in enumerate(sweeps)
        for start in range(0, len(sweep.dff) - length + 1, step)
        if sweep.valid[start : start + length].all()
    ]
    which, start = np.array(places, dtype=int).reshape(-1, 2).T
    dff, spikes = (
        np.array([getattr(sweeps[i], name)[j : j + length] for i, j in places], dtype=np.float32).reshape(-1, length)
        for name in ("dff", "spikes")
    )
    return Windows(dff, spikes, which, start)


class Bursts(NamedTuple):
    """Fluorescence around isolated bursts, and in silence.

    Attributes
    ----------
    times_s : ndarray, shape (W,), float64
        Time from the bin of the first spike, seconds.
    dff : ndarray, shape (N, W), float32
        Fluorescence less its mean before the burst.
    size : ndarray, shape (N,), int
        Spikes of the burst; 0 for silence.
    sweep : ndarray, shape (N,), int
        Which of the sweeps it is of.
    """

    times_s: np.ndarray
    dff: np.ndarray
    size: np.ndarray
    sweep: np.ndarray


def measure_bursts(
    sweeps: Sequence[Sampled], *, before_s: float = 0.5, after_s: float = 2.0, burst_s: float = 0.2, quiet_s: float = 2.0
) -> Bursts:
    """Cut out the fluorescence around each burst of spikes that stands alone, and around silence.

    Parameters
    ----------
    sweeps : sequence of Sampled
        Real or generated, of one rate; not below some 10 Hz, else a burst is shorter than a bin.
    before_s, after_s : float
        What is cut out before and after the first spike, seconds.
    burst_s : float
        All spikes of a burst fall into this time from the first, seconds; none follows until ``after_s``.
    quiet_s : float
        No spike for this long before the first, seconds; at least ``before_s``.

    Returns
    -------
    Bursts
        N pieces; those of silence (no spike from ``quiet_s`` before to ``after_s`` after) do not overlap.

    Raises
    ------
    ValueError
        When a time is not above 0 or they contradict each other, or the sweeps differ in rate.
    """
    if not 0 < before_s <= quiet_s or not 0 < burst_s <= after_s:
        got = f"before_s={before_s}, quiet_s={quiet_s}, burst_s={burst_s}, after_s={after_s}"
        raise ValueError(f"0 < before_s <= quiet_s and 0 < burst_s <= after_s are needed, got {got}")
    fs = _check_one_rate(sweeps)
    before, after, burst, quiet = (max(round(duration * fs), 1) for duration in (before_s, after_s, burst_s, quiet_s))
    pieces: list[np.ndarray] = []
    found: list[tuple[int, int]] = []
    for i, sweep in enumerate(sweeps):
        spikes, gaps = (np.concatenate([[0], np.cumsum(row)]) for row in (sweep.spikes, ~sweep.valid))
        starts = np.arange(quiet, len(sweep.dff) - after + 1)
        starts = starts[(spikes[starts] == spikes[starts - quiet]) & (gaps[starts + after] == gaps[starts - before])]
        starts = starts[spikes[starts + burst] == spikes[starts + after]]
        size = (spikes[starts + burst] - spikes[starts]).astype(int)
        silent = _apart(starts[size == 0], before + after)
        for start in (*silent, *starts[(size > 0) & (sweep.spikes[starts] > 0)]):
            piece = sweep.dff[start - before : start + after]
            pieces.append(piece - piece[:before].mean())
            found.append((int(spikes[start + burst] - spikes[start]), i))
    size, which = np.array(found, dtype=int).reshape(-1, 2).T
    cut = np.array(pieces, dtype=np.float32).reshape(-1, before + after)
    return Bursts(np.arange(-before, after) / fs, cut, size, which)


def _apart(starts: np.ndarray, least: int) -> list[int]:
    """Pick starts from the first on that are at least so many bins apart."""
    picked: list[int] = []
    for start in starts:
        if not picked or start - picked[-1] >= least:
            picked.append(int(start))
    return picked


def _check_one_rate(sweeps: Sequence[Sampled]) -> float:
    """Return the rate that the sweeps share, 1 Hz for none."""
    rates = {sweep.fs for sweep in sweeps}
    if len(rates) > 1:
        raise ValueError(f"sweeps must have one rate, got {min(rates):g} to {max(rates):g} Hz: resample them to one fs")
    return rates.pop() if rates else 1.0
