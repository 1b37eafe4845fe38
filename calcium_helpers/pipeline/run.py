"""``run``: the steps in order, timed, resumable, and summed up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from calcium_helpers import io, motion
from calcium_helpers.containers import Movie, Shifts
from calcium_helpers.memory import limit_memory
from calcium_helpers.movie import summarise
from calcium_helpers.pipeline import steps
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.given import Given, corrects_motion, take_regions
from calcium_helpers.pipeline.keys import Files, name_files
from calcium_helpers.pipeline.plan import check_request
from calcium_helpers.pipeline.strip import take_strip
from calcium_helpers.pipeline.summary import score_against_truth, summarise_run
from calcium_helpers.results import Detection, Results
from calcium_helpers.workdir import clear_parts

logger = logging.getLogger(__name__)


def run(
    movie: Movie,
    config: PipelineConfig,
    *,
    given: Given | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    max_memory_gb: float | None = None,
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
    given : Given, optional
        What is known beside the movie: ``truth`` of a simulated one, your own ``regions`` in the place of detection, another
        channel to ``register_on``.
    out : path, optional
        Folder for ``results.h5`` and for the intermediates in ``work/``: a second run with the same movie and parameters
        resumes after the last finished step. Nothing is written where it is not given.
    device : str
        "cpu", or "cuda" for motion correction, and detection by learnable coordinates or a network, on a GPU.
    max_memory_gb : float, optional
        About how much memory the process may take, GB (10**9 bytes), not counting files mapped into memory, which the system
        takes back when memory is short. Frames are then read in smaller chunks, and large arrays lie in unnamed files.
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
        For NaN or infinite pixels (names the frame), an unknown detector or device, ``out`` that is a file, ``save_movie``
        without ``out``, a limit of memory that cannot hold, or something given that does not belong to the movie.
    """
    given = given or Given()
    if given.regions is not None:
        config = replace(config, detector="rois")
    check_request(movie, config, given, out, device, max_memory_gb, save_movie)
    folder = None if out is None else Path(out)
    with limit_memory(max_memory_gb, folder and folder / "work"):
        return _run(movie, config, given, folder, device, save_movie, progress)


def _run(
    movie: Movie, config: PipelineConfig, given: Given, folder: Path | None, device: str, save_movie: bool, progress: bool
) -> Results:
    """Run the steps."""
    if folder is not None:
        clear_parts(folder)
    clock = _Clock()
    warnings: list[str] = []
    constant = clock.time("check", lambda: io.check_frames(movie, progress=progress)).constant_frames
    if len(constant):
        warnings.append(f"{len(constant)} constant frames (the first is frame {constant[0]}): dropped or blanked frames?")
    files = name_files(movie, config, given, folder and folder / "work")
    corrected, shifts = _motion(movie, config, given, files.motion, device, progress, clock, warnings)
    images = clock.time("images", lambda: summarise(corrected, progress=progress))
    quality = None
    if shifts is not None:
        quality = clock.time("motion quality", lambda: steps.check_motion(movie, corrected, shifts, config, given.register_on))
    detection, activity, quiet = _cells_and_activity(corrected, shifts, config, given, files, device, progress, clock)
    events = clock.time("events", lambda: steps.find_events(activity, config))
    stages = (
        {"raw": movie} | ({} if shifts is None else {"corrected": corrected}) | ({} if quiet is None else {"denoised": quiet})
    )
    cells = _cells(detection, activity)
    summary = summarise_run(movie, config, shifts, quality, detection, activity, cells, warnings)
    if given.truth is not None:
        summary["truth"] = score_against_truth(given.truth, shifts, detection, activity)
    if summary["motion"] and given.register_on is not None:
        summary["motion"]["estimated_on"] = steps.name_channel(given.register_on)
    results = Results(
        detection.footprints, *activity[:5], events, cells, detection.funnel, clock.table(), movie.times_s, shifts,
        {**images._asdict(), "mean_raw": _quick_mean(movie)}, take_strip(stages, activity.denoised), config.as_dict(),
        {**summary, "seconds_total": clock.total_s}, _history(movie, corrected, detection, config),
    )  # fmt: skip
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        io.save_results(results, folder / "results.h5")
        if save_movie:
            io.save_movie(corrected, folder / "motion_corrected.tif", progress=progress)
    return results


def _motion(
    movie: Movie, config: PipelineConfig, given: Given, path: Path | None, device: str, progress: bool, clock: _Clock,
    warnings: list[str],
) -> tuple[Movie, Shifts | None]:  # fmt: skip
    """Correct motion unless the configuration or the movie's size forbids it."""
    if not corrects_motion(movie, config):
        if config.motion is not None:
            warnings.append(f"motion was not corrected: frames of {movie.shape[1]} x {movie.shape[2]} px are too small")
        return movie, None
    step = clock.step("motion", lambda: steps.correct_motion(movie, config, given.register_on, path, device, progress))
    registration = cast(motion.Registration, step)
    n_bad = len(registration.shifts.bad_frames)
    if n_bad:
        what = "were not used to find cells" if given.regions is None else "have the shifts of their neighbours"
        warnings.append(f"{n_bad} of {movie.n_frames} frames could not be aligned; they {what}")
    return registration.movie, registration.shifts


def _cells_and_activity(
    movie: Movie, shifts: Shifts | None, config: PipelineConfig, given: Given, files: Files, device: str, progress: bool,
    clock: _Clock,
) -> tuple[Detection, steps.Activity, Movie | None]:  # fmt: skip
    """Find cells, or take the regions given, and extract what they did; the denoised movie, where there is one, comes last."""
    footprints, detection = given.regions, None
    if footprints is None:
        detection = cast(
            Detection, clock.step("detect", lambda: steps.detect_cells(movie, shifts, config, files.detect, device, progress))
        )
        footprints = detection.footprints
    quiet, noisy = movie, None
    if config.denoise is not None:
        step = clock.step("denoise", lambda: steps.denoise_movie(movie, shifts, config, files.denoise, progress))
        quiet, noisy = cast(Movie, step), movie
    step = clock.step("traces", lambda: steps.extract_activity(quiet, footprints, config, files.traces, progress, noisy))
    activity = cast(steps.Activity, step)
    detection = take_regions(footprints, activity) if detection is None else detection
    return detection, activity, None if noisy is None else quiet


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


def _cells(detection: Detection, activity: steps.Activity) -> pd.DataFrame:
    """One row a component: id, place, decision and scores, and of a denoised movie what that did to its noise."""
    centroids = detection.footprints.centroids
    place = pd.DataFrame({"id": detection.footprints.ids, "y_px": centroids[:, 0], "x_px": centroids[:, 1]})
    noise = {name: values for name in steps.Activity._fields[6:] if (values := getattr(activity, name)) is not None}
    return pd.concat([place, detection.scores.reset_index(drop=True)], axis=1).assign(**noise)


def _history(movie: Movie, corrected: Movie, detection: Detection, config: PipelineConfig) -> tuple[str, ...]:
    """List what was done, oldest first."""
    done = corrected.history if len(corrected.history) > len(movie.history) else (*movie.history, "no motion correction")
    n_accepted = int(detection.scores["accepted"].sum())
    cells = f"{config.detector}: {n_accepted} of {len(detection.scores)} components accepted"
    denoised = () if config.denoise is None else (f"traces of the movie denoised in blocks of {config.denoise.block_px} px",)
    network = ("spikes by the network",) if config.spikes == "net" else ()
    cells = f"{n_accepted} regions of the user" if config.detector == "rois" else cells
    return (*done, cells, *denoised, config.deconvolution, *network)
