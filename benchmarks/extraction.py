"""Cells and traces in three columns, two- and one-photon, beside suite2p; and what a run costs.

Table ``extraction``: whole pipelines from raw movies of the anchor simulator, of one out of the range that defaults were
chosen on, and of hybrids (see ``columns.py``); mean and sd over seeds. "Visible" cells have a true transient above 5 times the
noise: many cells of the last two columns are silent or too dim for anybody. suite2p runs on the first movies of each column,
where ``SUITE2P_PYTHON`` names the interpreter of an environment that has it; of all its regions and those that its classifier
calls cells, the set with the higher F1 against the truth is scored. Table ``extraction_cost``: time and memory.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _table import write_table
from anchors import anchor_2p
from columns import COLUMNS_1P, COLUMNS_2P, visible_cells
from peers import run_suite2p
from scaling import in_a_process

from calcium_helpers import metrics
from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.pipeline import PipelineConfig, run
from calcium_helpers.results import Simulation
from calcium_helpers.simulate import OFFSET

COMMAND = "python benchmarks/extraction.py"
TAU_S = 0.7  # as suite2p advises for GCaMP6f
OURS, PEER = "calcium_helpers", "suite2p 1.1"


def score(
    footprints: Footprints, traces: Traces, denoised: Traces | None, spikes: Traces, truth: Simulation
) -> dict[str, float]:
    """Cells at IoU 0.5; correlation of traces over all firing and over matched cells; spikes in bins of 0.1 s, no lag."""
    matching = metrics.match_footprints(footprints, truth.footprints)
    visible = visible_cells(truth)
    scores = {
        "F1": matching.f1,
        "precision": matching.precision,
        "recall": matching.recall,
        "of visible": float(np.isin(np.flatnonzero(visible), matching.pairs[:, 1]).mean()),
    }
    for name, kind in (("dF/F", traces), ("denoised", denoised)):
        if kind is not None:
            found = metrics.trace_correlation(kind, truth.calcium, matching)
            scores |= {f"{name}, all": found.all, f"{name}, matched": found.matched}
    if truth.spikes.values.any():
        scores["spikes"] = metrics.spike_correlation(spikes, truth.spikes, matching, bin_s=0.1).matched
    return scores


def run_ours(modality: str, simulation: Simulation) -> dict[str, float]:
    """Our whole pipeline with the defaults of the modality."""
    results = run(simulation.movie, PipelineConfig.for_modality(modality, offset=float(OFFSET)))
    keep = results.cells["accepted"].to_numpy(dtype=bool)
    kinds = (results.dff, results.denoised, results.spikes)
    return score(results.footprints.select(keep), *(traces.select(keep) for traces in kinds), simulation)


def find_peer(modality: str, simulation: Simulation, *, threads: int = 2) -> list[tuple[Footprints, Traces, Traces]]:
    """Find cells, traces and spikes by suite2p from the raw movie: all its regions, and those that its classifier calls cells.

    Empty where it is not installed or finds nothing.
    """
    options = {"mode": "pipeline", "tau": TAU_S, "warm_up": False, "one_photon": modality == "1p", "threads": threads}
    fs = simulation.movie.fs
    found = run_suite2p(simulation.movie.data, fs, **options)
    if found is None or found.footprints is None:
        return []
    traces, spikes = Traces(found.fluorescence - 0.7 * found.neuropil, fs, "raw"), Traces(found.spikes, fs, "spikes")
    sets = [np.ones(len(found.footprints), dtype=bool), found.cell_probability > 0.5]
    return [(found.footprints.select(keep), traces.select(keep), spikes.select(keep)) for keep in sets]


def run_peer(modality: str, simulation: Simulation) -> dict[str, float] | None:
    """Score the better of the two sets of suite2p; None where it is not installed."""
    scored = (score(cells, traces, None, spikes, simulation) for cells, traces, spikes in find_peer(modality, simulation))
    return max(scored, key=lambda scores: scores["F1"], default=None)


def columns(modality: str, seeds: list[int], peer_movies: int) -> list[dict[str, str]]:
    """One row a column and program."""
    programs: dict[str, Callable[[str, Simulation], dict[str, float] | None]] = {OURS: run_ours, PEER: run_peer}
    rows = []
    for column, make in (COLUMNS_2P if modality == "2p" else COLUMNS_1P).items():
        scores: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
        for count, seed in enumerate(seeds):
            simulation = make(seed)
            for name, program in programs.items():
                if (name == OURS or count < peer_movies) and (found := program(modality, simulation)) is not None:
                    scores[name].append(found)
                    print(modality, column, seed, name, {k: round(v, 3) for k, v in found.items()}, flush=True)
        names = list(scores[OURS][0])
        rows += [
            {"data": f"{modality}, {column}", "program": name, **_means(found, names), "movies": str(len(found))}
            for name, found in scores.items()
            if found
        ]
    return rows


def _means(found: list[dict[str, float]], names: list[str]) -> dict[str, str]:
    return {
        name: f"{np.mean([f[name] for f in found]):.2f} ± {np.std([f[name] for f in found]):.2f}" if name in found[0] else ""
        for name in names
    }


def cost() -> list[dict[str, str]]:
    """Both pipelines on one movie of ``anchor_2p``, each in a process of its own, memory to memory or file to file."""
    simulation = anchor_2p(0)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "movie.npy"), simulation.movie.frames())
        ours = in_a_process("pipeline", Path(folder, "movie.npy"), Path(folder, "out"))
    rows = [
        {"program": OURS, "seconds": float(ours["seconds"]), "GB": float(ours["anon"]), "GB with files": float(ours["rss"])}
    ]
    for name, tuned in ((f"{PEER}, as installed", False), (f"{PEER}, memory allocator tuned", True)):
        options = {"mode": "pipeline", "tau": TAU_S, "warm_up": True, "tuned_allocator": tuned}
        start = time.perf_counter()
        peer = run_suite2p(simulation.movie.data, simulation.movie.fs, **options)
        if peer is not None:
            seconds = peer.seconds.get("total_plane_runtime", time.perf_counter() - start)
            rows.append({"program": name, "seconds": seconds, "GB": peer.peak_mb / 1e3, "GB with files": peer.peak_mb / 1e3})
    return [
        {
            "program": row["program"],
            "time, relative to ours": f"{row['seconds'] / rows[0]['seconds']:.2f}",
            "peak memory, GB": f"{row['GB']:.1f}",
            "mapped files included, GB": f"{row['GB with files']:.1f}",
        }
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--peer-movies", type=int, default=2)
    parser.add_argument("--only", choices=("cells", "cost"), help="make one of the two tables")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if "CALCIUM_DATA_DIR" not in os.environ:
        parser.error("set CALCIUM_DATA_DIR: the hybrid movies are made of recordings")
    if options.only != "cells":
        write_table("extraction_cost", cost(), COMMAND)
    if options.only != "cost":
        rows = [row for modality in ("2p", "1p") for row in columns(modality, options.seeds, options.peer_movies)]
        write_table("extraction", [{key: row.get(key, "") for key in rows[0]} for row in rows], COMMAND)


if __name__ == "__main__":
    main()
