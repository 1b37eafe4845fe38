"""What finding cells costs: our detectors and suite2p on one motion-corrected movie, in turn, a few times."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from extraction import PEER, TAU_S
from peers import run_suite2p
from scaling import in_a_process

from calcium_helpers.containers import Movie

PEER_WHOLE = f"{PEER}, pipeline"
QUOTED = "quoted, scaled by suite2p's time"
STAGES = ("detection", "extraction")  # of suite2p's, which also classifies and infers spikes


class Run(NamedTuple):
    """Seconds, of the clock and of the processors where known, and peak memory of one run, GB."""

    program: str
    seconds: float
    processor_s: float | None
    gb: float | None


def to_counts(movie: Movie) -> np.ndarray:
    """Whole counts, as other programs want them, shape (T, H, W)."""
    return np.clip(np.rint(movie.frames()), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def time_programs(movie: Movie, raw: Movie, ours: dict[str, str], repeats: int, *, one_photon: bool) -> list[Run]:
    """Run our detectors (see ``scaling.detector``), by the names of their rows, and suite2p, in turn, a few times."""
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "movie.npy")
        np.save(path, movie.frames())
        for repeat in range(repeats + 1):  # the first compiles
            for name, what in ours.items():
                found: dict[str, Any] = in_a_process(what, path, Path(folder, "out"), movie.fs)
                if repeat:
                    runs.append(Run(name, found["seconds"], found["processor_s"], found["anon"]))
            runs += _run_suite2p(to_counts(movie), raw.data, movie.fs, one_photon=one_photon) if repeat else []
            print(runs[-len(ours) - 2 :], flush=True)
    return runs


def _run_suite2p(corrected: np.ndarray, raw: np.ndarray, fs: float, *, one_photon: bool) -> list[Run]:
    """Detect in the corrected movie; and the whole pipeline from the raw one, to which quoted times are scaled."""
    options = {"tau": TAU_S, "one_photon": one_photon, "warm_up": True}
    found = run_suite2p(corrected, fs, mode="extract", **options)
    whole = run_suite2p(raw, fs, mode="pipeline", **options)
    if found is None or whole is None:
        return []
    print("suite2p, s:", {name: round(seconds, 2) for name, seconds in whole.seconds.items()}, flush=True)
    seconds, total = sum(found.seconds[stage] for stage in STAGES), whole.seconds["total_plane_runtime"]
    return [Run(PEER, seconds, None, found.peak_mb / 1e3), Run(PEER_WHOLE, total, None, whole.peak_mb / 1e3)]


def shortest(runs: list[Run]) -> dict[str, Run]:
    """Take the shortest run of each program, in the order in which they ran."""
    best = {run.program: run for run in sorted(runs, key=lambda run: -run.seconds)}
    return {name: best[name] for name in dict.fromkeys(run.program for run in runs)}
