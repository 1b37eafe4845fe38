"""What a run will do and about what it takes, before it starts: steps, seconds, memory, disk."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Movie
from calcium_helpers.containers._base import check_positive
from calcium_helpers.memory import chunk_bytes, limit_memory
from calcium_helpers.models.cnmf.prepare import MAX_BINS
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.given import Given, corrects_motion
from calcium_helpers.pipeline.keys import name_files

NANOSECONDS = {
    "check": 2.0,
    "rigid": 8.0,
    "piecewise": 24.0,
    "images": 8.0,
    "detect": 10.0,
    "denoise": 30.0,
    "extract": 6.0,
}
"""Time a pixel and frame on two threads, by benchmarks/scaling.py; slower disks and processors take longer."""

NANOSECONDS_A_BIN = {"cnmf": 360.0, "coordinates": 450.0, "lstm-ista": 100.0}
"""Time a pixel and bin that detection takes beside, by detector: in movies of 8 to 40 Hz."""

NANOSECONDS_SEEN = 700.0
"""Time a pixel and bin that a network is shown, with the halo of its tile."""

MICROSECONDS_A_SAMPLE = 20.0
"""Time a cell and frame for dF/F, spikes and tables."""

MICROSECONDS_AN_EVENT_SAMPLE = 1.0
"""Time a cell and frame for the search for events."""

START_S = 12.0
"""Loading libraries and compiled code, statistics and figures of some tens of cells, seconds."""

PIXELS_A_CELL = 1750
"""One cell in so many pixels where nothing is known of their number."""

BASE_GB = 0.35
"""Libraries, compiled code and the report's pictures."""

COPIES_OF_A_CHUNK, BYTES_A_SAMPLE, IMAGES_BYTES = 4, 60, 16 * 8
"""Of a chunk of frames, a cell and frame, and a pixel: what lies in memory at a time."""

COPIES_OF_BINS = {"cnmf": 2, "coordinates": 6, "lstm-ista": 2, "denoise": 2}
"""Of the binned movie (coordinates: where cells are too small to pool pixels)."""

COPIES_OF_A_TILE = 6
"""Detection scores the field in tiles, one a thread, with some pixels around each, and copies each a few times."""

TORCH_GB, BYTES_SEEN, SHOWN_PX = 0.2, 85, 216
"""PyTorch; what a network makes of a pixel and bin; side of the tile that it is shown at a time, with its halo."""

SAMPLED_FRAMES = 200
"""Frames on which the correction of motion is judged."""


class Plan(NamedTuple):
    """What is ahead, all about: ``steps`` (columns ``step, found, seconds``), memory and disk in GB (10**9 bytes).

    ``least_gb`` is the smallest limit of memory that can hold.
    """

    steps: pd.DataFrame
    seconds: float
    memory_gb: float
    least_gb: float
    disk_gb: float


def plan(
    movie: Movie,
    config: PipelineConfig,
    *,
    given: Given | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    max_memory_gb: float | None = None,
    save_movie: bool = False,
) -> Plan:
    """Say what ``run`` with the same arguments would do; nothing is written.

    Parameters
    ----------
    movie, config, given, out, device, max_memory_gb, save_movie
        As for ``run``.

    Returns
    -------
    Plan
        Times scale from a machine with two cores; the number of cells is guessed from the field unless regions were given.

    Raises
    ------
    ValueError
        As ``run`` does, but for what only a look at all pixels can tell.
    """
    given = given or Given()
    check_request(movie, config, given, out, device, max_memory_gb, save_movie)
    files = name_files(movie, config, given, None if out is None else Path(out) / "work")
    found = files.found()
    n_cells = _n_cells(movie, given)
    seconds = _seconds(movie, config, given, n_cells)
    steps = pd.DataFrame(
        [(step, found.get(step, False), 0.0 if found.get(step, False) else time) for step, time in seconds.items()],
        columns=["step", "found", "seconds"],
    )
    corrected = 4 * np.prod(movie.shape, dtype=float)
    written = (
        corrected
        * (sum(step in seconds and not found[step] for step in ("motion", "denoise")) + save_movie)
        * (out is not None)
    )
    disk_gb = (written + 60 * n_cells * movie.n_frames) / 1e9
    memory_gb = _memory_gb(movie, config, given, max_memory_gb)
    if max_memory_gb is None and out is None and "motion" in seconds:
        memory_gb += corrected / 1e9
    return Plan(steps, float(steps["seconds"].sum()) + START_S, memory_gb, _memory_gb(movie, config, given, 0.0), disk_gb)


def check_request(
    movie: Movie, config: PipelineConfig, given: Given, out: str | Path | None, device: str, max_memory_gb: float | None,
    save_movie: bool,
) -> None:  # fmt: skip
    """Refuse what cannot be done before anything is read or written."""
    if given.regions is None and config.detector == "rois":
        raise ValueError('detector "rois" needs regions, got none: give them, or the name of another detector')
    given.check(movie, config)
    if given.regions is None and config.detector == "lstm-ista" and config.detector_config.weights is not None:
        from calcium_helpers.models.lstm_ista import load_lstm_ista  # torch takes seconds to load

        load_lstm_ista(config.detector_config.weights)
    if save_movie and out is None:
        raise ValueError("save_movie needs out, the folder to write motion_corrected.tif to")
    if out is not None and Path(out).is_file():
        raise ValueError(f"out must be a folder, got the file {out}: name another one")
    if device != "cpu":
        from calcium_helpers.motion.gpu import find_device

        find_device(device)
    if max_memory_gb is not None:
        check_positive("max_memory_gb", max_memory_gb, "GB")
        least = math.ceil(10 * _memory_gb(movie, config, given, 0.0)) / 10
        if max_memory_gb < least:
            raise ValueError(f"max_memory_gb must be at least {least} GB for this recording, got {max_memory_gb:g} GB")


def _seconds(movie: Movie, config: PipelineConfig, given: Given, n_cells: int) -> dict[str, float]:
    """Seconds of each step, in order."""
    n_frames, height, width = movie.shape
    of_all = n_frames * height * width / 1e9
    seconds = {"check": NANOSECONDS["check"] * of_all}
    quality = 0.0
    if config.motion is not None and corrects_motion(movie, config):
        speed = NANOSECONDS["piecewise" if config.motion.piecewise else "rigid"] * 2 / min(os.cpu_count() or 1, 16)
        template = 3 * config.motion.n_template_frames * height * width / 1e9
        seconds["motion"] = speed * (of_all + template)
        quality = SAMPLED_FRAMES * height * width / 1e9 * NANOSECONDS["rigid"] * 2
    seconds["images"] = NANOSECONDS["images"] * of_all
    if quality:
        seconds["motion quality"] = quality
    if given.regions is None:
        a_pixel = NANOSECONDS_A_BIN[config.detector] * _n_bins(movie, config)
        if config.detector == "lstm-ista":
            a_pixel += NANOSECONDS_SEEN * _n_shown(movie, config) * config.detector_config.n_passes
        seconds["detect"] = NANOSECONDS["detect"] * of_all + a_pixel * height * width / 1e9
    if config.denoise is not None:
        seconds["denoise"] = NANOSECONDS["denoise"] * of_all
    seconds["traces"] = NANOSECONDS["extract"] * of_all + MICROSECONDS_A_SAMPLE * n_cells * n_frames / 1e6
    seconds["events"] = MICROSECONDS_AN_EVENT_SAMPLE * n_cells * n_frames / 1e6
    return seconds


def _n_cells(movie: Movie, given: Given) -> int:
    """How many regions were given, or a guess."""
    return movie.shape[1] * movie.shape[2] // PIXELS_A_CELL + 1 if given.regions is None else len(given.regions)


def _n_bins(movie: Movie, config: PipelineConfig) -> int:
    """How many bins of frames the detector looks at."""
    per_bin = max(1, round(config.detector_config.decay_s * movie.fs / 2))
    return min(movie.n_frames // per_bin + 1, MAX_BINS)


def _n_shown(movie: Movie, config: PipelineConfig) -> int:
    """How many of them a network is shown at a time."""
    return min(_n_bins(movie, config), config.detector_config.max_bins)


def _memory_gb(movie: Movie, config: PipelineConfig, given: Given, limit_gb: float | None) -> float:
    """Peak of the steps' memory: images, copies of a chunk, frames of the template, bins of detection, traces."""
    n_frames, height, width = movie.shape
    with limit_memory(limit_gb):
        tile = chunk_bytes(2**26)
    chunks = COPIES_OF_A_CHUNK * min(tile, 4 * n_frames * height * width)
    template = bins = tiles = 0
    if limit_gb is None and config.motion is not None and corrects_motion(movie, config):
        template = (4 + movie.data.dtype.itemsize) * min(n_frames, config.motion.n_template_frames)
    if given.regions is None:
        n_bins = _n_bins(movie, config)
        tiles = COPIES_OF_A_TILE * (os.cpu_count() or 1) * min(tile, 4 * n_bins * height * width)
        bins = 0 if limit_gb is not None else COPIES_OF_BINS[config.detector] * 4 * n_bins
    if config.denoise is not None:
        window_s = min(config.denoise.window_s, movie.duration_s)
        bins = max(bins, round(COPIES_OF_BINS["denoise"] * 4 * window_s / (config.denoise.transient_s / 2)))
    traces = BYTES_A_SAMPLE * _n_cells(movie, given) * n_frames
    network = 0.0
    if given.regions is None and config.detector == "lstm-ista":
        network = TORCH_GB + BYTES_SEEN * min(height, SHOWN_PX) * min(width, SHOWN_PX) * _n_shown(movie, config) / 1e9
    return (
        BASE_GB
        + network
        + (IMAGES_BYTES * height * width + max(chunks, template * height * width, bins * height * width + tiles, traces)) / 1e9
    )
