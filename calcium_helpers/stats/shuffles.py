"""What chance alone gives: traces without drift, circular shifts of them, and p-values of pairs from the shifted."""

from __future__ import annotations

import numpy as np

from calcium_helpers.containers import Events, Traces
from calcium_helpers.containers._base import check_ids, check_positive
from calcium_helpers.noise import check_finite

_ROWS_A_CHUNK = 256
_FLAT = 1e-6  # a trace whose standard deviation is less than this share of its largest value does not vary
_FEWEST_COSINES = 4  # taken out of a short recording: periods of half of it and longer
_SHORTEST_DRIFT = 16  # frames; fewer have no drift apart from activity
_POOL = 200_000  # shuffled pairs that the tail is read from
_MOST_SHUFFLES = 200
_PAIRS_A_STRATUM = 300
_TAIL = 100  # shuffled pairs that the tail beyond them is continued from


def standardise(traces: Traces, *, drift_s: float | None, bin_frames: int = 1) -> np.ndarray:
    """Remove drift, average over bins of frames and scale each trace to mean 0 and sum of squares 1.

    Drift is what a parabola and cosines describe, with periods of ``drift_s``, or half the recording, and longer: two
    slow courses are alike or not by chance alone, and no shift shows how often.

    Parameters
    ----------
    traces : Traces
        N traces of T frames; finite.
    drift_s : float or None
        Longest period that stays, seconds; None removes the mean alone.
    bin_frames : int
        Frames averaged to one sample; what is left at the end is dropped.

    Returns
    -------
    ndarray, shape (N, T // bin_frames), float32
        Rows of zeros where a trace does not vary.

    Raises
    ------
    ValueError
        For NaN or infinity, and for a ``drift_s`` that is not above 0.
    """
    check_finite(traces)
    if drift_s is not None:
        check_positive("drift_s", drift_s, "seconds")
    n_bins = traces.n_frames // bin_frames
    scaled = np.zeros((len(traces), n_bins), dtype=np.float32)
    slow = _slow_courses(traces.n_frames, traces.n_frames / traces.fs, drift_s)
    for start in range(0, len(traces) if n_bins else 0, _ROWS_A_CHUNK):
        values = traces.values[start : start + _ROWS_A_CHUNK].astype(np.float64)
        rest = values - values.mean(axis=1, keepdims=True)
        rest = (rest - (rest @ slow) @ slow.T)[:, : n_bins * bin_frames].reshape(len(values), n_bins, bin_frames).mean(axis=2)
        rest -= rest.mean(axis=1, keepdims=True)
        varies = rest.std(axis=1) > _FLAT * np.abs(values).max(axis=1)
        scaled[start : start + len(values)][varies] = (rest / np.linalg.norm(rest, axis=1, keepdims=True).clip(1e-300))[varies]
    return scaled


def _slow_courses(n_frames: int, duration_s: float, drift_s: float | None) -> np.ndarray:
    """Orthonormal courses (T, K): the mean and, for drift, slow cosines and a parabola, as bleaching ends where it will."""
    time = (np.arange(n_frames) + 0.5) / n_frames
    if drift_s is None or n_frames < _SHORTEST_DRIFT:
        return np.ones((n_frames, 1)) / np.sqrt(n_frames)
    cosines = np.cos(np.pi * time[:, None] * np.arange(1 + max(_FEWEST_COSINES, int(2 * duration_s / drift_s))))
    return np.linalg.qr(np.column_stack([cosines, time - 0.5, (time - 0.5) ** 2]))[0]


def shift_rows(rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Shift each row (N, T) circularly by its own offset (N,) in samples."""
    shifted = np.empty_like(rows)
    for row, offset, target in zip(rows, offsets, shifted, strict=True):
        target[offset:], target[:offset] = row[: len(row) - offset], row[len(row) - offset :]
    return shifted


def measure_power(rows: np.ndarray) -> np.ndarray:
    """Power spectra, shape (N, F), scaled: ``power @ power.T`` is the mean square of ``rows @ rows.T`` over all shifts."""
    n_samples = rows.shape[1]
    power = np.zeros((len(rows), n_samples // 2 + 1), dtype=np.float32)
    for start in range(0, len(rows) if n_samples else 0, _ROWS_A_CHUNK):
        power[start : start + _ROWS_A_CHUNK] = np.abs(np.fft.rfft(rows[start : start + _ROWS_A_CHUNK], axis=1)) ** 2
    twice = np.full(power.shape[1], np.sqrt(2))  # frequencies that stand for their negative too
    twice[0] = twice[-1] = 1
    if n_samples % 2 and len(twice) > 1:
        twice[-1] = np.sqrt(2)
    power *= (twice / max(n_samples, 1)).astype(np.float32)
    return power


def count_shuffles(n_pairs: int, n_shuffles: int | None) -> int:
    """Whole shuffles that a pool of shuffled pairs is made of; ``n_shuffles`` where it is given."""
    if n_shuffles is None:
        return int(np.clip(-(-_POOL // max(n_pairs, 1)), 1, _MOST_SHUFFLES))
    if n_shuffles < 1:
        raise ValueError(f"n_shuffles must be at least 1, got {n_shuffles}")
    return int(n_shuffles)


def estimate_p(z: np.ndarray, shuffled: np.ndarray, features: tuple[np.ndarray, ...]) -> np.ndarray:
    """Two-sided p of each pair from the pooled z of shuffled pairs that are like it.

    Pairs are pooled with those of similar features, which say how heavy the tails of a pair are without regard to how its
    two traces lie to each other. Beyond the last hundred of a pool the tail goes on as a power law (Hill 1975,
    doi:10.1214/aos/1176343247), which falls more slowly than that of any bounded statistic: such p are rather too large.

    Parameters
    ----------
    z : ndarray, shape (P,)
        Statistic of each pair over the standard deviation of its own null.
    shuffled : ndarray, shape (K, P)
        The same in K shuffles; NaN where a shuffle tells nothing of chance.
    features : tuple of ndarray, shape (P,)
        What pairs are grouped by: equal shares by the first, each of these in equal shares by the next.

    Returns
    -------
    ndarray, shape (P,)
        p, in (0, 1].
    """
    n_pairs = len(z)
    share = int(np.clip((n_pairs / _PAIRS_A_STRATUM) ** (1 / len(features)), 1, 5))
    stratum = np.zeros(n_pairs, dtype=np.int64)
    for depth, feature in enumerate(features, start=1):
        order = np.lexsort((feature, stratum))
        stratum[order] = np.arange(n_pairs) * share**depth // max(n_pairs, 1)
    p = np.ones(n_pairs)
    for own in (np.flatnonzero(stratum == k) for k in range(share ** len(features))):
        pool = np.abs(shuffled[:, own]).ravel()
        p[own] = _tail(np.sort(pool[np.isfinite(pool)]), np.abs(z[own]))
    return p


def _tail(pool: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Share of the sorted pool at or above z, continued as a power law beyond its last values."""
    n_top = min(_TAIL, len(pool) // 20)
    p = (len(pool) - np.searchsorted(pool, z * (1 - 1e-6)) + 1) / (len(pool) + 1)
    edge = pool[-n_top] if n_top else 0.0
    if edge > 0:
        slope = max(float(np.log(pool[-n_top:] / edge).mean()), 1e-2)
        beyond = z > edge
        p[beyond] = (n_top + 1) / (len(pool) + 1) * (z[beyond] / edge) ** (-1 / slope)
    return p


def find_onsets(events: Events, ids: np.ndarray, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows (in ``ids``) and onsets (s) of the events of these cells, sorted by row, then onset.

    Raises
    ------
    ValueError
        Unless ids are unique integers and each onset is between 0 and ``duration_s``.
    """
    check_positive("duration_s", duration_s, "seconds")
    ids = check_ids(ids, len(ids))
    table = events.table[events.table["roi"].isin(ids)]
    onset = table["onset_s"].to_numpy(dtype=float)
    outside = ~((onset >= 0) & (onset <= duration_s))
    if outside.any():
        raise ValueError(
            f"events must begin between 0 and duration_s = {duration_s} s, got {outside.sum()} outside, first at "
            f"{onset[outside][0]} s; give the duration of the recording"
        )
    by_id = np.argsort(ids)
    row = by_id[np.searchsorted(ids[by_id], table["roi"].to_numpy(dtype=np.int64))] if len(ids) else np.zeros(0, dtype=int)
    order = np.lexsort((onset, row))
    return row[order], onset[order]
