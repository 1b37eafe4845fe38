"""``run``: the steps in order, timed, resumable, and summed up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from calcium_helpers import io, motion
from calcium_helpers.containers import Movie, Shifts
from calcium_helpers.movie import summarise
from calcium_helpers.pipeline import steps
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.summary import score_against_truth, summarise_run
from calcium_helpers.results import Detection, Results, Simulation
from calcium_helpers.workdir import WorkDir

logger = logging.getLogger(__name__)

SMALLEST_SIDE_PX = motion.SMALLEST_SIDE_PX


def run(
    movie: Movie,
    config: PipelineConfig,
    *,
    out: str | Path | None = None,
    truth: Simulation | None = None,
    device: str = "cpu",
    save_movie: bool = False,
    progress: bool = False,
) -> Results:
    """Analyse a movie: motion, cells, traces, dF/F, spikes, and a summary of them all.

    Parameters
    ----------
    movie : Movie
        Raw; may be larger than memory.
    config : PipelineConfig
        ``PipelineConfig.for_modality("2p")`` or "1p", with what you wish changed.
    out : path, optional
        Folder for ``results.h5`` and for the intermediates in ``work/``: a second run with the same movie and parameters
        resumes after the last finished step. Nothing is written where it is not given.
    truth : Simulation, optional
        What is true of a simulated movie; the summary then says how much of it was recovered.
    device : str
        "cpu", or "cuda" for motion correction on a GPU.
    save_movie : bool
        Also write ``motion_corrected.tif`` to ``out``.
    progress : bool
        Show progress bars.

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        For NaN or infinite pixels (names the frame), an unknown detector or device, ``out`` that is a file, or ``save_movie``
        without ``out``.
    """
    _check_request(config, out, device, save_movie)
    folder = None if out is None else Path(out)
    clock = _Clock()
    warnings: list[str] = []
    constant = clock.time("check", lambda: io.check_frames(movie, progress=progress)).constant_frames
    if len(constant):
        warnings.append(f"{len(constant)} constant frames (the first is frame {constant[0]}): dropped or blanked frames?")
    work = WorkDir(None if folder is None else folder / "work", movie)
    corrected, shifts = _motion(movie, config, work, device, progress, clock, warnings)
    images = clock.time("images", lambda: summarise(corrected, progress=progress))
    quality = None
    if shifts is not None and config.motion is not None:
        settings = config.motion
        quality = clock.time("motion quality", lambda: motion.estimate_quality(movie, corrected, shifts, config=settings))
    detection = cast(Detection, clock.step("detect", lambda: steps.detect_cells(corrected, shifts, config, work, progress)))
    footprints = detection.footprints
    activity = cast(
        steps.Activity,
        clock.step("traces", lambda: steps.extract_activity(corrected, footprints, config, work, progress)),
    )
    summary = summarise_run(movie, config, shifts, quality, detection, activity, warnings)
    if truth is None and config.indicator is None:
        warnings.append("no indicator was named: the rise of calcium is taken as 0.04 s, so spikes may be a frame or two off")
    if truth is not None:
        summary["truth"] = score_against_truth(truth, shifts, detection, activity)
    results = Results(
        footprints, *activity, _cells(detection), detection.funnel, clock.table(), movie.times_s, shifts,
        {**images._asdict(), "mean_raw": _quick_mean(movie)}, config.as_dict(),
        {**summary, "seconds_total": clock.total_s}, _history(movie, corrected, detection, config),
    )  # fmt: skip
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        io.save_results(results, folder / "results.h5")
        if save_movie:
            io.save_movie(corrected, folder / "motion_corrected.tif", progress=progress)
    return results


def _check_request(config: PipelineConfig, out: str | Path | None, device: str, save_movie: bool) -> None:
    """Refuse what cannot be done before anything is read or written."""
    if config.detector not in steps.DETECTORS:
        raise ValueError(f"detector must be one of {', '.join(steps.DETECTORS)}, got {config.detector!r}")
    if save_movie and out is None:
        raise ValueError("save_movie needs out, the folder to write motion_corrected.tif to")
    if out is not None and Path(out).is_file():
        raise ValueError(f"out must be a folder, got the file {out}: name another one")
    if device != "cpu":
        from calcium_helpers.motion.gpu import find_device

        find_device(device)


def _motion(
    movie: Movie, config: PipelineConfig, work: WorkDir, device: str, progress: bool, clock: _Clock, warnings: list[str]
) -> tuple[Movie, Shifts | None]:
    """Correct motion unless the configuration or the movie's size forbids it."""
    if config.motion is None:
        return movie, None
    if min(movie.shape[1:]) < SMALLEST_SIDE_PX:
        warnings.append(f"motion was not corrected: frames of {movie.shape[1]} x {movie.shape[2]} px are too small")
        return movie, None
    step = clock.step("motion", lambda: steps.correct_motion(movie, config, work, device, progress))
    registration = cast(motion.Registration, step)
    n_bad = len(registration.shifts.bad_frames)
    if n_bad:
        warnings.append(f"{n_bad} of {movie.n_frames} frames could not be aligned; cells were not looked for in them")
    return registration.movie, registration.shifts


class _Clock:
    """Times the steps of a run and keeps their notes."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, str]] = []
        self.started = time.perf_counter()

    def time(self, step: str, work: Callable[[], Any], note: str = "") -> Any:
        """Run ``work`` and note its seconds under the step's name."""
        start = time.perf_counter()
        value = work()
        self.rows.append((step, round(time.perf_counter() - start, 2), note))
        logger.info("%s: %.1f s %s", *self.rows[-1])
        return value

    def step(self, step: str, work: Callable[[], steps.Step]) -> object:
        """Run a resumable step and note whether it was found."""
        result = self.time(step, work)
        if result.found:
            self.rows[-1] = (*self.rows[-1][:2], "found from an earlier run")
        return result.value

    @property
    def total_s(self) -> float:
        """Seconds since the run began."""
        return round(time.perf_counter() - self.started, 2)

    def table(self) -> pd.DataFrame:
        """One row a step."""
        return pd.DataFrame(self.rows, columns=["step", "seconds", "note"])


def _quick_mean(movie: Movie) -> np.ndarray:
    """Mean of up to 200 raw frames, shape (H, W): what the eye compares the corrected mean with."""
    return motion.sample_frames(movie, 200).mean(axis=0, dtype=np.float64).astype(np.float32)


def _cells(detection: Detection) -> pd.DataFrame:
    """One row a component: id, place, decision and scores."""
    centroids = detection.footprints.centroids
    place = pd.DataFrame({"id": detection.footprints.ids, "y_px": centroids[:, 0], "x_px": centroids[:, 1]})
    return pd.concat([place, detection.scores.reset_index(drop=True)], axis=1)


def _history(movie: Movie, corrected: Movie, detection: Detection, config: PipelineConfig) -> tuple[str, ...]:
    """List what was done, oldest first."""
    done = corrected.history if len(corrected.history) > len(movie.history) else (*movie.history, "no motion correction")
    n_accepted = int(detection.scores["accepted"].sum())
    return (*done, f"{config.detector}: {n_accepted} of {len(detection.scores)} components accepted", config.deconvolution)
