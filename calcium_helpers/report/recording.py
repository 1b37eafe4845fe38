"""Pictures of the recording and of what was found in it: motion, frames, cells, traces, the funnel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers import plots
from calcium_helpers.report.figures import Drawing, canvas
from calcium_helpers.results import Results

if TYPE_CHECKING:
    from calcium_helpers.stats import Statistics

STACKED_CELLS = 20
SPIKES = {
    "oasis": (
        "inferred spikes (red ticks, as high as their amplitude)",
        "spikes are the inputs that explain a trace best. Small ticks without an event are uncertain; amplitudes of spikes are "
        "not numbers of action potentials",
    ),
    "net": (
        "inferred firing rates (red, each frame as high as its rate)",
        "rates are those of cells whose traces looked alike in the network's training: when a cell fired is surer than how "
        "much, and interneurons come out far too low",
    ),
}
"""By what spikes were inferred: what is drawn, and what is assumed."""
STAGES: tuple[str, ...] = ("raw", "corrected", "denoised")


def draw_motion(results: Results, _: Statistics) -> Drawing | None:
    """Shifts and the match with the template."""
    if results.shifts is None:
        return None
    figure = canvas(10, 4.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    plots.show_shifts(results.shifts, results.dff.fs, ax=top)
    plots.show_template_correlation(results.shifts, results.dff.fs, ax=bottom)
    top.set_xlabel("")
    return Drawing(
        figure,
        "Correction of each frame (above; shaded: the range over the field) and how well the corrected frame matches the "
        "template (below). Look for jumps and for a match that falls over time; red marks are frames that were left out.",
        "Two line plots over time in seconds: shift in pixels along y and x, and correlation with the template.",
        "the field moves in its plane; a match that falls while shifts stay small points to motion in depth, bleaching or a "
        "change of focus, which cannot be corrected.",
    )


def draw_frames(results: Results, _: Statistics) -> Drawing | None:
    """Draw the strip of frames."""
    if not results.strip:
        return None
    strip = {name: results.strip[name] for name in STAGES if name in results.strip}
    first = next(iter(strip.values()))
    n, height, width = first.shape
    figure = canvas(10, float(np.clip(10 / n * height / width * len(strip) + 0.6, 1.5, 9)))
    plots.show_frames(strip, ax=figure.subplots())
    return Drawing(
        figure,
        "The same few frames at each stage, all on one scale of brightness. Look for cells that stay in place from left to "
        "right once corrected, and, where the movie was denoised, for cells that keep their shape while the grain goes.",
        "Rows of grey frames, one row for each stage of the movie, time in seconds from left to right.",
        "frames are binned to fit the page.",
    )


def draw_before_after(results: Results, _: Statistics) -> Drawing | None:
    """Draw the mean image before and after motion correction."""
    if results.shifts is None or not {"mean_raw", "mean"} <= results.images.keys():
        return None
    figure = canvas(10, 4.8)
    for ax, name, title in zip(figure.subplots(1, 2), ("mean_raw", "mean"), ("before", "after"), strict=True):
        plots.show_image(results.images[name], pixel_um=results.summary.get("pixel_um"), ax=ax)
        ax.set_title(f"mean image {title} correction")
    return Drawing(
        figure,
        "Mean of all frames before and after motion correction. Look for sharper edges of cells and vessels on the right; "
        "doubled outlines are motion that was not removed.",
        "Two grey images side by side: the mean frame before and after motion correction, axes in pixels.",
        "shifts of parts of a pixel smooth a frame a little: with little motion, crispness falls by some per cent.",
    )


def draw_footprints(results: Results, statistics: Statistics) -> Drawing | None:
    """Outlines over the field."""
    if not len(results.footprints):
        return None
    figure = canvas(8, 7)
    accepted = np.isin(results.footprints.ids, statistics.ids)
    background = results.images.get("mean")
    pixel_um = results.summary.get("pixel_um")
    plots.show_footprints(results.footprints, background, accepted=accepted, pixel_um=pixel_um, ax=figure.subplots())
    return Drawing(
        figure,
        "The same map as a still picture, for slides and print: outlines of all components over the mean image.",
        "Outlines of cells over a grey image of the field, accepted ones solid orange, rejected ones dashed blue.",
        "an outline lies where a footprint falls to a fifth of its largest weight.",
    )


def draw_traces(results: Results, statistics: Statistics) -> Drawing | None:
    """Draw the most active cells."""
    if not len(statistics.rows):
        return None
    activity = results.spikes.values[statistics.rows].sum(axis=1)
    rows = statistics.rows[np.argsort(-activity, kind="stable")[:STACKED_CELLS]]
    figure = canvas(10, 1.2 + 0.32 * len(rows))
    shown, assumed = SPIKES["net" if results.parameters.get("spikes") == "net" else "oasis"]
    plots.show_traces(results.dff.select(rows), results.spikes.select(rows), events=results.events, ax=figure.subplots())
    return Drawing(
        figure,
        "ΔF/F of the most active accepted cells (blue), their events (orange from onset to offset, a dot at the peak) and "
        f"their {shown}. Look for steep rises with slow decays, each with red "
        "under its rise; drifts, plateaus or dips are neither.",
        "Stacked line plots of fluorescence over time in seconds, one line a cell, with events marked and ticks for spikes.",
        f"events and spikes are found independently: events pass a stated rate of false positives, {assumed}.",
    )


def draw_funnel(results: Results, _: Statistics) -> Drawing | None:
    """From candidates to cells."""
    if results.funnel.empty:
        return None
    figure = canvas(10, 1 + 0.35 * len(results.funnel))
    plots.show_funnel(results.funnel, ax=figure.subplots())
    return Drawing(
        figure,
        "How many candidates reached or left at each stage of detection. Look for a stage that removes nearly everything: its "
        "threshold does not suit this recording.",
        "Bars from top to bottom: number of candidates at each stage of detection, with the reason.",
    )


DRAWERS = {
    "motion": draw_motion, "frames": draw_frames, "before_after": draw_before_after, "footprints": draw_footprints,
    "traces": draw_traces, "funnel": draw_funnel,
}  # fmt: skip
