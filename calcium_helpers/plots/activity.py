"""Pictures of what the cells did: traces with their spikes and events, maps and rasters sorted by cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.containers import Events, Traces
from calcium_helpers.plots._style import (
    BLUE,
    INK,
    MANY_MARKS,
    ORANGE,
    VERMILLION,
    axes_or_new,
    cluster_colour,
    cluster_name,
    rows_of,
    say,
    strip_frame,
)
from calcium_helpers.plots.display import display_limits, nice_length, peaks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.stats import Clustering

UNITS = {
    "raw": "fluorescence (counts)",
    "neuropil": "neuropil (counts)",
    "dff": "ΔF/F",
    "denoised": "denoised trace (unit of its input)",
    "spikes": "spikes (amplitude a frame)",
}
STACKED_CELLS = 40
MAP_ROWS, MAP_COLUMNS = 300, 700


def show_traces(traces: Traces, spikes: Traces | None = None, *, events: Events | None = None, ax: Axes | None = None) -> Axes:
    """Show traces stacked on one scale; of more than 40 cells, a map with one line a cell.

    Parameters
    ----------
    traces : Traces
        Any kind; the axis names its unit.
    spikes : Traces, optional
        Spikes of the same cells, drawn as ticks under each stacked trace, as high as their amplitude; not on the map.
    events : Events, optional
        Events of these cells (found by their ids): from onset to offset the trace is thick and orange, with a dot at each
        peak; not on the map.
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
        return show_heatmap(traces, ax=ax)
    ax = axes_or_new(ax, height=1 + 0.3 * len(traces))
    if not traces.values.size:
        return say(ax, "No cells to show")
    step = _stacking_step(traces.values)
    shown = traces.values - np.nanmedian(traces.values, axis=1, keepdims=True) - step * np.arange(len(traces))[:, None]
    many = traces.values.size > MANY_MARKS
    for row in shown:
        ax.plot(traces.times_s, row, color=BLUE, linewidth=0.7, rasterized=many)
    if events is not None:
        _draw_events(ax, traces, shown, events, many)
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


def show_heatmap(traces: Traces, clusters: Clustering | None = None, *, ax: Axes | None = None) -> Axes:
    """Show traces as a map: one line a cell, brighter for larger values.

    Parameters
    ----------
    traces : Traces
        Any kind; the colour bar names its unit. All cells share one scale; long recordings and many cells are thinned by
        the maximum, so that nothing short is lost.
    clusters : Clustering, optional
        Shows the cells that were clustered, in its order, with each cluster's colour and number on the right.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds; cells in the order given, the first at the top.
    """
    if clusters is not None:
        traces = traces.select(rows_of(traces.ids, clusters.ids[clusters.order]))
    return _show_map(traces, "viridis", None, UNITS[traces.kind], clusters, ax)


def show_raster(activity: Traces | Events, clusters: Clustering | None = None, *, ax: Axes | None = None) -> Axes:
    """Show when each cell was active: one line a cell.

    Parameters
    ----------
    activity : Traces or Events
        Spikes, darker for larger ones, each cell on its own scale so that dim cells are seen too; or events, a tick at
        the onset of each.
    clusters : Clustering, optional
        Shows the cells that were clustered, in its order, with each cluster's colour and number on the right.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds; cells in the order given, the first at the top (of events without clusters, by id).
    """
    if isinstance(activity, Events):
        return _show_events(activity, clusters, ax)
    if clusters is not None:
        activity = activity.select(rows_of(activity.ids, clusters.ids[clusters.order]))
    largest = activity.values.max(axis=1, initial=0, keepdims=True)
    share = np.divide(activity.values, largest, out=np.zeros_like(activity.values), where=largest > 0)
    return _show_map(activity.replace(values=share), "Greys", (0, 1), "spike (share of the cell's largest)", clusters, ax)


def _show_map(
    traces: Traces, cmap: str, limits: tuple[float, float] | None, label: str, clusters: Clustering | None, ax: Axes | None
) -> Axes:
    ax = axes_or_new(ax, height=float(np.clip(1 + 0.1 * len(traces), 2.5, 8)))
    if not traces.values.size:
        return say(ax, "No cells to show")
    # Thinned by the maximum to about what a screen shows: a short spike stays visible in a long recording.
    values = peaks(peaks(traces.values, MAP_COLUMNS), MAP_ROWS, axis=0)
    low, high = limits or display_limits(values)
    extent = (0, traces.n_frames / traces.fs, len(traces) - 0.5, -0.5)
    drawn = ax.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto", extent=extent, interpolation="nearest")
    ax.figure.colorbar(drawn, ax=ax, label=label, pad=0.04 if clusters is not None else 0.02, aspect=30)
    _name_rows(ax, traces.ids, clusters)
    return ax


def _show_events(events: Events, clusters: Clustering | None, ax: Axes | None) -> Axes:
    table = events.table
    ids = np.unique(table["roi"]) if clusters is None else clusters.ids[clusters.order]
    labels = np.zeros(len(ids), int) if clusters is None else clusters.labels[clusters.order]
    ax = axes_or_new(ax, height=float(np.clip(1 + 0.1 * len(ids), 2.5, 8)))
    if not len(ids):
        return say(ax, "No events to show")
    row = table["roi"].map(dict(zip(ids.tolist(), range(len(ids)), strict=True))).to_numpy(dtype=float)
    for label in np.unique(labels):
        mine = np.isfinite(row)
        mine[mine] = labels[row[mine].astype(int)] == label
        # At least a pixel of a screen high and wide, however many cells there are.
        colour = INK if clusters is None else cluster_colour(int(label))
        high = max(0.45, len(ids) / 600)
        ax.vlines(
            table["onset_s"][mine], row[mine] - high, row[mine] + high, color=colour, linewidth=0.9,
            rasterized=len(table) > MANY_MARKS // 10,
        )  # fmt: skip
    ax.set(xlim=(0, None), ylim=(len(ids) - 0.5, -0.5))
    _name_rows(ax, ids, clusters)
    strip_frame(ax)
    return ax


def _name_rows(ax: Axes, ids: np.ndarray, clusters: Clustering | None) -> None:
    """Name the lines of a map by the cells' ids, and its clusters by a strip on the right."""
    ticks = np.arange(len(ids)) if len(ids) <= 25 else np.linspace(0, len(ids) - 1, 11).astype(int)
    ax.set_yticks(ticks, [str(i) for i in ids[ticks]], fontsize=8)
    ax.set(xlabel="time (s)", ylabel="cell id")
    if clusters is None or clusters.n_clusters < 2:
        return
    labels = clusters.labels[clusters.order]
    starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    for start, stop in zip(starts, [*starts[1:], len(labels)], strict=True):
        label, place = int(labels[start]), ax.get_yaxis_transform()
        # Three quarters of a line free on both sides: neighbours of like brightness stay apart.
        span = (start - 0.45, stop - 0.55)
        ax.plot(
            [1.008, 1.008],
            span,
            color=cluster_colour(label),
            linewidth=5,
            transform=place,
            clip_on=False,
            solid_capstyle="butt",
        )
        if stop - start > len(labels) / 40:
            ax.text(1.018, (start + stop - 1) / 2, cluster_name(label), transform=place, va="center", fontsize=8)


def _stacking_step(values: np.ndarray) -> float:
    """Return a distance at which most neighbours do not touch, over 0 even for silent traces."""
    heights = np.nanpercentile(values, 99.5, axis=1) - np.nanmedian(values, axis=1)
    step = float(np.nanpercentile(heights, 75)) * 1.2
    return step if np.isfinite(step) and step > 0 else 1.0


def _draw_events(ax: Axes, traces: Traces, shown: np.ndarray, events: Events, many: bool) -> None:
    for cell, line in zip(traces.ids, shown, strict=True):
        mine = events.table[events.table["roi"] == cell]
        onset, peak, offset = (
            np.clip(np.rint(mine[name].to_numpy(dtype=float) * traces.fs).astype(int), 0, traces.n_frames - 1)
            for name in ("onset_s", "peak_s", "offset_s")
        )
        # +1 where an event begins, -1 behind its end: frames with a positive sum lie inside of one.
        change = np.bincount(onset, minlength=len(line) + 1) - np.bincount(offset + 1, minlength=len(line) + 1)
        inside = np.cumsum(change[: len(line)]) > 0
        ax.plot(traces.times_s, np.where(inside, line, np.nan), color=ORANGE, linewidth=1.3, rasterized=many)
        ax.plot(traces.times_s[peak], line[peak], ".", color=INK, markersize=3, rasterized=many)


def _draw_ticks(ax: Axes, spikes: Traces, step: float) -> None:
    for i, row in enumerate(spikes.values):
        frames = np.flatnonzero(row > 0.02 * row.max(initial=0))  # a rate is above 0 everywhere; less is no tick to see
        if frames.size:
            bottom = -i * step - 0.45 * step
            ax.vlines(
                spikes.times_s[frames], bottom, bottom + 0.3 * step * row[frames] / row.max(), color=VERMILLION, linewidth=0.8
            )
