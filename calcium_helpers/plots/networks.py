"""Pictures of cells among each other: clusters, correlations, synchronous events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from calcium_helpers.plots._style import (
    BLUE,
    INK,
    MANY_MARKS,
    MUTED,
    ORANGE,
    SKY,
    VERMILLION,
    axes_or_new,
    cluster_colour,
    cluster_name,
    pretty_unit,
    say,
    strip_frame,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.stats import Clustering, Correlation, Synchrony


MARKERS = "o^sDvP*X"
TRUSTED_STABILITY = 0.6
NAMED_CELLS = 30


def show_clusters(clusters: Clustering, x: str | None = None, y: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Show what was clustered as points, in the colours of the clusters.

    Parameters
    ----------
    clusters : Clustering
        Of cells or of events.
    x, y : str, optional
        Columns of its ``features``; the first two by default.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Features as they were clustered.
    """
    ax = axes_or_new(ax, width=5, height=4)
    columns = list(clusters.features.columns)
    if not len(clusters.labels) or len(columns) < 2:
        return say(ax, "Nothing was clustered")
    x, y = x or columns[0], y or columns[1]
    n = len(clusters.labels)
    for label in np.unique(clusters.labels):
        part = clusters.features[clusters.labels == label].dropna(subset=[x, y])
        if part.empty:
            continue
        look: dict[str, Any] = {
            "color": cluster_colour(int(label)),
            "marker": MARKERS[label % 8] if label >= 0 else ".",
            "linewidths": 0,
        }
        look |= {"s": float(np.clip(8000 / n, 2, 25)), "alpha": 0.7 if n < 500 else 0.3, "rasterized": n > MANY_MARKS // 20}
        ax.scatter(part[x], part[y], label=cluster_name(int(label)), **look)
    ax.set(xlabel=str(x), ylabel=str(y))
    legend = ax.legend(title="cluster", frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for handle in legend.legend_handles:
        handle.set(alpha=1, sizes=[25])  # type: ignore[union-attr]
    strip_frame(ax)
    return ax


def show_cluster_choice(clusters: Clustering, *, ax: Axes | None = None) -> Axes:
    """Show why so many clusters: the silhouette of each number and method, beside what data without structure reach.

    Parameters
    ----------
    clusters : Clustering
        Of cells or of events.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Number of clusters, silhouette from -1 to 1; the choice is ringed.
    """
    ax = axes_or_new(ax, width=4, height=3)
    if clusters.choice.empty:
        return say(ax, "Too few to look for clusters")
    for (method, part), colour, marker in zip(clusters.choice.groupby("method"), (BLUE, ORANGE, INK), "os^", strict=False):
        ax.plot(part["n_clusters"], part["silhouette"], marker=marker, color=colour, markersize=4, label=str(method))
        ax.plot(
            part["n_clusters"], part["null_high"], color=colour, linestyle=":", linewidth=1, label=f"{method}, no structure"
        )
        chosen = part[(part["n_clusters"] == clusters.n_clusters) & (method == clusters.method)]
        ax.plot(chosen["n_clusters"], chosen["silhouette"], "o", color=VERMILLION, fillstyle="none", markersize=11)
    ax.set(xlabel="number of clusters", ylabel="silhouette")
    ax.locator_params(axis="x", integer=True)
    ax.legend(frameon=False, fontsize=7)
    strip_frame(ax)
    return ax


def show_stability(clusters: Clustering, *, ax: Axes | None = None) -> Axes:
    """Show how much of each cluster is found again in bootstrap samples.

    Parameters
    ----------
    clusters : Clustering
        Of cells or of events.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Clusters, the first at the top; mean Jaccard overlap from 0 to 1. What stays below the line at 0.6 should not be trusted
        (Hennig 2007, doi:10.1016/j.csda.2006.11.025).
    """
    ax = axes_or_new(ax, width=4, height=2)
    if len(clusters.stability) < 2:
        return say(ax, "There is no second cluster")
    numbers = np.arange(len(clusters.stability))
    ax.barh(numbers, clusters.stability, color=[cluster_colour(label) for label in numbers.tolist()], height=0.7)
    ax.axvline(TRUSTED_STABILITY, color=INK, linestyle="--", linewidth=1)
    sizes = np.bincount(clusters.labels[clusters.labels >= 0], minlength=len(numbers))
    ax.set_yticks(numbers, [f"{label + 1} (n = {n})" for label, n in zip(numbers, sizes, strict=True)], fontsize=8)
    ax.set(xlabel="stability (Jaccard)", ylabel="cluster", xlim=(0, 1))
    ax.invert_yaxis()
    strip_frame(ax)
    return ax


def show_correlation(
    correlation: Correlation, clusters: Clustering | None = None, *, null: bool = False, limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Show a matrix of correlations: above the diagonal all, below it those that are significant.

    Parameters
    ----------
    correlation : Correlation
        Of any kind.
    clusters : Clustering, optional
        Gives the order of the cells, and lines between the clusters.
    null : bool
        Show the shuffled matrix instead, all of it.
    limit : float, optional
        Correlation of the deepest colour; by default the 99.5th percentile of what is shown off the diagonal.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Cells in the order drawn; red above 0, blue below, grey on the diagonal and where a cell has no correlation.
    """
    ax = axes_or_new(ax, width=5, height=4.4)
    n = len(correlation.ids)
    if n < 2:
        return say(ax, "Correlations need two cells")
    shown = np.array(correlation.null if null else correlation.r, dtype=float)
    order = np.arange(n) if clusters is None else clusters.order
    if not null:
        below = np.tri(n, dtype=bool)
        shown, significant = shown[np.ix_(order, order)], correlation.significant[np.ix_(order, order)]
        shown[below & ~significant] = 0
    np.fill_diagonal(shown, np.nan)
    finite = np.abs(shown[np.isfinite(shown)])
    limit = limit or (max(float(np.percentile(finite, 99.5)), 1e-3) if finite.size else 1.0)
    # Cells that share a pixel of the screen are averaged before they are coloured.
    drawn = ax.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation_stage="data")
    ax.set_facecolor("#b4bcc3")
    ax.figure.colorbar(drawn, ax=ax, label=correlation.method, shrink=0.85)
    name, places, ticks = "cells", np.zeros(0), []
    if n <= NAMED_CELLS and not null:
        name, places, ticks = "cell id", np.arange(n, dtype=float), [str(i) for i in correlation.ids[order]]
    elif clusters is not None and not null and clusters.n_clusters < 2:
        name = "cells, alike ones side by side"
    elif clusters is not None and not null:
        kinds, where = np.unique(clusters.labels[order], return_inverse=True)
        name, ticks = "cells by cluster", [cluster_name(int(label)) for label in kinds]
        places = np.bincount(where, np.arange(n)) / np.bincount(where)
    if clusters is not None and not null:
        for border in np.flatnonzero(np.diff(clusters.labels[order])) + 0.5:
            ax.axhline(border, color=INK, linewidth=0.6)
            ax.axvline(border, color=INK, linewidth=0.6)
    ax.set_xticks(places, ticks, fontsize=7, rotation=90)
    ax.set_yticks(places, ticks, fontsize=7)
    ax.set(xlabel=name, ylabel=name)
    return ax


def show_lags(correlation: Correlation, *, ax: Axes | None = None) -> Axes:
    """Show at which lag significant pairs correlate most.

    Parameters
    ----------
    correlation : Correlation
        Lagged.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Lag in seconds, whichever cell leads; number of pairs.
    """
    ax = axes_or_new(ax, width=4, height=3)
    pairs = np.triu(correlation.significant, 1)
    if not pairs.any():
        return say(ax, "No pair is correlated\nbeyond chance")
    ax.hist(np.abs(correlation.lag_s[pairs]), bins=30, color=SKY, edgecolor="white", linewidth=0.4)
    ax.set(xlabel="lag of the highest correlation (s)", ylabel="significant pairs", xlim=(0, None))
    strip_frame(ax)
    return ax


def show_distance(distance: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Show how correlation depends on the distance between two cells.

    Parameters
    ----------
    distance : DataFrame
        As `stats.correlation_by_distance` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Distance in its unit, mean correlation with its interval beside that of shuffled cells.
    """
    ax = axes_or_new(ax, width=5)
    if distance["r"].isna().all():
        return say(ax, "No pairs of cells to show")
    ax.fill_between(distance["distance"], distance["low"], distance["high"], color=SKY, alpha=0.5, linewidth=0)
    ax.plot(distance["distance"], distance["r"], "o-", color=BLUE, markersize=4, label="measured, with interval")
    ax.plot(distance["distance"], distance["null_r"], "--", color=MUTED, label="shuffled")
    unit = pretty_unit(str(distance["unit"].iloc[0]))
    ax.set(xlabel=f"distance between cells ({unit})", ylabel="mean correlation", xlim=(0, None))
    ax.legend(frameon=False)
    strip_frame(ax)
    return ax


def show_synchrony(synchrony: Synchrony, *, ax: Axes | None = None) -> Axes:
    """Show how many cells are active together, and when that is more than chance allows.

    Parameters
    ----------
    synchrony : Synchrony
        As `stats.find_synchrony` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds, number of active cells; synchronous events are shaded.
    """
    ax = axes_or_new(ax, height=2.6)
    for start, stop in synchrony.table[["onset_s", "offset_s"]].itertuples(index=False):
        ax.axvspan(start, stop, color=ORANGE, alpha=0.5, linewidth=0.8)
    many = len(synchrony.times_s) > MANY_MARKS // 4
    ax.plot(synchrony.times_s, synchrony.n_active, color=BLUE, linewidth=0.8, rasterized=many)
    if np.isfinite(synchrony.threshold):
        ax.axhline(synchrony.threshold, color=VERMILLION, linestyle="--", linewidth=1, label="most by chance")
        ax.axhline(synchrony.expected, color=MUTED, linestyle=":", linewidth=1, label="mean by chance")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderpad=0)
    ax.set(xlabel="time (s)", ylabel="active cells", ylim=(0, None))
    ax.margins(x=0.01)
    strip_frame(ax)
    return ax
