"""Pictures in time: traces with their spikes, rasters, motion; and the funnel from seeds to cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from calcium_helpers.containers import Shifts, Traces
from calcium_helpers.plots._style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    VERMILLION,
    axes_or_new,
    say,
    strip_frame,
)
from calcium_helpers.plots.display import display_limits, nice_length, peaks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNITS = {
    "raw": "fluorescence (counts)",
    "neuropil": "neuropil (counts)",
    "dff": "ΔF/F",
    "denoised": "denoised trace (unit of its input)",
    "spikes": "spikes (amplitude a frame)",
}
STACKED_CELLS = 40
MAP_ROWS, MAP_COLUMNS = 300, 700


def show_traces(traces: Traces, spikes: Traces | None = None, *, ax: Axes | None = None) -> Axes:
    """Show traces stacked on one scale; of more than 40 cells, a map with one line a cell.

    Parameters
    ----------
    traces : Traces
        Any kind; the axis names its unit.
    spikes : Traces, optional
        Spikes of the same cells, drawn as ticks under each stacked trace, as high as their amplitude; not on the map.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds; cells named by their ids, the first at the top.

    Raises
    ------
    ValueError
        When ``spikes`` are not (N, T) like the traces.
    """
    if spikes is not None and spikes.values.shape != traces.values.shape:
        raise ValueError(f"spikes must have the traces' shape {traces.values.shape}, got {spikes.values.shape}")
    if len(traces) > STACKED_CELLS:
        return _show_map(traces, "viridis", None, UNITS[traces.kind], ax)
    ax = axes_or_new(ax, height=1 + 0.3 * len(traces))
    if not traces.values.size:
        return say(ax, "No cells to show")
    step = _stacking_step(traces.values)
    for i, row in enumerate(traces.values):
        ax.plot(traces.times_s, row - np.nanmedian(row) - i * step, color=BLUE, linewidth=0.7)
    if spikes is not None:
        _draw_ticks(ax, spikes, step)
    ax.set_yticks(-step * np.arange(len(traces)), [str(i) for i in traces.ids], fontsize=7 if len(traces) > 12 else 9)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="time (s)", ylabel="cell id", ylim=(-step * (len(traces) - 0.3), 1.6 * step))
    ax.margins(x=0.01)
    ax.spines[["top", "right", "left"]].set_visible(False)
    bar = nice_length(step)
    ax.plot([1.01, 1.01], [0, bar], color=INK, linewidth=2, transform=ax.get_yaxis_transform(), clip_on=False)
    ax.text(1.018, bar / 2, f"{bar:g} {UNITS[traces.kind]}", transform=ax.get_yaxis_transform(), rotation=90, va="center")
    return ax


def show_raster(spikes: Traces, *, ax: Axes | None = None) -> Axes:
    """Show when each cell spiked: one line a cell, darker for larger spikes.

    Parameters
    ----------
    spikes : Traces
        Spikes or event amplitudes, >= 0; each cell is shown on its own scale, so that dim cells are seen too.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds; cells in the order given, the first at the top.
    """
    largest = spikes.values.max(axis=1, initial=0, keepdims=True)
    relative = spikes.replace(values=np.divide(spikes.values, largest, out=np.zeros_like(spikes.values), where=largest > 0))
    return _show_map(relative, "Greys", (0, 1), "spike (share of the cell's largest)", ax)


def show_shifts(shifts: Shifts, fs: float, *, ax: Axes | None = None) -> Axes:
    """Show the correction of each frame over time; of piecewise shifts, the mean and the range over the blocks.

    Parameters
    ----------
    shifts : Shifts
        As estimated; frames that could not be aligned are marked.
    fs : float
        Frames per second, Hz.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds, correction in pixels.
    """
    ax = axes_or_new(ax, height=2.5)
    times = np.arange(len(shifts.yx)) / fs
    for axis, (name, colour) in enumerate((("y (down)", BLUE), ("x (right)", ORANGE))):
        ax.plot(times, shifts.rigid_yx[:, axis], color=colour, linewidth=1, label=name, marker=_lone(times))
        if shifts.is_piecewise:
            blocks = shifts.yx[..., axis].reshape(len(times), -1)
            ax.fill_between(times, blocks.min(axis=1), blocks.max(axis=1), color=colour, alpha=0.3, linewidth=0)
    return _finish_motion(ax, shifts, fs, "correction (px)")


def show_template_correlation(shifts: Shifts, fs: float, *, ax: Axes | None = None) -> Axes:
    """Show how well each corrected frame matches the template.

    Parameters
    ----------
    shifts : Shifts
        As estimated; frames that could not be aligned are marked.
    fs : float
        Frames per second, Hz.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds, correlation without a unit.
    """
    ax = axes_or_new(ax, height=2)
    if shifts.correlation is None:
        return say(ax, "The match with the template was not measured")
    times = np.arange(len(shifts.yx)) / fs
    ax.plot(times, shifts.correlation, color=INK, linewidth=0.8, label="each frame", marker=_lone(times))
    return _finish_motion(ax, shifts, fs, "correlation\nwith template")


def show_funnel(funnel: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Show how many candidates reached or left at each stage, and why.

    Parameters
    ----------
    funnel : DataFrame
        Columns ``stage, n, why``, in order.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Stages from top to bottom, number of candidates.
    """
    ax = axes_or_new(ax, height=1 + 0.35 * len(funnel))
    if funnel.empty:
        return say(ax, "No candidates")
    rows = np.arange(len(funnel))
    ax.barh(rows, funnel["n"], color=BLUE, height=0.6)
    for row, n, why in zip(rows, funnel["n"], funnel["why"], strict=True):
        ax.annotate(f"{n}  {why}", (n, row), xytext=(5, 0), textcoords="offset points", va="center", color=MUTED, fontsize=9)
    ax.set_yticks(rows, list(funnel["stage"].astype(str)))
    # The reasons stand right of the bars and need room there.
    ax.set(xlabel="candidates", xlim=(0, 1.6 * max(1, funnel["n"].max())))
    ax.invert_yaxis()
    strip_frame(ax)
    return ax


def _show_map(traces: Traces, cmap: str, limits: tuple[float, float] | None, label: str, ax: Axes | None) -> Axes:
    ax = axes_or_new(ax, height=float(np.clip(1 + 0.1 * len(traces), 2.5, 8)))
    if not traces.values.size:
        return say(ax, "No cells to show")
    # Thinned by the maximum to about what a screen shows: a short spike stays visible in a long recording.
    values = peaks(peaks(traces.values, MAP_COLUMNS), MAP_ROWS, axis=0)
    low, high = limits or display_limits(values)
    extent = (0, traces.n_frames / traces.fs, len(traces) - 0.5, -0.5)
    drawn = ax.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto", extent=extent, interpolation="nearest")
    ax.figure.colorbar(drawn, ax=ax, label=label, pad=0.02, aspect=30)
    ticks = np.arange(len(traces)) if len(traces) <= 25 else np.linspace(0, len(traces) - 1, 11).astype(int)
    ax.set_yticks(ticks, [str(i) for i in traces.ids[ticks]], fontsize=8)
    ax.set(xlabel="time (s)", ylabel="cell id")
    return ax


def _stacking_step(values: np.ndarray) -> float:
    """Return a distance at which most neighbours do not touch, over 0 even for silent traces."""
    heights = np.nanpercentile(values, 99.5, axis=1) - np.nanmedian(values, axis=1)
    step = float(np.nanpercentile(heights, 75)) * 1.2
    return step if np.isfinite(step) and step > 0 else 1.0


def _draw_ticks(ax: Axes, spikes: Traces, step: float) -> None:
    for i, row in enumerate(spikes.values):
        frames = np.flatnonzero(row > 0)
        if frames.size:
            bottom = -i * step - 0.45 * step
            ax.vlines(
                spikes.times_s[frames], bottom, bottom + 0.3 * step * row[frames] / row.max(), color=VERMILLION, linewidth=0.8
            )


def _lone(times: np.ndarray) -> str:
    """Return the marker that makes a line of a single frame visible."""
    return "o" if len(times) == 1 else ""


def _finish_motion(ax: Axes, shifts: Shifts, fs: float, label: str) -> Axes:
    if shifts.bad_frames.size:
        at_top = np.ones(shifts.bad_frames.size)
        ax.plot(
            shifts.bad_frames / fs,
            at_top,
            "v",
            color=VERMILLION,
            markersize=5,
            label="could not be aligned",
            transform=ax.get_xaxis_transform(),
            clip_on=False,
        )
    ax.set(xlabel="time (s)", ylabel=label)
    ax.margins(x=0.01)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1.02), ncols=3, frameon=False, borderpad=0)
    strip_frame(ax)
    return ax
