"""Programs on movies with truth, run, scored and kept: what the tables of every way to find cells have in common.

Detection, of ours, runs on the movie as our motion correction leaves it, made once for all of them; suite2p starts from the raw
movie. What a program scored on a movie is kept, where a folder is named for it, so that a later run adds only what is missing.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from extraction import PEER, find_peer, score

from calcium_helpers import metrics, motion
from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.results import Detection, Simulation

NEAR_PX = 5.0
MOTION = {"2p": motion.TWO_PHOTON, "1p": motion.ONE_PHOTON}
# The names of ``extraction.score`` are those of a whole pipeline; here the detector's own traces are scored.
NAMES = {"F1": "F1, IoU 0.5", "dF/F, all": "traces, all", "dF/F, matched": "traces, matched"}

Scores = dict[str, Any]
Scorer = Callable[[Footprints, Traces, Traces | None, Traces, Simulation], Scores]
Found = dict[tuple[str, str], list[Scores]]


class Field:
    """One movie with its truth, simulated and registered when somebody first asks for it."""

    def __init__(self, modality: str, column: str, seed: int, make: Callable[[int], Simulation]) -> None:
        self.modality, self.column, self.seed, self.make = modality, column, seed, make

    @functools.cached_property
    def truth(self) -> Simulation:
        """The simulation."""
        return self.make(self.seed)

    @functools.cached_property
    def registered(self) -> motion.Registration:
        """The movie after our motion correction."""
        return motion.register(self.truth.movie, config=MOTION[self.modality])


def score_cells(footprints: Footprints, traces: Traces, denoised: Traces | None, spikes: Traces, truth: Simulation) -> Scores:
    """Scores of ``extraction.score`` by the names of a detector."""
    return {NAMES.get(name, name): value for name, value in score(footprints, traces, denoised, spikes, truth).items()}


def are_cells(components: Footprints, truth: Footprints) -> np.ndarray:
    """Which components are a cell, one to one: by IoU of 0.5 or, of what is left, by centroids within 5 px."""
    true = np.zeros(len(components), dtype=bool)
    pairs = metrics.match_footprints(components, truth).pairs
    true[pairs[:, 0]] = True
    rest, left = np.flatnonzero(~true), np.setdiff1d(np.arange(len(truth)), pairs[:, 1])
    near = metrics.match_points(components.centroids[rest], truth.centroids[left], max_distance_px=NEAR_PX)
    true[rest[near.pairs[:, 0]]] = True
    return true


def run_detector(detect: Callable[..., Detection], field: Field, *, scorer: Scorer = score_cells) -> Scores:
    """Score what a detector accepts in the registered movie, and keep how sure it was of each component."""
    movie, shifts = field.registered
    start = time.perf_counter()
    found = detect(movie, valid=shifts.valid, bad_frames=shifts.bad_frames)
    seconds = time.perf_counter() - start
    cells = found.accepted()
    fitted = deconvolve(cells.traces, threads=1)
    scores = scorer(cells.footprints, cells.traces, fitted.denoised, fitted.spikes, field.truth) | {"seconds": seconds}
    if "denoised_traces" in found.extras:
        clean = found.extras["denoised_traces"].select(found.scores["accepted"].to_numpy(dtype=bool))
        matching = metrics.match_footprints(cells.footprints, field.truth.footprints)
        both = metrics.trace_correlation(clean, field.truth.calcium, matching)
        scores |= {"clean, all": both.all, "clean, matched": both.matched}
    if "confidence" in found.scores:
        scores["confidence"] = found.scores["confidence"].tolist()
        scores["is a cell"] = are_cells(found.footprints, field.truth.footprints).tolist()
    return scores


def run_suite2p(field: Field, *, scorer: Scorer = score_cells) -> Scores | None:
    """Score the better of suite2p's sets by F1; None where it is not installed."""
    sets = find_peer(field.modality, field.truth, threads=1)
    scored = [scorer(cells, traces, None, spikes, field.truth) for cells, traces, spikes in sets]
    return max(scored, key=lambda scores: scores["F1, IoU 0.5"], default=None)


@dataclass(frozen=True)
class Bench:
    """Runs programs on movies of the given seeds, suite2p on the first ones; keeps what they scored in ``folder``.

    What is kept of suite2p's later movies counts as well.
    """

    modality: str
    columns: Mapping[str, Callable[[int], Simulation]]
    programs: Mapping[str, Callable[[Field], Scores | None]]
    seeds: list[int]
    peer_movies: int
    folder: Path | None

    def rows(self, programs: tuple[str, ...], columns: tuple[str, ...]) -> Found:
        """Scores of each movie by column and program, those that are not kept computed and printed as they come."""
        found: Found = {(column, name): [] for column in columns for name in programs}
        for column in columns:
            for count, seed in enumerate(self.seeds):
                field = Field(self.modality, column, seed, self.columns[column])
                for name in programs:
                    kept = self._path(name, field)
                    wanted = name != PEER or count < self.peer_movies or (kept and kept.exists())
                    if wanted and (scores := self._scores(name, field)) is not None:
                        found[column, name].append(scores)
        return {key: scores for key, scores in found.items() if scores}

    def _path(self, name: str, field: Field) -> Path | None:
        return self.folder and self.folder / f"{field.column}, {field.seed}, {name.replace('/', ' ')}.json"

    def _scores(self, name: str, field: Field) -> Scores | None:
        """Read what was kept, or run the program."""
        path = self._path(name, field)
        if path and path.exists():
            return dict(json.loads(path.read_text()))
        scores = self.programs[name](field)
        if scores is not None:
            shown = {key: round(value, 3) for key, value in scores.items() if isinstance(value, float)}
            print(field.column, field.seed, name, shown, flush=True)
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                part.write_text(json.dumps(scores))
                part.replace(path)
        return scores


def add_options(parser: argparse.ArgumentParser, programs: Iterable[str], columns: Iterable[str]) -> None:
    """Options of a script that has a bench."""
    columns = tuple(columns)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--peer-movies", type=int, default=2, help="movies of each column for suite2p")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the scores of each movie, and read what is there")
    parser.add_argument("--programs", nargs="*", choices=tuple(programs), help="only measure and keep these; writes no table")
    parser.add_argument("--columns", nargs="*", choices=columns, default=columns, help="of --programs")


def mean_sd(found: list[Scores], name: str) -> str:
    """Mean and sd over movies; empty where the program has no such score."""
    values = [scores[name] for scores in found if name in scores and np.isfinite(scores[name])]
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}" if values else ""


def tabulate(found: Found, names: tuple[str, ...]) -> list[dict[str, str]]:
    """One row a column of movies and program."""
    return [
        {"data": column, "program": name, **{key: mean_sd(scores, key) for key in names}, "movies": str(len(scores))}
        for (column, name), scores in found.items()
    ]
