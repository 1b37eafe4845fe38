"""Cells in simulated and hybrid one-photon movies: learned coordinates beside the factorisation and suite2p."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
import numpy as np
from anchors import dense_1p, dim_1p
from bench import NEAR_PX, Bench, Field, Found, Scores
from columns import COLUMNS_1P
from extraction import PEER

from calcium_helpers import metrics
from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.models import cnmf
from calcium_helpers.results import Detection, Simulation

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


def coordinates(seed: int = 0, **config: Any) -> Callable[..., Detection]:
    """Return a detector by learned coordinates."""
    from calcium_helpers.models import one_photon

    return functools.partial(one_photon.detect, config=one_photon.CoordinatesConfig(**config), seed=seed)


def score_cells(footprints: Footprints, traces: Traces, denoised: Traces | None, spikes: Traces, truth: Simulation) -> Scores:
    """Scores of any detector, F1 by centroids within 5 px, and the measure that was published for learned points."""
    scores = bench.score_cells(footprints, traces, denoised, spikes, truth)
    near = metrics.match_points(footprints.centroids, truth.footprints.centroids, max_distance_px=NEAR_PX)
    return {"F1, 5 px": near.f1, **scores, **score_points(footprints.centroids, truth.footprints)}


run_detector = functools.partial(bench.run_detector, scorer=score_cells)


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


def run_coordinates(field: Field, **config: Any) -> Scores:
    """Learn coordinates; the seed of the movie is that of the random starts."""
    return run_detector(coordinates(field.seed, **config), field)


PROGRAMS: dict[str, Callable[[Field], Scores | None]] = {
    SEEDS: functools.partial(run_coordinates, start="seeds"),
    **{name: functools.partial(run_coordinates, start="random", **config) for name, config in VARIANTS.items()},
    "cnmf": lambda field: run_detector(cnmf.detect, field),
    PEER: functools.partial(bench.run_suite2p, scorer=score_cells),
}
MAIN = (SEEDS, RANDOM, "cnmf", PEER)


def make_bench(seeds: list[int], peer_movies: int, folder: Path | None) -> Bench:
    """Return what runs these programs on these movies."""
    return Bench("1p", COLUMNS, PROGRAMS, seeds, peer_movies, folder)


CELLS = (
    "F1, 5 px", "F1, IoU 0.5", "precision", "recall", "of visible",
    "traces, all", "traces, matched", "denoised, all", "denoised, matched",
)  # fmt: skip
POINTS = ("points", "inside a cell", "random points inside", "points a found cell", "random points a found cell")


def reliability(found: Found) -> list[dict[str, str]]:
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
