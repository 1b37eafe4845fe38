"""What learned coordinates cost: beside other programs on one movie, and against frames, pixels and cells.

Stage against stage: from a motion-corrected movie in memory to footprints and traces, on two threads, libraries loaded and code
compiled before; the shortest of a few runs in turn. Other work on the machine adds to it, and hardly to the processors' time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from anchors import anchor_1p
from bench_time import PEER_WHOLE, QUOTED, Run, shortest, time_programs, to_counts
from one_photon_cells import RANDOM, SEEDS
from peers import run_cnmfe
from scaling import BASE, FS, VARIED, in_a_process

from calcium_helpers import motion, simulate

OURS = {SEEDS: "seeds", RANDOM: "random", "cnmf": "detect"}
# CNMF-E as CaImAn 1.12 has it is not on the package index and was not run with the others. It took 248 s for this stage where
# suite2p's whole pipeline took 29 s on the same movie, both measured together on another machine of two cores.
CAIMAN_TO_SUITE2P = 248 / 29


def times(repeats: int) -> list[dict[str, str]]:
    """One row a program on the first movie of ``anchor_1p``; CNMF-E, which takes minutes, runs once."""
    truth = anchor_1p(0)
    movie = motion.register(truth.movie, config=motion.ONE_PHOTON).movie
    runs = time_programs(movie, truth.movie, OURS, repeats, one_photon=True)
    diameter = float(np.median(2 * np.sqrt(truth.footprints.area_px / np.pi)))
    cnmfe = run_cnmfe(to_counts(movie), diameter_px=diameter)
    if cnmfe is not None:
        runs.append(Run(f"CNMF-E (Inscopix {cnmfe.version})", cnmfe.seconds, cnmfe.processor_s, cnmfe.peak_mb / 1e3))
    return list(_compare(runs))


def _compare(runs: list[Run]) -> Iterator[dict[str, str]]:
    """Take the shortest run of each program, and set it beside CNMF-E and beside our factorisation."""
    best = shortest(runs)
    whole = best.pop(PEER_WHOLE, None)
    cnmfe = next((run.seconds for name, run in best.items() if name.startswith("CNMF-E")), None)
    rows = [(run, "measured") for run in best.values()]
    if whole is not None:
        rows.append((Run("CNMF-E (CaImAn 1.12)", CAIMAN_TO_SUITE2P * whole.seconds, None, None), QUOTED))
    for (name, seconds, processor_s, gb), how in rows:
        yield {
            "program": name,
            "detection, s": f"{seconds:.1f}",
            "processor, s": "" if processor_s is None else f"{processor_s:.1f}",
            "relative to cnmf": f"{seconds / best['cnmf'].seconds:.2f}",
            "relative to CNMF-E (Inscopix)": f"{seconds / cnmfe:.3f}" if cnmfe else "",
            "peak memory, GB": "" if gb is None else f"{gb:.1f}",
            "how": how,
        }


def scale(*, quick: bool) -> list[dict[str, Any]]:
    """Measure detection in movies of growing length, size or number of cells, one quantity at a time."""
    sizes = [(name, {**BASE, name: value}) for name, values in VARIED.items() for value in values]
    start = {"frames": 200, "side, px": 64, "cells": 3}
    sizes = [("frames", start)] if quick else sizes
    known: dict[tuple[int, ...], dict[str, dict[str, Any]]] = {}
    for size in (start, *(size for _, size in sizes)):  # the first compiles
        if tuple(size.values()) not in known:
            known[tuple(size.values())] = _take(size)
            print(size, {name: round(found["seconds"], 1) for name, found in known[tuple(size.values())].items()}, flush=True)
    return [{"varied": name.split(",")[0], **size, **_numbers(known[tuple(size.values())])} for name, size in sizes]


def _take(size: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Simulate and register a movie of that size, and measure each detector."""
    frames, side, cells = size.values()
    config = simulate.OnePhotonConfig(
        n_frames=frames, height=side, width=side, n_cells=cells, fs=FS, min_distance_px=9.0, motion_px=2.0
    )
    movie = motion.register(simulate.one_photon(config, seed=0).movie, config=motion.ONE_PHOTON).movie
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "movie.npy")
        np.save(path, movie.frames())
        return {name: in_a_process(what, path, Path(folder, "out")) for name, what in OURS.items()}


def _numbers(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        f"{name}, {unit}": f"{one[key]:.{digits}f}"
        for name, one in found.items()
        for unit, key, digits in (("s", "seconds", 1), ("processor, s", "processor_s", 1), ("GB", "anon", 2))
    }
