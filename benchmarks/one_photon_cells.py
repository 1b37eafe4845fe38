"""Cells in simulated and hybrid one-photon movies: learned coordinates beside the factorisation and suite2p.

Detection, of ours, runs on the movie as our motion correction leaves it, made once for all of them; suite2p starts from the raw
movie. What a program scored on a movie is kept, where a folder is named for it, so that a later run adds only what is missing.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from anchors import dense_1p, dim_1p
from columns import COLUMNS_1P
from extraction import PEER, find_peer, score

from calcium_helpers import metrics, motion
from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.models import cnmf
from calcium_helpers.results import Detection, Simulation

NEAR_PX = 5.0
N_BINS = 10
N_DRAWS = 20
COLUMNS: dict[str, Callable[[int], Simulation]] = {**COLUMNS_1P, "SNR halved": dim_1p, "density doubled": dense_1p}
SEEDS, RANDOM = "coordinates from seeds", "coordinates from random starts"
VARIANTS: dict[str, dict[str, Any]] = {
    RANDOM: {},
    "without repulsion": {"repulsion": 0.0},
    "K not adapted": {"n_rounds": 1},
    "not coarse to fine": {"blur_levels": (0.0,)},
}
ABLATED = ("same simulator", "density doubled", "out of range")
# The names of ``extraction.score`` are those of a whole pipeline; here the detector's own traces are scored.
NAMES = {"F1": "F1, IoU 0.5", "dF/F, all": "traces, all", "dF/F, matched": "traces, matched"}

Scores = dict[str, Any]


class Field:
    """One movie with its truth, simulated and registered when somebody first asks for it."""

    def __init__(self, column: str, seed: int) -> None:
        self.column, self.seed = column, seed

    @functools.cached_property
    def truth(self) -> Simulation:
        """The simulation."""
        return COLUMNS[self.column](self.seed)

    @functools.cached_property
    def registered(self) -> motion.Registration:
        """The movie after our motion correction."""
        return motion.register(self.truth.movie, config=motion.ONE_PHOTON)


def coordinates(seed: int = 0, **config: Any) -> Callable[..., Detection]:
    """Return a detector by learned coordinates."""
    from calcium_helpers.models import one_photon

    return functools.partial(one_photon.detect, config=one_photon.CoordinatesConfig(**config), seed=seed)


def score_cells(footprints: Footprints, traces: Traces, denoised: Traces | None, spikes: Traces, truth: Simulation) -> Scores:
    """Scores of ``extraction.score``, F1 by centroids within 5 px, and the measure that was published for learned points."""
    scores = {NAMES.get(name, name): value for name, value in score(footprints, traces, denoised, spikes, truth).items()}
    near = metrics.match_points(footprints.centroids, truth.footprints.centroids, max_distance_px=NEAR_PX)
    return {"F1, 5 px": near.f1, **scores, **score_points(footprints.centroids, truth.footprints)}


def score_points(points: np.ndarray, truth: Footprints) -> Scores:
    """Share of points inside a true mask, and points for each cell that holds one, beside as many random points.

    A point in several masks belongs to the cell that is brightest there.
    """
    weights = truth.weights.toarray().reshape(-1, *truth.shape)
    owner = np.where(weights.any(axis=0), weights.argmax(axis=0), -1)

    def measure(places: np.ndarray) -> tuple[float, float]:
        y, x = np.rint(places).astype(int).T
        owners = owner[y, x]
        n_found = len(np.unique(owners[owners >= 0]))
        return float((owners >= 0).mean()), len(owners) / n_found if n_found else float("nan")

    if not len(points):
        return {}
    inside, each = measure(points)
    rng = np.random.default_rng(0)
    draws = [measure(rng.uniform((0, 0), np.array(truth.shape) - 1, points.shape)) for _ in range(N_DRAWS)]
    chance, chance_each = np.nanmean(draws, axis=0).tolist()
    return {
        "points": len(points), "inside a cell": inside, "random points inside": chance,
        "points a found cell": each, "random points a found cell": chance_each,
    }  # fmt: skip


def are_cells(components: Footprints, truth: Footprints) -> np.ndarray:
    """Which components are a cell, one to one: by IoU of 0.5 or, of what is left, by centroids within 5 px."""
    true = np.zeros(len(components), dtype=bool)
    pairs = metrics.match_footprints(components, truth).pairs
    true[pairs[:, 0]] = True
    rest, left = np.flatnonzero(~true), np.setdiff1d(np.arange(len(truth)), pairs[:, 1])
    near = metrics.match_points(components.centroids[rest], truth.centroids[left], max_distance_px=NEAR_PX)
    true[rest[near.pairs[:, 0]]] = True
    return true


def run_detector(detect: Callable[..., Detection], field: Field) -> Scores:
    """Score what a detector accepts in the registered movie, and keep how sure it was of each component."""
    movie, shifts = field.registered
    start = time.perf_counter()
    found = detect(movie, valid=shifts.valid, bad_frames=shifts.bad_frames)
    seconds = time.perf_counter() - start
    cells = found.accepted()
    fitted = deconvolve(cells.traces, threads=1)
    scores = score_cells(cells.footprints, cells.traces, fitted.denoised, fitted.spikes, field.truth) | {"seconds": seconds}
    if "confidence" in found.scores:
        scores["confidence"] = found.scores["confidence"].tolist()
        scores["is a cell"] = are_cells(found.footprints, field.truth.footprints).tolist()
    return scores


def run_coordinates(field: Field, **config: Any) -> Scores:
    """Learn coordinates; the seed of the movie is that of the random starts."""
    return run_detector(coordinates(field.seed, **config), field)


def run_suite2p(field: Field) -> Scores | None:
    """Score the better of suite2p's sets by F1; None where it is not installed."""
    sets = find_peer("1p", field.truth, threads=1)
    scored = [score_cells(cells, traces, None, spikes, field.truth) for cells, traces, spikes in sets]
    return max(scored, key=lambda scores: scores["F1, IoU 0.5"], default=None)


PROGRAMS: dict[str, Callable[[Field], Scores | None]] = {
    SEEDS: functools.partial(run_coordinates, start="seeds"),
    **{name: functools.partial(run_coordinates, start="random", **config) for name, config in VARIANTS.items()},
    "cnmf": lambda field: run_detector(cnmf.detect, field),
    PEER: run_suite2p,
}
MAIN = (SEEDS, RANDOM, "cnmf", PEER)


class Bench:
    """Runs programs on movies of the given seeds, suite2p on the first ones; keeps what they scored in ``folder``."""

    def __init__(self, seeds: list[int], peer_movies: int, folder: Path | None) -> None:
        self.seeds, self.peer_movies, self.folder = seeds, peer_movies, folder

    def rows(self, programs: tuple[str, ...], columns: tuple[str, ...]) -> dict[tuple[str, str], list[Scores]]:
        """Scores of each movie by column and program, those that are not kept computed and printed as they come."""
        found: dict[tuple[str, str], list[Scores]] = {(column, name): [] for column in columns for name in programs}
        for column in columns:
            for count, seed in enumerate(self.seeds):
                field = Field(column, seed)
                for name in programs:
                    if (name != PEER or count < self.peer_movies) and (scores := self._scores(name, field)) is not None:
                        found[column, name].append(scores)
        return {key: scores for key, scores in found.items() if scores}

    def _scores(self, name: str, field: Field) -> Scores | None:
        """Read what was kept, or run the program."""
        path = self.folder and self.folder / f"{field.column}, {field.seed}, {name.replace('/', ' ')}.json"
        if path and path.exists():
            return dict(json.loads(path.read_text()))
        scores = PROGRAMS[name](field)
        if scores is not None:
            shown = {key: round(value, 3) for key, value in scores.items() if isinstance(value, float)}
            print(field.column, field.seed, name, shown, flush=True)
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                part.write_text(json.dumps(scores))
                part.replace(path)
        return scores


def mean_sd(found: list[Scores], name: str) -> str:
    """Mean and sd over movies; empty where the program has no such score."""
    values = [scores[name] for scores in found if name in scores and np.isfinite(scores[name])]
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}" if values else ""


CELLS = (
    "F1, 5 px", "F1, IoU 0.5", "precision", "recall", "of visible",
    "traces, all", "traces, matched", "denoised, all", "denoised, matched",
)  # fmt: skip
POINTS = ("points", "inside a cell", "random points inside", "points a found cell", "random points a found cell")


def tabulate(found: dict[tuple[str, str], list[Scores]], names: tuple[str, ...]) -> list[dict[str, str]]:
    """One row a column of movies and program."""
    return [
        {"data": column, "program": name, **{key: mean_sd(scores, key) for key in names}, "movies": str(len(scores))}
        for (column, name), scores in found.items()
    ]


def reliability(found: dict[tuple[str, str], list[Scores]]) -> list[dict[str, str]]:
    """Share of true cells among the components of each confidence, and the expected calibration error over the ten bins."""
    rows = []
    for (column, name), scores in found.items():
        confidence = np.concatenate([s.get("confidence", []) for s in scores])
        true = np.concatenate([s.get("is a cell", []) for s in scores]).astype(bool)
        if not confidence.size:
            continue
        bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
        cells, error = {}, 0.0
        for index in range(N_BINS):
            inside = bins == index
            label = f"{index / N_BINS:.1f} to {(index + 1) / N_BINS:.1f}"
            cells[label] = f"{true[inside].mean():.2f} ({inside.sum()})" if inside.any() else ""
            error += abs(float((confidence[inside] - true[inside]).sum())) / len(true)
        head = {"data": column, "program": name, "components": str(len(true)), "calibration error": f"{error:.3f}"}
        rows.append({**head, **cells, "movies": str(len(scores))})
    return rows
