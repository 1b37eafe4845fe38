"""What denoising gains, what it costs the peaks, whether two halves of a real recording agree, and how long it takes.

Table ``denoising``: simulated movies, put in register by their true shifts, beside their twin with ten thousand times the light
(the truth: its own noise is a hundredth). A trace is the mean over a cell's footprint, nothing else; error is trace minus truth
without their mean difference; SNR is the sd of the true trace over that of the error; gain is the SNR after over that before.
Slopes are those of the denoised on the true trace above its median, by least squares through zero, over what stands three sds
of the raw trace's noise above the median: all such frames ("transients"), and the local maxima of true calcium ("peaks").
"Told without truth" is 1 / sqrt(1 - median share removed), see ``denoise.estimate_share_removed``.
"Border" is the rms error of pixels within 2 px of where blocks begin or end over that of all others.
Controls: a Gaussian in time that takes as much white noise out as the longest mean that denoising uses, and half that width.

Table ``denoising_real`` (needs CALCIUM_DATA_DIR): pixels split like the squares of a chessboard, each half denoised by itself;
the correlation of a place's two traces, median over cells and over discs away from all cells (where neuropil is real signal).
"With the raw other half" can only rise by coming nearer to what the halves share: at most to the root of raw's agreement.
"Far apart" are pairs of cells more than 60 px from each other, "rolled" a place's two traces half a recording apart: what
common signals and smoothness alone make. In 1p_miniscope the noise of neighbours is common: the halves say nothing there.
Table ``denoising_speed``: 512 x 512 x 2000 from a memory map to a memory map, beside the floor in the same run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _table import write_table
from anchors import ANCHOR_1P, ANCHOR_2P
from scipy.ndimage import binary_dilation, gaussian_filter1d
from threadpoolctl import threadpool_limits

from calcium_helpers import motion
from calcium_helpers.containers import Movie, Traces
from calcium_helpers.denoise import DenoiseConfig, denoise, estimate_share_removed
from calcium_helpers.denoise.pieces import cut_spans
from calcium_helpers.io import load_movie
from calcium_helpers.results import Simulation
from calcium_helpers.simulate import one_photon, two_photon

COMMAND = "python benchmarks/denoising.py"
LIGHT = 1e4
LOW_SNR = 3.0
SIDE_PX = 256
DEFAULT = DenoiseConfig()

Row = dict[str, Any]
Method = Callable[[Movie], np.ndarray]


def gaussian(share: float) -> Method:
    """Gaussian smoothing in time: at ``share`` 1 white noise falls as much as in a mean over ``transient_s``."""
    return lambda movie: gaussian_filter1d(
        movie.frames().astype(np.float32), share * DEFAULT.transient_s * movie.fs / (2 * np.sqrt(np.pi)), axis=0, mode="nearest"
    )


METHODS: dict[str, Method] = {
    "raw": lambda movie: movie.frames().astype(np.float32),
    "Gaussian in time, half": gaussian(0.5),
    "Gaussian in time": gaussian(1.0),
    "low rank alone": lambda movie: denoise(movie, config=dataclasses.replace(DEFAULT, false_details=1.0)).movie.frames(),
    "denoise": lambda movie: denoise(movie).movie.frames(),
}


def simulate_twins(kind: str, seed: int) -> tuple[Simulation, np.ndarray, np.ndarray]:
    """Simulate a movie; also its frames and those of its twin without noise, both in register and cropped to what is valid."""
    if kind == "2p":
        config = dataclasses.replace(ANCHOR_2P, height=SIDE_PX, width=SIDE_PX, n_cells=38)
        lights, make = ("baseline_photons", "tissue_photons"), two_photon
    else:
        config, lights, make = ANCHOR_1P, ("background_electrons",), one_photon
    bright = {name: getattr(config, name) * LIGHT for name in lights}
    simulation = make(config, seed=seed)
    twin = make(dataclasses.replace(config, read_noise=0.0, gain=config.gain / LIGHT, **bright), seed=seed)
    noisy, clean = (motion.apply_shifts(movie, simulation.shifts).frames() for movie in (simulation.movie, twin.movie))
    return simulation, noisy, clean


def average(frames: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over each footprint of ``weights`` (N, H*W): traces (N, T)."""
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32) @ frames.reshape(len(frames), -1).T


def errors(found: np.ndarray, truth: np.ndarray, axis: int) -> np.ndarray:
    """Sd of the error along time."""
    return (found - truth).std(axis=axis)


def slopes(found: np.ndarray, truth: np.ndarray, calcium: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Slope of each cell's trace on its truth over transients and over peaks, (N, 2); NaN under three peaks."""
    values = np.full((len(truth), 2), np.nan)
    for index, (x, y, course) in enumerate(zip(truth, found, calcium, strict=True)):
        base = np.median(x)
        high = x - base > 3 * noise[index]
        peaks = high & (course > np.roll(course, 1)) & (course >= np.roll(course, -1))
        if peaks.sum() >= 3:
            values[index] = [((x - base)[at] @ (y - base)[at]) / ((x - base)[at] @ (x - base)[at]) for at in (high, peaks)]
    return values


def border_ratio(found: np.ndarray, truth: np.ndarray) -> float:
    """Rms error near the edges of blocks over that elsewhere, inside the frame."""
    height, width = truth.shape[1:]
    near = np.zeros((height, width), dtype=bool)
    for axis, length in enumerate((height, width)):
        for span in cut_spans(length, DEFAULT.block_px, DEFAULT.block_px // 3):
            for edge in (span.start, span.stop):
                if 0 < edge < length:
                    np.moveaxis(near, axis, 0)[max(edge - 2, 0) : edge + 2] = True
    square = (found - truth).var(axis=0)
    inner = np.zeros_like(near)
    inner[8:-8, 8:-8] = True
    return float(np.sqrt(square[near & inner].mean() / square[~near & inner].mean()))


def score_simulated(kind: str, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Score each method on one movie: values a cell (or a pixel of a cell), by name."""
    simulation, noisy, clean = simulate_twins(kind, seed)
    y0, y1, x0, x1 = simulation.shifts.valid
    noisy, clean = (np.ascontiguousarray(frames[:, y0:y1, x0:x1]) for frames in (noisy, clean))
    whole = simulation.footprints.weights.toarray()
    weights = whole.reshape(-1, *simulation.footprints.shape)[:, y0:y1, x0:x1].reshape(len(whole), -1)
    seen = weights.sum(axis=1) > 0.5 * whole.sum(axis=1)
    weights, calcium = weights[seen], simulation.calcium.values[seen]
    pixels = (weights > 0).any(axis=0).reshape(clean.shape[1:])
    truth, raw = average(clean, weights), average(noisy, weights)
    noise, signal = errors(raw, truth, 1), truth.std(axis=1)
    scores = {}
    for name, method in METHODS.items():
        frames = method(Movie(noisy, fs=simulation.movie.fs))
        found = average(frames, weights)
        gain = noise / errors(found, truth, 1)
        slope = slopes(found, truth, calcium, noise)
        scores[name] = {
            "low": gain[signal / noise < LOW_SNR], "cells": gain, "transients": slope[:, 0], "peaks": slope[:, 1],
            "pixels": errors(noisy, clean, 0)[pixels] / errors(frames, clean, 0)[pixels],
            "border": np.array([border_ratio(frames, clean)]),
            "share": estimate_share_removed(*(Traces(x, simulation.movie.fs, "raw") for x in (raw, found))),
        }  # fmt: skip
    return scores


def simulated(kinds: list[str], seeds: list[int]) -> list[Row]:
    """One row a movie and method: medians over the cells of all seeds."""
    rows = []
    for kind in kinds:
        runs = [score_simulated(kind, seed) for seed in seeds]
        for name in METHODS:
            pooled = {key: np.concatenate([run[name][key] for run in runs]) for key in runs[0][name]}
            low, cells = pooled["low"], pooled["cells"]
            rows.append({
                "movie": f"simulated {kind}", "method": name,
                "gain of cells with SNR < 3": f"{np.median(low):.2f} (n = {len(low)})" if len(low) else "-",
                "of them >= 3": f"{(low >= 3).mean():.0%}" if len(low) else "-",
                "gain of all cells": f"{np.median(cells):.2f} (n = {len(cells)})", "smallest": f"{cells.min():.2f}",
                "gain of pixels": f"{np.median(pooled['pixels']):.1f}",
                "slope in transients": f"{np.nanmedian(pooled['transients']):.3f}",
                "at peaks": f"{np.nanmedian(pooled['peaks']):.3f}",
                "at peaks, lowest tenth": f"{np.nanquantile(pooled['peaks'], 0.1):.3f}",
                "border": f"{pooled['border'].mean():.3f}",
                "gain told without truth": f"{1 / np.sqrt(1 - np.median(pooled['share'])):.2f}"
                if np.median(pooled["share"]) < 1 else "-",
            })  # fmt: skip
    return rows


def half(images: np.ndarray, parity: int) -> np.ndarray:
    """Every second pixel of images (..., H, W) as on a chessboard, packed to (..., H, W / 2)."""
    width = images.shape[-1] // 2 * 2
    return np.stack([images[..., y, (y + parity) % 2 : width : 2] for y in range(images.shape[-2])], axis=-2)


def load_neurofinder(folder: Path) -> tuple[Movie, np.ndarray]:
    """Load the two-photon crop and its hand-labelled active regions (N, H, W)."""
    movie = load_movie(folder / "2p_neurofinder_7hz.tif", fs=7.0, progress=False)
    regions = json.loads((folder / "2p_neurofinder_7hz_regions.json").read_text())["regions"]
    masks = np.zeros((len(regions), *movie.shape[1:]), dtype=bool)
    for mask, region in zip(masks, regions, strict=True):
        y, x = np.array(region["coordinates"]).T
        mask[y, x] = True
    return movie, masks


def load_miniscope(folder: Path) -> tuple[Movie, np.ndarray]:
    """Load the one-photon crop, moved by whole pixels (interpolation would share noise between the halves), and its cells."""
    movie = load_movie(folder / "1p_miniscope.tif", fs=15.0, progress=False)
    with np.load(folder / "1p_miniscope_reference.npz") as stored:
        steps, images = np.rint(stored["shifts_yx"]).astype(int), stored["A"]
    frames = movie.frames()
    reach = int(np.abs(steps).max())
    padded = np.pad(frames, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    height, width = movie.shape[1:]
    moved = [
        frame[reach - dy : reach - dy + height, reach - dx : reach - dx + width]
        for frame, (dy, dx) in zip(padded, steps, strict=True)
    ]
    inner = np.s_[:, reach:-reach, reach:-reach]
    masks = (images > 0.2 * images.max(axis=(1, 2), keepdims=True))[inner]
    return movie.replace(data=np.ascontiguousarray(np.stack(moved)[inner])), masks


def empty_discs(masks: np.ndarray, n: int, radius_px: float) -> np.ndarray:
    """Discs at random places at least 3 px away from every cell."""
    rng = np.random.default_rng(0)
    taken = binary_dilation(masks.any(axis=0), iterations=3)
    y, x = np.mgrid[: masks.shape[1], : masks.shape[2]]
    discs = []
    for _ in range(100 * n):
        disc = np.hypot(y - rng.uniform(0, masks.shape[1]), x - rng.uniform(0, masks.shape[2])) <= radius_px
        if not (disc & taken).any() and disc.sum() > 0.9 * np.pi * radius_px**2:
            discs.append(disc)
    return np.array(discs[:n])


def correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlate each row of a (N, T) with each of b; 0 for a constant row."""
    a, b = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (a, b))
    scale = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return np.divide(a @ b.T, scale, out=np.zeros_like(scale), where=scale > 1e-6)


def halves(movie: Movie, places: np.ndarray, work: Method) -> list[np.ndarray]:
    """Traces (N, T) of places (N, H, W) from the two halves of the pixels, each gone through ``work`` by itself."""
    weights = [half(places, parity).reshape(len(places), -1).astype(np.float32) for parity in (0, 1)]
    return [average(work(movie.replace(data=half(movie.frames(), parity))), weights[parity]) for parity in (0, 1)]


def real(folder: Path) -> list[Row]:
    """One row a recording and method."""
    rows = []
    for name, load in {"2p_neurofinder": load_neurofinder, "1p_miniscope": load_miniscope}.items():
        movie, masks = load(folder)
        masks = masks[[min(half(mask, parity).sum() for parity in (0, 1)) >= 10 for mask in masks]]
        discs = empty_discs(masks, 60, np.sqrt(np.median(masks.sum(axis=(1, 2))) / np.pi))
        places, n = np.concatenate([masks, discs]), len(masks)
        centres = np.array([np.argwhere(mask).mean(axis=0) for mask in masks])
        far = np.linalg.norm(centres[:, None] - centres, axis=2) > 60
        raw = halves(movie, places, METHODS["raw"])
        before = np.diagonal(correlate(*raw))
        for method, work in METHODS.items():
            a, b = halves(movie, places, work)
            same, found = np.diagonal(correlate(a, b)), correlate(a, b)[:n, :n][far]
            to_raw = (np.diagonal(correlate(a, raw[1])) + np.diagonal(correlate(raw[0], b))) / 2
            chance = np.diagonal(correlate(a, np.roll(b, movie.n_frames // 2, axis=1)))
            rows.append({
                "recording": name, "method": method, "cells": n, "halves agree": f"{np.median(same[:n]):.3f}",
                "higher than raw": f"{(same[:n] > before[:n]).mean():.0%}",
                "with the raw other half": f"{np.median(to_raw[:n]):.3f}", "empty discs": len(discs),
                "discs agree": f"{np.median(same[n:]):.3f}", "discs with raw": f"{np.median(to_raw[n:]):.3f}",
                "cells far apart": f"{np.median(found):.3f}",
                "rolled in time": f"{np.median(chance):.3f}", "rolled, 95 % below": f"{np.quantile(np.abs(chance), 0.95):.3f}",
            })  # fmt: skip
    return rows


class PeakMemory:
    """Largest anonymous memory (mapped files left out) while the block runs, above that at its start, in MiB."""

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = self.now()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    @staticmethod
    def now() -> float:
        """Anonymous memory now, MiB."""
        return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    def watch(self) -> None:
        """Look every 20 ms."""
        while not self.done.wait(0.02):
            self.peak = max(self.peak, self.now())

    @property
    def above_start(self) -> int:
        """MiB."""
        return round(self.peak - self.start)


def floor(frames: np.ndarray, out: np.ndarray, rank: int = 32, step: int = 100) -> None:
    """Do the least of a low rank of the whole movie, chunks over threads: a random sketch of its space, a projection on it."""
    flat, target = frames.reshape(len(frames), -1), out.reshape(len(frames), -1)
    mixing = np.random.default_rng(0).standard_normal((len(flat), rank), dtype=np.float32)
    starts = range(0, len(flat), step)

    def sketch(start: int) -> np.ndarray:
        return flat[start : start + step].T @ mixing[start : start + step]

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        basis = np.linalg.qr(sum(pool.map(sketch, starts)))[0]

        def project(start: int) -> None:
            target[start : start + step] = (flat[start : start + step] @ basis) @ basis.T

        list(pool.map(project, starts))


def speed(repeats: int) -> list[Row]:
    """Seconds and memory of the floor and of denoising, from a memory map to a memory map."""
    simulation = two_photon(ANCHOR_2P, seed=0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        maps = [
            np.lib.format.open_memmap(Path(folder) / f"{name}.npy", mode="w+", dtype=np.float32, shape=simulation.movie.shape)
            for name in ("movie", "out")
        ]
        registered = motion.apply_shifts(simulation.movie, simulation.shifts, out=maps[0])
        del simulation
        denoise(Movie(registered.frames(0, 100), fs=registered.fs))
        works = {
            "floor: rank 32 of the whole movie": lambda: floor(maps[0], maps[1]),
            "denoise": lambda: denoise(registered, out=maps[1]),
        }
        for name, work in works.items():
            seconds = []
            with PeakMemory() as memory:
                for _ in range(repeats):
                    start = time.perf_counter()
                    work()
                    seconds.append(time.perf_counter() - start)
            rows.append({
                "512 x 512 x 2000": name, "seconds": f"{min(seconds):.1f}", "threads": os.cpu_count(),
                "memory beyond the maps, MiB": memory.above_start, "of the floor": min(seconds),
            })  # fmt: skip
    for row in reversed(rows):
        row["of the floor"] = f"{row['of the floor'] / rows[0]['of the floor']:.1f}"
    return rows


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", choices=["speed", "simulated", "real"], help="make one table alone")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.only in (None, "speed"):
        write_table("denoising_speed", speed(options.repeats), COMMAND)
    if options.only in (None, "simulated"):
        write_table("denoising", simulated(["2p", "1p"], options.seeds), COMMAND)
    folder = os.environ.get("CALCIUM_DATA_DIR")
    if folder and options.only in (None, "real"):
        write_table("denoising_real", real(Path(folder)), COMMAND)


if __name__ == "__main__":
    main()
