"""Pictures of what was measured of each cell: distributions, spectra and bands, responses to stimuli."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from calcium_helpers.plots._style import (
    BLUE,
    INK,
    MUTED,
    SKY,
    VERMILLION,
    axes_or_new,
    cluster_colour,
    pretty_unit,
    rows_of,
    say,
    strip_frame,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.stats import Alignment, Spectra

NAMES = {
    "rate": "event rate", "interval": "interval between events", "interval_cv": "variation (CV) of intervals",
    "amplitude": "amplitude of events", "rise": "rise of events", "half_decay": "half-decay of events",
    "area": "area of events", "duration": "duration of events",
}  # fmt: skip


def show_distribution(cells: pd.DataFrame, measure: str, groups: pd.DataFrame | None = None, *, ax: Axes | None = None) -> Axes:
    """Show how one measure is distributed over cells.

    Parameters
    ----------
    cells : DataFrame
        Tidy, as `stats.measure_cells` gives it.
    measure : str
        Which of its measures.
    groups : DataFrame, optional
        As `stats.measure_groups` gives it: the mean over the cells of each group, with its interval, is drawn
        above, the first in red and the others in the colours of clusters.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        The measure with its unit, number of cells.
    """
    ax = axes_or_new(ax, width=4, height=2.8)
    mine = cells[cells["measure"] == measure]
    values = mine["value"].dropna().to_numpy(dtype=float)
    if not values.size:
        return say(ax, f"No {NAMES.get(measure, measure)} to show")
    n_bins = int(np.clip(2 * len(values) ** 0.5, 5, 40))
    low, high = values.min(), values.max()
    margin = 0.5 * abs(high) if high - low <= 1e-6 * abs(high) else 0.0  # one value for all would have no width
    counts, *_ = ax.hist(values, bins=n_bins, range=(low - margin, high + margin), color=SKY, edgecolor="white", linewidth=0.4)
    top = float(np.max(counts))
    if groups is not None:
        means = groups[groups["measure"] == measure]
        for i, (value, low, high) in enumerate(means[["value", "low", "high"]].to_numpy(dtype=float)):
            height, colour = top * (1.12 + 0.13 * i), cluster_colour(i - 1) if i else VERMILLION
            ax.plot([low, high], [height, height], color=colour, linewidth=2)
            ax.plot(value, height, "o", color=colour, markersize=4)
            if np.isfinite(value):
                place = (max(value, high) if np.isfinite(high) else value, height)
                ax.annotate(f" {means['group'].iloc[i]}", place, va="center", fontsize=7, color=MUTED)
    unit = pretty_unit(mine["unit"].iloc[0])
    ax.set(xlabel=NAMES.get(measure, measure) + (f" ({unit})" if unit != "1" else ""), ylabel="cells")
    ax.locator_params(axis="y", integer=True)
    strip_frame(ax)
    return ax


def show_spectra(
    spectra: Spectra, bands: pd.DataFrame | None = None, rhythms: pd.DataFrame | None = None, *, ax: Axes | None = None
) -> Axes:
    """Show power over frequency: the median cell, and the middle half and nine tenths of all cells.

    Parameters
    ----------
    spectra : Spectra
        As `stats.estimate_spectra` gives them.
    bands : DataFrame, optional
        As `stats.measure_bands` gives it; the bands' borders are drawn and named.
    rhythms : DataFrame, optional
        As `stats.find_rhythms` gives it; each significant rhythm is a mark under the curves.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Hz and power density, both on logarithmic scales; the frequency 0 is left out.
    """
    ax = axes_or_new(ax, width=6, height=4)
    shown = spectra.frequency_hz > 0
    if not spectra.power[:, shown].size:
        return say(ax, "No spectra to show")
    hz, power = spectra.frequency_hz[shown], spectra.power[:, shown]
    low, lower, middle, upper, high = np.nanpercentile(power, (5, 25, 50, 75, 95), axis=0)
    if len(power) > 1:
        ax.fill_between(hz, low, high, color=SKY, alpha=0.35, linewidth=0, label="5–95 % of cells", rasterized=True)
        ax.fill_between(hz, lower, upper, color=SKY, alpha=0.8, linewidth=0, label="25–75 %", rasterized=True)
    ax.plot(hz, middle, color=BLUE, linewidth=1.2, label="median cell")
    ax.set(xscale="log", yscale="log", xlabel="frequency (Hz)", ylabel=f"power ({pretty_unit(spectra.unit)})")
    if bands is not None:
        for name, start, stop in bands[["band", "low_hz", "high_hz"]].drop_duplicates().itertuples(index=False):
            ax.axvline(stop, color=MUTED, linewidth=0.6, linestyle=":")
            place = ax.get_xaxis_transform()
            ax.text((max(start, hz[0]) * stop) ** 0.5, 1.01, name, transform=place, ha="center", fontsize=8, color=MUTED)
    if rhythms is not None and rhythms["significant"].any():
        found = rhythms.loc[rhythms["significant"], "frequency_hz"]
        place = ax.get_xaxis_transform()
        ax.plot(found, np.full(len(found), 0.03), "^", color=VERMILLION, transform=place, label="rhythm of a cell", alpha=0.6)
    ax.legend(frameon=False, loc="upper right", fontsize=8)
    strip_frame(ax)
    return ax


def show_bands(bands: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Show the share of each band in the power of every cell: a box for the middle half of the cells, a line from 5 to 95 %.

    Parameters
    ----------
    bands : DataFrame
        As `stats.measure_bands` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Bands with their borders in Hz, share of power from 0 to 1.
    """
    ax = axes_or_new(ax, width=5, height=4)
    names = list(bands["band"].unique())
    if not names:
        return say(ax, "No bands to show")
    parts = [bands[bands["band"] == name] for name in names]
    for i, part in enumerate(parts):
        share = part["share"].dropna()
        if len(share):
            low, lower, middle, upper, high = np.percentile(share, (5, 25, 50, 75, 95))
            ax.plot([i, i], [low, high], color=BLUE, linewidth=1.5)
            ax.bar(i, upper - lower, bottom=lower, width=0.5, color=SKY, edgecolor=BLUE, zorder=2)
            ax.plot([i - 0.25, i + 0.25], [middle, middle], color=VERMILLION, linewidth=2)
    edges = [f"{part['low_hz'].iloc[0]:.3g}–{part['high_hz'].iloc[0]:.3g} Hz" for part in parts]
    ax.set_xticks(range(len(names)), [f"{name}\n{edge}" for name, edge in zip(names, edges, strict=True)], fontsize=8)
    ax.set(xlabel="band", ylabel="share of a cell's power", ylim=(0, 1))
    strip_frame(ax)
    return ax


def show_alignment(alignment: Alignment, label: object = None, *, ax: Axes | None = None) -> Axes:
    """Show the mean response of every cell to one kind of stimulus, the strongest at the top.

    Parameters
    ----------
    alignment : Alignment
        As `stats.align_to_stimuli` gives it.
    label : optional
        Which stimulus; the first by default.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time from the stimulus in seconds; colour from blue (below the time before it) to red (above).

    Raises
    ------
    ValueError
        When there is no such stimulus.
    """
    labels = list(alignment.labels)
    if label is not None and label not in labels:
        raise ValueError(f"label must be one of {labels}, got {label!r}")
    ax = axes_or_new(ax, width=5, height=4)
    if not alignment.mean.size:
        return say(ax, "No responses to show")
    label = labels[0] if label is None else label
    responses = alignment.responses[alignment.responses["label"] == label].set_index("roi")["response"]
    order = np.argsort(-responses.loc[alignment.ids].to_numpy(), kind="stable")
    values = alignment.mean[order, labels.index(label)]
    limit = max(float(np.nanpercentile(np.abs(values), 99.5)), 1e-9)
    extent = (alignment.times_s[0], alignment.times_s[-1], len(values) - 0.5, -0.5)
    drawn = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", extent=extent)
    ax.figure.colorbar(drawn, ax=ax, label="ΔF/F", pad=0.02, aspect=30)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set(xlabel="time from stimulus (s)", ylabel="cells, strongest response first", title=str(label))
    return ax


def show_responses(alignment: Alignment, cell: int, *, ax: Axes | None = None) -> Axes:
    """Show the mean responses of one cell to each kind of stimulus, with their intervals.

    Parameters
    ----------
    alignment : Alignment
        As `stats.align_to_stimuli` gives it.
    cell : int
        Its id.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time from the stimulus in seconds, dF/F.
    """
    ax = axes_or_new(ax, width=5)
    row = int(rows_of(alignment.ids, np.array([cell]))[0])
    for i, label in enumerate(alignment.labels):
        colour, style = cluster_colour(i), ("-", "--", ":", "-.")[i % 4]
        ax.plot(alignment.times_s, alignment.mean[row, i], color=colour, linestyle=style, label=str(label))
        low, high = alignment.low[row, i], alignment.high[row, i]
        ax.fill_between(alignment.times_s, low, high, color=colour, alpha=0.25, linewidth=0)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set(xlabel="time from stimulus (s)", ylabel="ΔF/F", title=f"cell {cell}")
    ax.legend(frameon=False)
    strip_frame(ax)
    return ax
