"""One recording: open it, plan or run the analysis, write the report, say what was found."""

from __future__ import annotations

import argparse
import difflib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from calcium_helpers import manifest, pipeline
from calcium_helpers.cli.estimates import free_gb, say_duration
from calcium_helpers.containers import Movie
from calcium_helpers.denoise import DenoiseConfig
from calcium_helpers.io import load_movie
from calcium_helpers.io.curation import CURATION
from calcium_helpers.io.lazy import select
from calcium_helpers.io.regions import load_regions
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.models.lstm_ista import LSTMISTAConfig
from calcium_helpers.models.one_photon import CoordinatesConfig
from calcium_helpers.pipeline import Given, PipelineConfig, Plan
from calcium_helpers.results import Results, Simulation
from calcium_helpers.simulate import OFFSET
from calcium_helpers.stats import Statistics, read_stimuli, state_numbers

DEMO = "demo_2p"
ABOUT = ("fs", "pixel_um", "dataset", "channel", "plane")


class Job(NamedTuple):
    """What is to be analysed, and how."""

    movie: Movie
    config: PipelineConfig
    given: Given
    out: Path

    def plan(self, options: argparse.Namespace) -> Plan:
        """Plan the run."""
        return pipeline.plan(
            self.movie, self.config, given=self.given, out=self.out, device=options.device,
            max_memory_gb=options.max_memory, save_movie=options.save_movie,
        )  # fmt: skip


def run_one(options: argparse.Namespace) -> int:
    """Analyse a movie and write the report, or say what that takes."""
    whole = job = open_job(options)
    stimuli = None if options.stimuli is None else read_stimuli(options.stimuli)
    if options.preview is not None:
        job = _preview(whole, options.preview)
    plan = job.plan(options)
    print(f"{_size(job.movie)}: {_takes(plan)}")
    if options.dry_run:
        print(_steps(plan, job.out))
        return 0
    from calcium_helpers.report import write_report, write_tables
    from calcium_helpers.stats import analyse

    results = pipeline.run(
        job.movie, job.config, given=job.given, out=job.out, device=options.device, max_memory_gb=options.max_memory,
        save_movie=options.save_movie, progress=not options.quiet,
    )  # fmt: skip
    truth = job.given.truth
    statistics = analyse(results, stimuli=stimuli)
    page = write_report(results, job.out, truth=None if truth is None else truth.footprints, statistics=statistics)
    write_tables(results, job.out, statistics=statistics)
    print(_found(results, statistics))
    print(f"report: {page}   tables, results.h5 and the intermediates (work/) lie beside it")
    if (job.out / CURATION).exists():
        print(f"note: {job.out / CURATION} holds decisions: calcium-helpers update {job.out} applies them to tables and report")
    if options.preview is not None:
        print(f"the whole recording, {_size(whole.movie)}: {_takes(_scaled(whole.plan(options), plan, results))}")
    return 0


def open_job(options: argparse.Namespace) -> Job:
    """Open the movie and what belongs to it, and turn options into a configuration."""
    progress = not options.quiet
    known = {entry.name: entry for entry in manifest.entries()}
    name = options.movies[0] if options.movies else DEMO
    truth = None
    if name in known and (not Path(name).exists() or (Path(name) / "results.h5").exists()):  # or a report of that name
        entry = known[name]
        if given := [key for key in (*ABOUT, "register_on") if getattr(options, key) is not None]:
            raise ValueError(f"{name} is known by name, with its rate and size: leave out --{given[0].replace('_', '-')}")
        if entry.kind != "movie":
            raise ValueError(f"{name} is of kind {entry.kind!r}, not a movie: calcium-helpers list names them all")
        loaded = manifest.load(entry, progress=progress)
        truth = loaded if isinstance(loaded, Simulation) else None
        movie = loaded.movie if isinstance(loaded, Simulation) else cast("Movie", loaded)
        modality = options.modality or entry.modality
    else:
        modality = options.modality
        if not Path(name).exists() and (near := difflib.get_close_matches(name, known, n=1)):
            raise ValueError(f"{name}: no such file; is the recording {near[0]} meant? calcium-helpers list names them all")
        movie = load_movie(name, **{key: getattr(options, key) for key in ABOUT}, progress=progress)
    if modality is None:
        raise ValueError(f"{name}: two-photon or one-photon? Say --modality 2p or --modality 1p")
    register_on = regions = None
    if options.register_on is not None:
        if options.register_on == options.channel:
            raise ValueError(f"--register-on must be another channel than --channel {options.channel}: leave it out")
        about = {key: getattr(options, key) for key in ABOUT} | {"channel": options.register_on}
        register_on = load_movie(name, **about, progress=progress)
    if options.rois is not None:
        regions = load_regions(options.rois, movie.shape[1:])
    return Job(movie, _config(options, modality, simulated=truth is not None), Given(truth, regions, register_on), options.out)


def _config(options: argparse.Namespace, modality: str, *, simulated: bool) -> PipelineConfig:
    """Turn options into a configuration of the pipeline."""
    if options.rois is not None and (options.max_cells is not None or options.diameter_px is not None):
        raise ValueError("--max-cells and --diameter-px are for finding cells, --rois gives them: leave one of them out")
    if options.model is not None and (options.detector != "lstm-ista" or options.rois is not None):
        raise ValueError("--model is the network of --detector lstm-ista, which does not run here: leave it out")
    cells = {"diameter_px": options.diameter_px, "max_cells": options.max_cells}
    config = PipelineConfig.for_modality(
        modality,
        detector=options.detector,
        indicator=options.indicator,
        spikes=options.spikes,
        **({} if options.neuropil is None else {"neuropil": options.neuropil}),
        false_positives_per_min=options.false_positives,
        offset=options.offset if options.offset is not None else (OFFSET if simulated else 0.0),
        denoise=DenoiseConfig() if options.denoise else None,
        cnmf=CNMFConfig(**cells),
        coordinates=CoordinatesConfig(**cells),
        lstm_ista=LSTMISTAConfig(**cells, weights=options.model),
    )
    if options.no_motion or config.motion is None:
        return replace(config, motion=None)
    motion = replace(
        config.motion,
        piecewise=config.motion.piecewise and not options.rigid,
        bidiphase=config.motion.bidiphase and not options.no_bidiphase,
    )
    return replace(config, motion=motion)


def _preview(job: Job, seconds: float) -> Job:
    """Keep the first seconds; their truth is left out, since cells may be silent for so long."""
    n = min(job.movie.n_frames, max(1, round(seconds * job.movie.fs)))

    def cut(movie: Movie) -> Movie:
        times = None if movie.times_s is None else movie.times_s[:n]
        note = f"preview: the first {n} of {movie.n_frames} frames"
        return movie.replace(data=select(movie.data, np.arange(n)), times_s=times, history=(*movie.history, note))

    channel = job.given.register_on
    given = job.given._replace(truth=None, register_on=None if channel is None else cut(channel))
    return Job(cut(job.movie), job.config, given, job.out / "preview")


def _scaled(whole: Plan, part: Plan, results: Results) -> Plan:
    """Scale the plan of the whole recording by what the preview took against its own plan."""
    steps = part.steps.merge(results.steps[results.steps["note"] == ""], on="step", suffixes=("_planned", "_taken"))
    planned, taken = steps["seconds_planned"].sum(), steps["seconds_taken"].sum()
    return whole._replace(seconds=whole.seconds * (taken / planned if planned > 0 else 1.0))


def _size(movie: Movie) -> str:
    n, height, width = movie.shape
    return f"{n} frames of {height} x {width} px at {movie.fs:g} Hz ({movie.duration_s:.0f} s)"


def _takes(plan: Plan) -> str:
    """Say about what a run takes."""
    return f"about {say_duration(plan.seconds)}, {plan.memory_gb:.1f} GB of memory, {plan.disk_gb:.1f} GB on disk"


def _steps(plan: Plan, out: Path) -> str:
    """List the steps of a plan, and the space there is for it."""
    width = max(map(len, plan.steps["step"]))
    lines = [
        f"  {step:<{width}}  {'found from an earlier run' if found else f'about {say_duration(seconds)}'}"
        for step, found, seconds in zip(*(plan.steps[name] for name in ("step", "found", "seconds")), strict=True)
    ]
    free = free_gb(out)
    lines.append(f"{free:.1f} GB are free on that disk; --max-memory could be {plan.least_gb:.1f}GB or more")
    if free < plan.disk_gb:
        lines.append("note: the disk is too small for this run")
    return "\n".join([*lines, "nothing was written; times are scaled from a machine with two cores"])


def _found(results: Results, statistics: Statistics) -> str:
    """Sum up a run in a few lines."""
    summary = results.summary
    cells = f"{summary['n_accepted']} cells accepted of {summary['n_components']} components"
    if summary["detector"] == "rois":
        cells = f"{summary['n_accepted']} regions as given"
    lines = [f"{cells}, in {summary['seconds_total']:.0f} s"]
    stated = state_numbers(statistics)
    if stated["n_events"]:
        lines.append(
            f"{stated['n_events']} events, {stated['events_per_min']:.2g} a minute and cell; {stated['n_correlated_pairs']} of "
            f"{stated['n_pairs']} pairs correlated; {stated['n_synchronous']} synchronous "
            f"event{'s' * (stated['n_synchronous'] != 1)}"
        )
    if summary["motion"]:
        motion = summary["motion"]
        lines.append(
            f"motion: up to {motion['max_shift_px']:.1f} px; correlation with the template "
            f"{motion['template_correlation_before']:.2f} -> {motion['template_correlation_after']:.2f}"
            + (f" on {motion['estimated_on']}" if "estimated_on" in motion else "")
        )
    if summary["denoising"]:
        before = summary["denoising"]["median_noise_before"]
        lines.append(f"noise of dF/F: {before:.3f} without denoising, {summary['median_noise']:.3f} with it")
    if "truth" in summary:
        truth = summary["truth"]
        lines.append(
            f"against truth: F1 {truth['f1']:.2f} (precision {truth['precision']:.2f}, recall {truth['recall']:.2f}, "
            f"{truth['n_truth']} cells)"
        )
        if truth["trace_correlation_matched"] is not None:
            lines[-1] += (
                f"; of the matched cells, trace correlation {truth['trace_correlation_matched']:.2f}, "
                f"spike correlation {truth['spike_correlation']:.2f} (0.1-s bins, no lag)"
            )
    lines += [f"note: {warning}" for warning in summary["warnings"]]
    return "\n".join(lines)
