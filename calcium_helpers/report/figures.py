"""The still pictures of the report, each with its sentence and a text for those who do not see it."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from calcium_helpers import plots
from calcium_helpers.containers import Shifts
from calcium_helpers.results import Results

STACKED_CELLS = 20
STYLE: Any = {"font.size": 9, "axes.titlesize": 10, "axes.edgecolor": "#5b6770", "font.family": "DejaVu Sans"}


class Picture(NamedTuple):
    """A picture as a data address, what it shows and what to look for, and a text in its place."""

    src: str
    caption: str
    alt: str


def draw_pictures(results: Results, accepted: np.ndarray) -> dict[str, Picture]:
    """Draw every still picture that these results allow, by name."""
    with rc_context(STYLE):
        pictures: dict[str, Picture] = {}
        if accepted.any():
            pictures |= {"traces": _traces(results, accepted), "raster": _raster(results, accepted)}
        if results.shifts is not None:
            pictures["shifts"] = _motion(results.shifts, results.dff.fs)
            if "mean_raw" in results.images and "mean" in results.images:
                pictures["crispness"] = _crispness(results)
    return pictures


def _traces(results: Results, accepted: np.ndarray) -> Picture:
    rows = np.flatnonzero(accepted)
    activity = results.spikes.values[rows].sum(axis=1)
    rows = rows[np.argsort(-activity, kind="stable")[:STACKED_CELLS]]
    figure, ax = _figure(10, 1.2 + 0.32 * len(rows))
    plots.show_traces(results.dff.select(rows), results.spikes.select(rows), ax=ax)
    return Picture(
        _png(figure),
        "ΔF/F of the most active accepted cells (blue) with their inferred spikes (red ticks, as high as their amplitude). "
        "Look for steep rises with slow decays, each with ticks under its rise; drifts, plateaus or dips are not spikes.",
        "Stacked line plots of fluorescence over time in seconds, one line a cell, with ticks for spikes under each line.",
    )


def _raster(results: Results, accepted: np.ndarray) -> Picture:
    spikes = results.spikes.select(accepted)
    figure, ax = _figure(10, float(np.clip(1.2 + 0.06 * len(spikes), 2, 6)))
    plots.show_raster(spikes, ax=ax)
    return Picture(
        _png(figure),
        "Inferred spikes of all accepted cells, one line a cell, darker for larger spikes. Look for vertical lines through all "
        "cells: they are events of the whole population, or left-over motion or light.",
        "Raster of spikes: time in seconds from left to right, one row a cell.",
    )


def _motion(shifts: Shifts, fs: float) -> Picture:
    figure = _canvas(10, 4.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    plots.show_shifts(shifts, fs, ax=top)
    plots.show_template_correlation(shifts, fs, ax=bottom)
    top.set_xlabel("")
    return Picture(
        _png(figure),
        "Correction of each frame (above; shaded: the range over the field) and how well the corrected frame matches the "
        "template (below). Look for jumps and for a match that falls over time; red marks are frames that were left out.",
        "Two line plots over time in seconds: shift in pixels along y and x, and correlation with the template.",
    )


def _crispness(results: Results) -> Picture:
    figure = _canvas(10, 4.8)
    before, after = figure.subplots(1, 2)
    pixel_um = results.summary.get("pixel_um")
    for ax, name, title in ((before, "mean_raw", "before"), (after, "mean", "after")):
        plots.show_image(results.images[name], pixel_um=pixel_um, ax=ax)
        ax.set_title(f"mean image {title} correction")
    return Picture(
        _png(figure),
        "Mean of all frames before and after motion correction. Look for sharper edges of cells and vessels on the right; "
        "doubled outlines are motion that was not removed.",
        "Two grey images side by side: the mean frame before and after motion correction, axes in pixels.",
    )


def _canvas(width: float, height: float) -> Figure:
    # Not pyplot: a report must not open windows nor change the figures of the notebook that writes it.
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _canvas(width, height)
    return figure, figure.subplots()


def _png(figure: Figure) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
