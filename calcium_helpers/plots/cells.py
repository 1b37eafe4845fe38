"""Pictures of one cell: where it is among its neighbours, and what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.plots._style import (
    ACCEPTED,
    BLUE,
    INK,
    ORANGE,
    PURPLE,
    REJECTED,
    VERMILLION,
    axes_or_new,
    rows_of,
    say,
    strip_frame,
)
from calcium_helpers.plots.display import display_limits, peaks
from calcium_helpers.plots.images import LABELLED_CELLS, add_lines, label_cells, outline, show_footprints
from calcium_helpers.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_BINS = 800
SMALLEST_VIEW_PX, VIEW = 24, 3.0  # in sides of the cell
PARTNER, THIN = PURPLE, 0.9


def show_neighbours(
    results: Results, cell: int, *, partner: int | None = None, image: str = "mean", ax: Axes | None = None
) -> Axes:
    """Show a cell from near, with its neighbours and their ids.

    Parameters
    ----------
    results : Results
        Of a run.
    cell : int
        Its id; its outline lies on a thick white one.
    partner : int, optional
        Id of another cell, whose outline is thick, purple and dotted.
    image : str
        Name of the image below; black where the results have none of that name.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        With rows (y) downward, in pixels of the field; accepted neighbours are solid orange, others dashed blue.

    Raises
    ------
    ValueError
        When there is no such cell.
    """
    border = np.concatenate(_borders(results, cell)[cell])
    side = np.minimum(max(SMALLEST_VIEW_PX, VIEW * np.ptp(border, axis=0).max()), results.footprints.shape)
    start = np.clip((border.min(axis=0) + border.max(axis=0) - side) / 2, -0.5, np.array(results.footprints.shape) - side - 0.5)
    stop = start + side
    centres = results.footprints.centroids
    inside, near = (((centres > start - part) & (centres < stop + part)).all(axis=1) for part in (0, side / 2))
    accepted = results.cells_by_id()["accepted"].to_numpy()[near]
    ax = axes_or_new(ax, width=5, height=5)
    show_footprints(results.footprints.select(near), results.images.get(image), accepted=accepted, ax=ax)
    for lines in ax.collections:
        lines.set(linewidths=THIN)
    if near.sum() > LABELLED_CELLS:
        label_cells(ax, results.footprints.select(inside))
    mark_cells(ax, results, cell, partner=partner)
    y, x = (slice(max(0, int(a)), int(b) + 1) for a, b in zip(start, stop, strict=True))
    ax.images[0].set_clim(*display_limits(np.asarray(ax.images[0].get_array())[y, x]))  # dim surroundings are seen too
    ax.set(xlim=(start[1], stop[1]), ylim=(stop[0], start[0]))
    return ax


def mark_cells(ax: Axes, results: Results, cell: int, *, partner: int | None = None) -> None:
    """Draw a thick white outline around a cell, its own thin one in it, and a purple, dotted one around another."""
    for one, lines in _borders(results, cell, partner).items():
        colour, style = ("white", "-") if one == cell else (PARTNER, ":")
        add_lines(ax, lines, colors=INK, linewidths=6.0)
        add_lines(ax, lines, colors=colour, linestyles=style, linewidths=4.5)
        if one == cell:
            accepted = bool(results.cells_by_id().loc[cell, "accepted"])
            colour, style = (ACCEPTED, "-") if accepted else (REJECTED, "--")
            add_lines(ax, lines, colors=colour, linestyles=style, linewidths=1.4)


def show_activity(
    results: Results, cell: int, *, times_s: tuple[float, float] | None = None, colour: str = BLUE, ax: Axes | None = None
) -> Axes:
    """Show what one cell did: dF/F, the calcium that deconvolution sees in it, spikes and events.

    Parameters
    ----------
    results : Results
        Of a run.
    cell : int
        Its id.
    times_s : tuple of float, optional
        First and last second shown; all by default.
    colour : str
        Of dF/F.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds, dF/F as a fraction. Events are shaded from onset to offset; spikes are ticks at the bottom, as high as
        they are large. Long traces are thinned so that no peak is lost.

    Raises
    ------
    ValueError
        When there is no such cell.
    """
    row = int(rows_of(results.dff.ids, np.array([cell]))[0])
    ax = axes_or_new(ax, height=2.2)
    fs, n = results.dff.fs, results.dff.n_frames
    first, last = (0.0, n / fs) if times_s is None else times_s
    part = slice(max(0, int(first * fs)), max(0, int(last * fs)) + 1)
    names = {"dff": ("ΔF/F", colour, 0.9), "denoised": ("denoised", INK, 0.8)}
    values = {name: _thin(getattr(results, name).values[[row], part])[0] for name in names}
    if not np.isfinite(values["dff"]).any():
        return say(ax, f"cell {cell}: ΔF/F holds no number here")
    start = part.start / fs
    span = results.dff.values[row, part].size / fs
    for name, (label, shade, width) in names.items():
        times = start + np.arange(len(values[name])) * span / max(1, len(values[name]))
        marker = "." if len(times) == 1 else ""
        ax.plot(times, values[name], color=shade, linewidth=width, label=label, marker=marker)
    low, high = np.nanmin([*values["dff"], *values["denoised"]]), np.nanmax([*values["dff"], *values["denoised"]])
    room = 0.05 * (high - low) or 1.0
    table = results.events.table
    mine = table[(table["roi"] == cell) & (table["offset_s"] >= first) & (table["onset_s"] <= last)]
    spans = np.column_stack([mine["onset_s"], mine["offset_s"] - mine["onset_s"]]).tolist()
    label = f"{len(mine)} event{'s' * (len(mine) != 1)}"
    ax.broken_barh(spans, (low - 4 * room, high - low + 6 * room), color=ORANGE, alpha=0.3, linewidth=0, label=label)
    _draw_spikes(ax, results, row, part, (low - 4 * room, 3 * room))
    ax.set(xlim=(start, start + span), ylim=(low - 4 * room, high + 2 * room), xlabel="time (s)", ylabel=f"cell {cell}, ΔF/F")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, borderpad=0)
    strip_frame(ax)
    return ax


def _thin(values: np.ndarray) -> np.ndarray:
    """Thin long traces (N, T) to the least and the largest value of each stretch."""
    if values.shape[1] <= 2 * SHOWN_BINS:
        return values
    return np.stack([-peaks(-values, SHOWN_BINS), peaks(values, SHOWN_BINS)], axis=2).reshape(len(values), -1)


def _draw_spikes(ax: Axes, results: Results, row: int, part: slice, band: tuple[float, float]) -> None:
    """Draw ticks in a band (bottom, height) of the axes, and say how large the largest is."""
    spikes = np.nan_to_num(results.spikes.values[[row], part])
    shown = peaks(spikes, SHOWN_BINS)[0]
    largest = shown.max(initial=0)
    at = np.flatnonzero(shown > 0.02 * largest)  # a rate is above 0 everywhere; less is no tick to see
    times = (part.start + at * max(1, spikes.shape[1] / SHOWN_BINS)) / results.spikes.fs
    bottom, height = band
    unit = "Hz" if results.parameters.get("spikes") == "net" else "ΔF/F a frame"
    label = f"spikes (up to {largest:.2g} {unit})" if largest > 0 else "no spikes"
    ax.vlines(times, bottom, bottom + height * shown[at] / max(largest, 1e-9), color=VERMILLION, linewidth=0.8, label=label)


def _borders(results: Results, *cells: int | None) -> dict[int, list[np.ndarray]]:
    """Outlines of some cells, by id."""
    ids = [cell for cell in cells if cell is not None]
    rows = rows_of(results.footprints.ids, np.array(ids))
    return {cell: outline(results.footprints, int(row)) for cell, row in zip(ids, rows, strict=True)}
