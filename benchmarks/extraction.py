"""Cells and traces on the anchor movies and on a real field, beside suite2p and beside chance.

Tables ``extraction`` (simulated two-photon movies, mean and sd over seeds) and ``extraction_real`` (the Neurofinder crop, at
most 80 detections). suite2p runs where ``SUITE2P_PYTHON`` names the interpreter of an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _table import write_table
from anchors import anchor_2p
from peers import run_suite2p

from calcium_helpers import io, metrics
from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.pipeline import PipelineConfig, run
from calcium_helpers.results import Results, Simulation
from calcium_helpers.simulate import OFFSET

COMMAND = "python benchmarks/extraction.py"
RISE_DECAY_TAU_S = 0.7  # suite2p's tau, as it advises for GCaMP6f
MOST_DETECTIONS = 80
NEAR_PX = 5.0


def score_simulation(
    footprints: Footprints, traces: Traces, denoised: Traces | None, spikes: Traces, truth: Simulation
) -> dict[str, float]:
    """F1 at IoU 0.5, trace correlation over all firing and over matched cells, spike correlation in one frame and 0.1 s."""
    matching = metrics.match_footprints(footprints, truth.footprints)
    trace = metrics.trace_correlation(traces, truth.calcium, matching)
    return {
        "F1": matching.f1,
        "precision": matching.precision,
        "recall": matching.recall,
        "traces, all": trace.all,
        "traces, matched": trace.matched,
        **({} if denoised is None else _score_denoised(denoised, truth, matching)),
        "spikes, 1 frame": metrics.spike_correlation(spikes, truth.spikes, matching).matched,
        "spikes, 0.1 s": metrics.spike_correlation(spikes, truth.spikes, matching, bin_s=0.1).matched,
    }


def _score_denoised(denoised: Traces, truth: Simulation, matching: metrics.Matching) -> dict[str, float]:
    """Trace correlation of what deconvolution makes of dF/F."""
    score = metrics.trace_correlation(denoised, truth.calcium, matching)
    return {"denoised, all": score.all, "denoised, matched": score.matched}


def run_ours(simulation: Simulation) -> dict[str, float]:
    """Our whole pipeline from the raw movie."""
    config = PipelineConfig.for_modality("2p", offset=float(OFFSET))
    start = time.perf_counter()
    results = run(simulation.movie, config, progress=False)
    seconds = time.perf_counter() - start
    keep = results.cells["accepted"].to_numpy(dtype=bool)
    dff = results.dff.select(keep)
    denoised = deconvolve(dff, method=config.deconvolution).denoised
    scores = score_simulation(results.footprints.select(keep), dff, denoised, results.spikes.select(keep), simulation)
    return {**scores, "seconds": seconds}


def run_peer(simulation: Simulation) -> dict[str, float] | None:
    """suite2p from the raw movie: registration, detection, extraction, deconvolution; None where it is not installed."""
    start = time.perf_counter()
    found = run_suite2p(simulation.movie.data, simulation.movie.fs, mode="pipeline", tau=RISE_DECAY_TAU_S, warm_up=False)
    if found is None or found.footprints is None:
        return None
    seconds = (
        sum(found.seconds.values()) if "total_plane_runtime" not in found.seconds else found.seconds["total_plane_runtime"]
    )
    fs = simulation.movie.fs
    traces = Traces(found.fluorescence - 0.7 * found.neuropil, fs, "raw")
    scores = score_simulation(found.footprints, traces, None, Traces(found.spikes, fs, "spikes"), simulation)
    return {**scores, "seconds": seconds or time.perf_counter() - start}


def simulated(seeds: list[int], peer_movies: int) -> list[dict[str, Any]]:
    """One row a program: mean and sd over seeds; the peer, which takes longest, on the first ``peer_movies`` of them."""
    programs: dict[str, Callable[[Simulation], dict[str, float] | None]] = {
        "calcium_helpers": run_ours,
        "suite2p 1.1": run_peer,
    }
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for count, seed in enumerate(seeds):
        simulation = anchor_2p(seed)
        for name, program in programs.items():
            if program is run_peer and count >= peer_movies:
                continue
            if (found := program(simulation)) is not None:
                scores[name].append(found)
                print(seed, name, {key: round(value, 3) for key, value in found.items()}, flush=True)
    columns = [key for key in scores["calcium_helpers"][0] if key != "seconds"]
    return [
        {
            "program": name,
            **{
                key: f"{np.mean([r[key] for r in runs]):.2f} ± {np.std([r[key] for r in runs]):.2f}" if key in runs[0] else ""
                for key in columns
            },
            "movies": len(runs),
        }
        for name, runs in scores.items()
        if runs
    ]


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


def real(folder: Path) -> list[dict[str, Any]]:
    """Score the Neurofinder crop."""
    movie = io.load_movie(folder / "2p_neurofinder_7hz.tif", fs=7.0, progress=False)
    shape = movie.shape[1:]
    truth, active = load_regions(folder / "2p_neurofinder_7hz_regions.json", shape)
    results: Results = run(movie, PipelineConfig.for_modality("2p", cnmf=CNMFConfig(max_cells=MOST_DETECTIONS)))
    rows = [score_real("calcium_helpers", results.footprints.select(results.cells["accepted"].to_numpy(bool)), truth, active)]
    peer = run_suite2p(Movie(movie.frames(), fs=7.0).data, 7.0, mode="pipeline", tau=RISE_DECAY_TAU_S)
    if peer is not None and peer.footprints is not None:
        best = np.sort(np.argsort(-peer.cell_probability, kind="stable")[:MOST_DETECTIONS])
        rows.append(score_real("suite2p 1.1", peer.footprints.select(best), truth, active))
    rng = np.random.default_rng(0)
    draws = [score_real("", random_discs(shape, MOST_DETECTIONS, 12.0, rng), truth, active) for _ in range(20)]
    chance = {key: f"{np.mean([float(draw[key]) for draw in draws]):.2f}" for key in ("recall", "precision", "F")}
    rows.append({"program": f"{MOST_DETECTIONS} random discs (mean of 20 draws)", "detections": MOST_DETECTIONS, **chance})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--peer-movies", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if options.seeds:
        write_table("extraction", simulated(options.seeds, options.peer_movies), COMMAND)
    if "CALCIUM_DATA_DIR" in os.environ:
        write_table("extraction_real", real(Path(os.environ["CALCIUM_DATA_DIR"])), COMMAND)


if __name__ == "__main__":
    main()
