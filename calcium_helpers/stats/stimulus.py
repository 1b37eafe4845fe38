"""What cells do around a stimulus: averages over trials, and whether that is more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import t

from calcium_helpers.containers import Traces
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.text_rows import read_text_rows
from calcium_helpers.noise import check_finite
from calcium_helpers.stats.compare import adjust

TIME_NAMES = ("onset_s", "time_s", "start_s", "onset", "time", "start")
LABEL_NAMES = ("label", "stimulus", "trial_type", "condition", "name", "type")
UNITS = {"raw": "counts", "neuropil": "counts", "dff": "dF/F", "spikes": "dF/F a frame", "denoised": "unit of the traces"}

CHUNK_SAMPLES = 2**23
SPEED_RANGE = 0.3


class Alignment(NamedTuple):
    """Traces around stimuli, in the unit of the traces.

    ``mean``, ``low``, ``high`` (N, K, L) are averages over the trials of each label, each trial less its mean before the
    stimulus, and the interval of that average at each of the times ``times_s`` (L,), 0 = stimulus. ``responses`` has one row
    a cell and label: ``roi, label, n_trials, unit, response, low, high, p, q, significant``.
    """

    times_s: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    labels: tuple[str, ...]
    responses: pd.DataFrame
    ids: np.ndarray


def read_stimuli(path: str | Path) -> pd.DataFrame:
    """Read the times of stimuli from a table (CSV, semicolons and tabs too).

    Parameters
    ----------
    path : str or Path
        Needed is a column of seconds from the first frame on: onset_s, time_s, start_s, onset, time or start. A column label
        (or stimulus, trial_type, condition, name, type) says which stimulus it was. Other columns are left aside.

    Returns
    -------
    DataFrame
        ``onset_s``, ``label`` in order of time; all are called "stimulus" where the file has no labels.

    Raises
    ------
    MovieFileError
        Naming file, line and column of what cannot be read.
    """
    path = Path(path)
    columns, rows = read_text_rows(path)
    time, label = (next((name for name in names if name in columns), None) for names in (TIME_NAMES, LABEL_NAMES))
    if time is None:
        problem = f"has the columns {', '.join(columns) or 'none'}, and none of them is a time"
        raise MovieFileError(path, problem, f"Name the one with seconds from the first frame on {TIME_NAMES[0]}")
    found = []
    for number, row in rows:
        try:
            onset = float(row.get(time, ""))
        except ValueError:
            onset = np.nan
        if not np.isfinite(onset):
            problem = f"line {number}, column {time}: expected seconds, got {row.get(time, '')!r}"
            raise MovieFileError(path, problem, "Correct or delete that line")
        if label is not None and label not in row:
            raise MovieFileError(path, f"line {number}, column {label}: is empty", "Name the stimulus, or delete the column")
        found.append((onset, "stimulus" if label is None else row[label]))
    if not found:
        raise MovieFileError(path, "names no stimulus", "Expected one a line below the names of the columns")
    return pd.DataFrame(found, columns=["onset_s", "label"]).sort_values("onset_s", kind="stable", ignore_index=True)


def align_to_stimuli(
    traces: Traces, stimuli: pd.DataFrame, *, before_s: float = 2.0, after_s: float = 4.0, alpha: float = 0.05,
    confidence: float = 0.95, n_shuffles: int = 1000, seed: int = 0,
) -> Alignment:  # fmt: skip
    """Average traces around stimuli, and test whether cells respond.

    The response of a trial is the mean over ``after_s`` less the mean over ``before_s``; t is their mean over trials in units
    of its standard error. What chance gives is seen with the same train of stimuli started elsewhere in the recording
    (circularly) and run somewhat faster or slower, so that it slips by one interval between stimuli or more: started
    elsewhere alone, a regular train meets the responses again one interval later, and hides them. Tails are those of all
    cells' shifted trains together. A cell with a rhythm of its own at the pace of a regular train cannot be told from one
    that responds.

    Parameters
    ----------
    traces : Traces
        N traces of T frames, finite; of any kind, the unit follows.
    stimuli : DataFrame
        As from `read_stimuli`: ``onset_s`` from the first frame on, ``label`` (may be missing).
    before_s, after_s : float
        Windows before and from the stimulus on, seconds, rounded to frames, at least one. Trials that do not fit into the
        recording are left out.
    alpha : float
        Share of false ones among the responses called significant (Benjamini-Hochberg over cells and labels).
    confidence : float
        Of the intervals, from Student's t over trials.
    n_shuffles : int
        Shifted trains a label.
    seed : int
        Of the shifts.

    Returns
    -------
    Alignment
        NaN in the place of averages over no trial, intervals of one trial, and p of fewer than three.

    Raises
    ------
    ValueError
        For traces that are not finite, windows or shares out of range, and stimuli of which none is in the recording.
    """
    check_finite(traces)
    _check(traces, stimuli, before_s=before_s, after_s=after_s, alpha=alpha, confidence=confidence)
    n_before, n_after = (max(1, round(length * traces.fs)) for length in (before_s, after_s))
    names = stimuli["label"].astype(str) if "label" in stimuli else pd.Series("stimulus", index=stimuli.index)
    labels, rng = tuple(dict.fromkeys(names)), np.random.default_rng(seed)
    steps = np.arange(-n_before, n_after)
    shape = (len(traces), len(labels), len(steps))
    mean, low, high = (np.full(shape, np.nan, np.float32) for _ in range(3))
    tables = []
    for k, label in enumerate(labels):
        onsets_s = stimuli["onset_s"].to_numpy(dtype=float)[names == label]
        frames = np.rint(onsets_s * traces.fs).astype(np.int64)
        frames = frames[(frames >= n_before) & (frames + n_after <= traces.n_frames)]
        for rows in _chunks(len(traces), len(frames) * len(steps)):
            trials = traces.values[rows][:, frames[:, None] + steps]
            trials = trials - trials[:, :, :n_before].mean(axis=2, keepdims=True, dtype=np.float64)
            mean[rows, k], low[rows, k], high[rows, k] = _average(trials, confidence)
        trains = _shifted_trains(frames, traces.n_frames, (n_before, n_after), n_shuffles, rng)
        tables.append(_respond(traces, frames, trains, (n_before, n_after), confidence).assign(label=label))
    responses = pd.concat(tables, ignore_index=True).assign(unit=UNITS[traces.kind])
    responses["q"] = adjust(responses["p"].to_numpy())
    responses["significant"] = responses["q"] <= alpha
    columns = ["roi", "label", "n_trials", "unit", "response", "low", "high", "p", "q", "significant"]
    return Alignment(steps / traces.fs, mean, low, high, labels, responses[columns], traces.ids)


def _check(traces: Traces, stimuli: pd.DataFrame, **ranges: float) -> None:
    """Say what is wrong with the arguments."""
    if "onset_s" not in stimuli:
        raise ValueError(f"stimuli must have a column onset_s, got {list(map(str, stimuli.columns))}")
    for name, value in ranges.items():
        if not 0 < value < (np.inf if name.endswith("_s") else 1):
            raise ValueError(f"{name} must be above 0{'' if name.endswith('_s') else ' and below 1'}, got {value!r}")
    onsets_s, duration_s = stimuli["onset_s"].to_numpy(dtype=float), traces.n_frames / traces.fs
    if not ((onsets_s >= 0) & (onsets_s < duration_s)).any():
        what = f"{onsets_s.min():g} to {onsets_s.max():g} s" if len(onsets_s) else "none"
        raise ValueError(
            f"stimuli must be in the recording of {duration_s:g} s, got {what}; onset_s are seconds from the first frame on"
        )


def _chunks(n_rows: int, samples_a_row: int) -> list[slice]:
    """Cut rows so that each piece stays in memory."""
    step = max(1, CHUNK_SAMPLES // max(1, samples_a_row))
    return [slice(start, start + step) for start in range(0, n_rows, step)]


def _average(trials: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average over axis 1 with its interval; NaN where there are too few."""
    n = trials.shape[1]
    mean = trials.mean(axis=1) if n else np.full_like(trials, np.nan, shape=np.delete(trials.shape, 1))
    half = t.ppf((1 + confidence) / 2, n - 1) * trials.std(axis=1, ddof=1) / n**0.5 if n > 1 else np.nan
    return mean, mean - half, mean + half


def _shifted_trains(
    frames: np.ndarray, n_frames: int, window: tuple[int, int], n_shuffles: int, rng: np.random.Generator
) -> sparse.csr_array:
    """Count where shifted trains have their stimuli, shape (n_shuffles, T); what does not fit is left out."""
    least = 1 / max(len(frames) - 1, 1)  # so much faster or slower the train slips by one of its intervals
    speed = np.exp(rng.choice([-1, 1], n_shuffles) * rng.uniform(least, least + SPEED_RANGE, n_shuffles))
    since = np.floor((frames - frames[:1]) * speed[:, None]).astype(np.int64)
    moved = (since + rng.integers(max(n_frames, 1), size=n_shuffles)[:, None]) % max(n_frames, 1)
    train = np.repeat(np.arange(n_shuffles), len(frames)).reshape(moved.shape)
    fits = (moved >= window[0]) & (moved + window[1] <= n_frames)
    return sparse.csr_array((np.ones(fits.sum()), (train[fits], moved[fits])), shape=(n_shuffles, n_frames))


def _respond(
    traces: Traces, frames: np.ndarray, trains: sparse.csr_array, window: tuple[int, int], confidence: float
) -> pd.DataFrame:
    """Measure and test the responses to one label."""
    (before, after), n_cells = window, len(traces)
    response, low, high, score = np.full((4, n_cells), np.nan)
    null = np.zeros((n_cells, trains.shape[0]))
    for rows in _chunks(n_cells, traces.n_frames) if len(frames) else []:
        values = traces.values[rows] - np.median(traces.values[rows], axis=1, keepdims=True).astype(np.float64)
        total = np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))
        step = np.zeros((len(total), traces.n_frames))  # at each frame, the response if a stimulus were there
        inside = slice(before, traces.n_frames - after + 1)
        middle = total[:, inside]
        step[:, inside] = (total[:, before + after :] - middle) / after - (middle - total[:, : -before - after]) / before
        response[rows], low[rows], high[rows] = _average(step[:, frames], confidence)
        null[rows] = _size(trains @ step.T, trains @ (step**2).T, trains.sum(axis=1)[:, None]).T
        own = step[:, frames]
        score[rows] = _size(own.sum(axis=1), (own**2).sum(axis=1), len(frames))
    pool = np.sort(null, axis=None)
    larger = len(pool) - np.searchsorted(pool, score * (1 - 1e-9))
    p = (1 + larger) / (1 + len(pool)) if len(frames) > 2 else np.nan
    return pd.DataFrame({"roi": traces.ids, "n_trials": len(frames), "response": response, "low": low, "high": high, "p": p})


def _size(total: np.ndarray, squares: np.ndarray, n: np.ndarray | float) -> np.ndarray:
    """Size of means over ``n`` trials in units of their standard errors, from sums; 0 where these are 0 or ``n`` is 1."""
    spread = np.maximum(squares - total**2 / np.maximum(n, 1), 1e-12 * squares) * n / np.maximum(n - 1, 1)
    return np.divide(np.abs(total), np.sqrt(spread), out=np.zeros_like(total), where=(spread > 0) & (n > 1))
