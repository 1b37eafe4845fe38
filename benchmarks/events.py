"""Events against the spikes that set them off: precision and recall by size of the burst, and false events in silence.

Recordings with electrophysiology are those of Rupprecht et al. 2021 (doi:10.1038/s41593-021-00895-5), found by
CALCIUM_DATA_DIR, at their own rate or averaged to 25 Hz; without it only simulated cells are scored. Kinetics are found from
each trace by deconvolution, as the pipeline does; defaults otherwise. The length of the window was chosen with DS09, DS14 and
DS30 in view (marked "development"), the others were first scored after that.
Spikes less than 0.2 s apart are one burst. An event is true when a spike lies within 0.25 s (at least two frames) of its onset
or of the frames from there to its peak; a burst is found when an event lies so. Silence begins
three decay times and 0.3 s after a spike; what is false there includes light of other cells and dendrites.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from _table import write_table
from deconvolution import simulated
from scipy.io import loadmat

from calcium_helpers.containers import Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.events import detect_events

COMMAND = "python benchmarks/events.py"
DEVELOPMENT = ("DS09", "DS14", "DS30")
SIZES = (1, 2, 3, 4, 5)
GAP_S, WITHIN_S = 0.2, 0.25


class Score:
    """Counts over the sweeps of one set."""

    def __init__(self) -> None:
        self.bursts, self.found = dict.fromkeys(SIZES, 0), dict.fromkeys(SIZES, 0)
        self.true = self.events = self.in_silence = 0
        self.silent_min = 0.0

    def add(self, dff: Traces, spikes_s: np.ndarray) -> None:
        """Score one sweep; spikes in seconds from its first frame."""
        fitted = deconvolve(dff)
        events = detect_events(dff, decay_s=fitted.decay_s, rise_s=fitted.rise_s).table
        within = max(WITHIN_S, 2 / dff.fs)
        first, last = events["onset_s"].to_numpy() - within, np.maximum(events["onset_s"] + within, events["peak_s"]).to_numpy()
        hits = np.array([((spikes_s >= a) & (spikes_s <= b)).any() for a, b in zip(first, last, strict=True)], dtype=bool)
        self.events += len(events)
        self.true += int(hits.sum())
        for burst in np.split(spikes_s, np.flatnonzero(np.diff(spikes_s) > GAP_S) + 1):
            if len(burst):
                size = min(len(burst), SIZES[-1])
                self.bursts[size] += 1
                self.found[size] += bool(((first <= burst[-1]) & (last >= burst[0])).any())
        silent = np.ones(dff.n_frames, dtype=bool)
        for spike in spikes_s:
            silent[int(max(0, spike - within) * dff.fs) : int((spike + 0.3 + 3 * fitted.decay_s) * dff.fs) + 1] = False
        self.silent_min += silent.sum() / dff.fs / 60
        frames = np.minimum((events["onset_s"] * dff.fs).to_numpy().astype(int), dff.n_frames - 1)
        self.in_silence += int((silent[frames] & ~hits).sum())

    def row(self, name: str) -> dict:
        """Return the row of the table."""
        row: dict = {"cells": name, "events": self.events, "precision": f"{self.true / max(self.events, 1):.2f}"}
        row |= {
            f"recall, {size}{' or more' if size == SIZES[-1] else ''} spike{'s' if size > 1 else ''}": (
                f"{self.found[size] / self.bursts[size]:.2f} ({self.bursts[size]})" if self.bursts[size] else ""
            )
            for size in SIZES
        }
        false = f"{self.in_silence / self.silent_min:.2f}" if self.silent_min >= 2 else ""
        return row | {"silent, min": f"{self.silent_min:.0f}", "false in silence, 1/min": false}


def real(folder: Path, score: Score) -> None:
    """Score all sweeps of a set."""
    for path in sorted(folder.glob("*.mat")):
        for sweep in np.atleast_1d(loadmat(path, squeeze_me=True, struct_as_record=False)["CAttached"]):
            if not hasattr(sweep, "fluo_time"):
                continue
            dff, spikes = resample(sweep)
            if dff is not None:
                score.add(dff, spikes)


def resample(sweep: object) -> tuple[Traces | None, np.ndarray]:
    """Fluorescence at its own rate or 25 Hz, whichever is lower, and spikes in seconds from the first frame."""
    times, values = np.ravel(sweep.fluo_time).astype(float), np.ravel(sweep.fluo_mean).astype(float)
    n = min(len(times), len(values))
    good = np.isfinite(times[:n]) & np.isfinite(values[:n])
    times, values = times[:n][good], values[:n][good]
    if len(times) < 100:
        return None, np.zeros(0)
    fs = min(25.0, 1 / float(np.median(np.diff(times))))
    edges = np.arange(times[0], times[-1], 1 / fs)
    count, total = np.histogram(times, edges)[0], np.histogram(times, edges, weights=values)[0]
    between = np.interp((edges[:-1] + edges[1:]) / 2, times, values)
    spikes = np.sort(np.ravel(sweep.events_AP)) / 1e4
    spikes = spikes[(spikes >= times[0]) & (spikes < edges[-1])] - times[0]
    return Traces(np.divide(total, count, out=between, where=count > 0)[None], fs, "dff"), spikes


def main() -> None:
    rows = []
    score = Score()
    for _, dff, truth in simulated():
        for i in range(len(dff)):
            one = np.array([i])
            frames = np.repeat(np.arange(truth.n_frames), truth.values[i].astype(int))
            score.add(dff.select(one), (frames + 0.5) / truth.fs)
    rows.append(score.row("simulated (anchor_2p, noise .15)"))
    root = os.environ.get("CALCIUM_DATA_DIR")
    for folder in sorted(Path(root, "spikes").iterdir()) if root else []:
        score = Score()
        real(folder, score)
        name, indicator = folder.name.replace("R-CaMP", "R\u2011CaMP").split("-")[:2]
        rows.append(score.row(f"{indicator} ({name}{', development' if name in DEVELOPMENT else ''})"))
        print(rows[-1], flush=True)
    write_table("events", rows, COMMAND)


if __name__ == "__main__":
    main()
