"""Cells in real recordings: a labelled two-photon field and a one-photon field that another program was run on.

Table ``extraction_real``: the Neurofinder crop, at most 80 detections, beside suite2p and beside chance. Table
``miniscope``: detections in the miniscope recording, at most 160, beside random points and a grid, against the units of the
reference whose own trace can be seen in the raw movie (they are printed); and the same cells found again from odd and from even
20-s blocks. The reference is another program's, not truth. ``--sheet FILE`` draws the detections without a partner, to be
judged by eye.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _table import write_table
from extraction import OURS, PEER
from peers import run_suite2p
from scipy import ndimage
from scipy.sparse import diags, linalg

from calcium_helpers import io, metrics
from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.models import cnmf
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.noise import estimate_snr
from calcium_helpers.pipeline import PipelineConfig, run
from calcium_helpers.results import Detection, Results
from calcium_helpers.traces import extract_with_neuropil, subtract_neuropil

COMMAND = "python benchmarks/extraction_real.py"
TAU_S = 0.7
MOST_DETECTIONS, MOST_MINISCOPE = 80, 160
NEAR_PX = 5.0
SEEN_CORRELATION = 0.7
BLOCK_S = 20.0
ACTIVE_SNR = 8.0

N_DRAWS = 20

Detector = Callable[[Movie], Detection]
Finder = Callable[[Movie], Footprints]


class Neurofinder(NamedTuple):
    """What each program found in the crop (chance: in each draw), the labelled regions, and which are active."""

    found: dict[str, list[Footprints]]
    truth: Footprints
    active: np.ndarray


def detect_cnmf(movie: Movie) -> Detection:
    """Find at most as many cells as the miniscope recording allows."""
    return cnmf.detect(movie, config=CNMFConfig(max_cells=MOST_MINISCOPE))


def load_regions(path: Path, shape: tuple[int, int]) -> tuple[Footprints, np.ndarray]:
    """Hand-labelled regions, and which of them are active in these frames (peak SNR above 8)."""
    regions = json.loads(path.read_text())["regions"]
    images = np.zeros((len(regions), *shape), dtype=np.float32)
    for image, region in zip(images, regions, strict=True):
        y, x = np.array(region["coordinates"]).T
        image[y, x] = 1
    return Footprints.from_images(images), np.array([region["peak_snr"] > 8 for region in regions])


def count_matches(found: Footprints, truth: Footprints) -> int:
    """Pairs, one to one, by IoU > 0.3 or centroids within 5 px."""
    overlap = metrics.match_footprints(found, truth, iou=0.3)
    left_found = np.setdiff1d(np.arange(len(found)), overlap.pairs[:, 0])
    left_truth = np.setdiff1d(np.arange(len(truth)), overlap.pairs[:, 1])
    near = metrics.match_points(found.centroids[left_found], truth.centroids[left_truth], max_distance_px=NEAR_PX)
    return len(overlap.pairs) + len(near.pairs)


def score_real(name: str, found: Footprints, truth: Footprints, active: np.ndarray) -> dict[str, Any]:
    """Recall of the active regions, precision against all, and F of the two."""
    recall = count_matches(found, truth.select(active)) / active.sum()
    precision = count_matches(found, truth) / max(len(found), 1)
    f = 2 * recall * precision / max(recall + precision, 1e-9)
    return {
        "program": name,
        "detections": len(found),
        "recall": f"{recall:.2f}",
        "precision": f"{precision:.2f}",
        "F": f"{f:.2f}",
    }


def random_discs(shape: tuple[int, int], n: int, diameter_px: float, rng: np.random.Generator) -> Footprints:
    """Discs at random places, as many as detections are allowed."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = rng.uniform((0, 0), np.array(shape) - 1, (n, 2))
    return Footprints.from_images(np.stack([(np.hypot(y - cy, x - cx) <= diameter_px / 2) for cy, cx in centres]))


def by_pipeline(**settings: Any) -> Finder:
    """Return the whole two-photon pipeline with these settings, for the cells that it accepts."""

    def find(movie: Movie) -> Footprints:
        results: Results = run(movie, PipelineConfig.for_modality("2p", **settings))
        return results.footprints.select(results.cells["accepted"].to_numpy(bool))

    return find


def find_neurofinder(folder: Path, finders: dict[str, Finder]) -> Neurofinder:
    """Find cells in the Neurofinder crop by ``finders``, by suite2p and by chance."""
    movie = io.load_movie(folder / "2p_neurofinder_7hz.tif", fs=7.0, progress=False)
    shape = movie.shape[1:]
    truth, active = load_regions(folder / "2p_neurofinder_7hz_regions.json", shape)
    found = {name: [find(movie)] for name, find in finders.items()}
    peer = run_suite2p(Movie(movie.frames(), fs=7.0).data, 7.0, mode="pipeline", tau=TAU_S)
    if peer is not None and peer.footprints is not None:
        best = np.sort(np.argsort(-peer.cell_probability, kind="stable")[:MOST_DETECTIONS])
        found[PEER] = [peer.footprints.select(best)]
    rng = np.random.default_rng(0)
    draws = [random_discs(shape, MOST_DETECTIONS, 12.0, rng) for _ in range(N_DRAWS)]
    return Neurofinder({**found, f"{MOST_DETECTIONS} random discs (mean of {N_DRAWS} draws)": draws}, truth, active)


def score_neurofinder(neurofinder: Neurofinder, half: str | None = None) -> list[dict[str, Any]]:
    """Score all of the crop, or what has its centroid in the "left" or "right" half of it."""

    def inside(cells: Footprints) -> np.ndarray:
        left = cells.centroids[:, 1] < cells.shape[1] / 2
        return np.ones_like(left) if half is None else left == (half == "left")

    here = inside(neurofinder.truth)
    truth, active = neurofinder.truth.select(here), neurofinder.active[here]
    rows = []
    for name, draws in neurofinder.found.items():
        scores = [score_real(name, cells.select(inside(cells)), truth, active) for cells in draws]
        mean = {key: np.mean([float(score[key]) for score in scores]) for key in ("detections", "recall", "precision", "F")}
        rows.append({"program": name, **{key: f"{value:.{0 if key == 'detections' else 2}f}" for key, value in mean.items()}})
    return rows


def load_miniscope(folder: Path) -> tuple[Movie, np.ndarray, np.ndarray]:
    """Load the recording, aligned by the reference's shifts; centroids of its units, each with the correlation with its C."""
    movie = io.load_movie(folder / "1p_miniscope.tif", fs=15.0, progress=False)
    with np.load(folder / "1p_miniscope_reference.npz") as reference:
        areas, courses, shifts = reference["A"], reference["C"], reference["shifts_yx"]
    frames = np.stack(
        [
            ndimage.shift(frame.astype(np.float32), shift, mode="nearest")
            for frame, shift in zip(movie.frames(), shifts, strict=True)
        ]
    )
    flat = areas.reshape(len(areas), -1)
    traces = flat / flat.sum(axis=1, keepdims=True) @ frames.reshape(len(frames), -1).T
    seen = np.array([np.corrcoef(trace, course)[0, 1] for trace, course in zip(traces, courses, strict=True)])
    return Movie(frames, fs=15.0), np.array([ndimage.center_of_mass(area) for area in areas]), seen


def score_points(name: str, points: np.ndarray, units: np.ndarray, seen: np.ndarray) -> dict[str, Any]:
    """Recall of the units that are seen, one to one within 5 px; and how many points have any unit."""
    recall = metrics.match_points(points, units[seen], max_distance_px=NEAR_PX).recall
    paired = len(metrics.match_points(points, units, max_distance_px=NEAR_PX).pairs)
    return {"points": name, "n": len(points), f"recall of {seen.sum()} units": f"{recall:.2f}", "with a unit": paired}


def miniscope(folder: Path, detectors: dict[str, Detector], *, sheet: Path | None) -> list[dict[str, Any]]:
    """Score detectors on the miniscope recording, and list the units scored on; the sheet shows what the first one found."""
    movie, units, correlation = load_miniscope(folder)
    seen = correlation > SEEN_CORRELATION
    print("scored units (y, x px):", *(f"{i} ({y:.0f}, {x:.0f})" for i, (y, x) in enumerate(units) if seen[i]))
    height, width = movie.shape[1:]
    rng = np.random.default_rng(0)
    draws = [rng.uniform((0, 0), (height - 1, width - 1), (MOST_MINISCOPE, 2)) for _ in range(20)]
    chance = np.mean([metrics.match_points(p, units[seen], max_distance_px=NEAR_PX).recall for p in draws])
    paired = np.mean([len(metrics.match_points(p, units, max_distance_px=NEAR_PX).pairs) for p in draws])
    side = np.sqrt(height * width / MOST_MINISCOPE)
    grid = np.stack(np.meshgrid(*(np.arange(side / 2, n, side) for n in (height, width)), indexing="ij"), axis=-1).reshape(
        -1, 2
    )
    rows = []
    for name, detect in detectors.items():
        found = detect(movie).accepted()
        rows.append({**score_points(name, found.footprints.centroids, units, seen), **found_again(movie, detect)})
        print(rows[-1], flush=True)
        if sheet is not None and len(rows) == 1:
            draw_unmatched(movie, found, units, sheet)
    recall = f"recall of {seen.sum()} units"
    rows += [
        {"points": "random (mean of 20 draws)", "n": MOST_MINISCOPE, recall: f"{chance:.2f}", "with a unit": f"{paired:.0f}"},
        score_points(f"grid, {side:.1f} px", grid, units, seen),
    ]
    return [{key: row.get(key, "") for key in rows[0]} for row in rows]


def found_again(movie: Movie, detect: Detector) -> dict[str, str]:
    """Find cells in odd and in even blocks alone: how many of each are found in the other, one to one within 5 px.

    The recording lasts 66 s and many cells fire in a few of these seconds only, so the share is also given of the cells that
    their own footprint's trace shows active in the other blocks; and of those, which another footprint covers (cosine > 0.5).
    """
    block = np.arange(movie.n_frames) // round(BLOCK_S * movie.fs) % 2
    halves = [movie.replace(data=movie.frames()[block == part]) for part in (0, 1)]
    found = [detect(half).accepted().footprints for half in halves]
    pairs = metrics.match_points(found[0].centroids, found[1].centroids, max_distance_px=NEAR_PX).pairs
    near, active, covered = [], [], []
    for part, (mine, other, half) in enumerate(zip(found, found[::-1], halves[::-1], strict=True)):
        near.append(np.isin(np.arange(len(mine)), pairs[:, part]))
        trace = subtract_neuropil(*extract_with_neuropil(half, mine), coefficient="fit")
        active.append(estimate_snr(trace) > ACTIVE_SNR)
        unit = [diags(1 / linalg.norm(weights, axis=1)) @ weights for weights in (mine.weights, other.weights)]
        covered.append((unit[0] @ unit[1].T).toarray().max(axis=1) > 0.5)
    near, active, covered = (np.concatenate(flags) for flags in (near, active, covered))
    return {
        "cells in odd / even blocks": f"{len(found[0])} / {len(found[1])}",
        "found again": f"{near.mean():.2f}",
        "of the active": f"{near[active].mean():.2f}",
        "of the active, covered": f"{covered[active].mean():.2f}",
    }


def draw_unmatched(movie: Movie, found: Detection, units: np.ndarray, sheet: Path) -> None:
    """Footprint on the frame of its highest peak less the median, and trace, of each detection without a unit."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    centroids = found.footprints.centroids
    alone = np.setdiff1d(np.arange(len(centroids)), metrics.match_points(centroids, units, max_distance_px=NEAR_PX).pairs[:, 0])
    frames = movie.frames()
    median = np.median(frames, axis=0)
    n_rows = -(-len(alone) // 4)
    figure, axes = plt.subplots(n_rows, 8, figsize=(24, 2.2 * n_rows), squeeze=False, width_ratios=[1, 3] * 4)
    for ax in axes.flat:
        ax.axis("off")
    for (image_ax, trace_ax), row in zip(axes.reshape(-1, 2), alone, strict=False):
        trace = found.traces.values[row]
        peaks = np.argsort(trace)[-15:]
        y, x = centroids[row].round().astype(int)
        place = np.s_[max(y - 20, 0) : y + 21, max(x - 20, 0) : x + 21]
        image_ax.imshow((frames[peaks].mean(axis=0) - median)[place], cmap="gray")
        weights = found.footprints.weights[row].toarray().reshape(median.shape)[place]
        image_ax.contour(weights > 0.2 * weights.max(), levels=[0.5], colors="#D55E00", linewidths=1)
        image_ax.set_title(f"{row}: {y}, {x} px", fontsize=8)
        trace_ax.plot(np.arange(len(trace)) / movie.fs, trace, lw=0.6)
        trace_ax.axis("on")
        trace_ax.tick_params(labelsize=6)
    figure.tight_layout()
    figure.savefig(sheet, dpi=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", type=Path, help="draw the detections without a partner")
    options = parser.parse_args()
    if "CALCIUM_DATA_DIR" not in os.environ:
        parser.error("set CALCIUM_DATA_DIR: the recordings lie there")
    folder = Path(os.environ["CALCIUM_DATA_DIR"])
    detectors = {"calcium_helpers": detect_cnmf}
    write_table("miniscope", miniscope(folder, detectors, sheet=options.sheet), COMMAND)
    ours = {OURS: by_pipeline(cnmf=CNMFConfig(max_cells=MOST_DETECTIONS))}
    write_table("extraction_real", score_neurofinder(find_neurofinder(folder, ours)), COMMAND)


if __name__ == "__main__":
    main()
