"""Pictures of the statistics: rasters and clusters, events, spectra, correlations, synchrony, responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from calcium_helpers import plots
from calcium_helpers.report.figures import Drawing, canvas
from calcium_helpers.results import Results

if TYPE_CHECKING:
    from calcium_helpers.stats import Clustering, Correlation, Statistics

MEASURES = ("rate", "interval", "interval_cv", "amplitude", "rise", "half_decay")
SHOWN_STIMULI, SHOWN_RESPONSES = 4, 4
NULL = (
    "chance is what circular shifts of whole traces give, which keep each cell's own rhythm and slowness; the false discovery "
    "rate is controlled over all pairs. Light or motion that all cells share counts as correlation: see the motion first."
)


def draw_heatmap(results: Results, statistics: Statistics) -> Drawing | None:
    """ΔF/F of all cells by cluster."""
    if not len(statistics.ids):
        return None
    figure = canvas(10, _height(len(statistics.ids)))
    plots.show_heatmap(results.dff, statistics.cell_clusters, ax=figure.subplots())
    return Drawing(
        figure,
        "ΔF/F of all accepted cells, one line a cell, sorted by cluster (colours and numbers on the right). Look for blocks "
        "that light up together, and for vertical lines through all cells: events of the whole population, or left-over "
        "motion or light.",
        "Map of fluorescence: time in seconds from left to right, one row a cell.",
        "all cells share one scale; where the page has too few pixels, the largest value is shown.",
    )


def draw_raster(results: Results, statistics: Statistics) -> Drawing | None:
    """Events of all cells by cluster."""
    if not len(statistics.ids):
        return None
    figure = canvas(10, _height(len(statistics.ids)))
    ax = figure.subplots()
    plots.show_raster(results.events, statistics.cell_clusters, ax=ax)
    ax.set_xlim(0, results.dff.n_frames / results.dff.fs)
    return Drawing(
        figure,
        "Onset of each event, one line a cell, in the order and colours of the clusters. Look for ticks that line up.",
        "Raster of events: time in seconds from left to right, one row a cell.",
        "an event is a rise that noise alone would pass only at the stated rate of false positives.",
    )


def draw_cell_clusters(results: Results, statistics: Statistics) -> Drawing | None:
    """Where the clusters lie and why there are so many."""
    clusters = statistics.cell_clusters
    if not len(clusters.ids):
        return None
    figure = canvas(10, 5)
    field, right = cast(Any, figure.subfigures(1, 2, width_ratios=(1.1, 1)))
    plots.show_footprints(results.footprints, results.images.get("mean"), clusters=clusters, ax=field.subplots())
    choice, stability = right.subplots(2, 1)
    plots.show_cluster_choice(clusters, ax=choice)
    plots.show_stability(clusters, ax=stability)
    return Drawing(
        figure,
        "Where the cells of each cluster lie (left), how well each number of clusters separates the cells (silhouette; the "
        "choice is ringed), and how much of each cluster is found again when the cells' traces are resampled (right). Look for "
        "clusters that are neighbours in the field: they may share neuropil or light rather than activity.",
        "A map of the field with outlines in the colours of clusters, a line plot of silhouette, and bars of stability.",
        "cells belong together when their traces rise and fall together; a number of clusters is accepted only if it separates "
        "better than data without structure do.",
        _split(clusters, "cells") or "The cells split into groups better than chance; trust those whose bar passes the line.",
    )


def draw_events(_: Results, statistics: Statistics) -> Drawing | None:
    """Distributions over cells."""
    if not len(statistics.ids):
        return None
    figure = canvas(10, 5)
    for ax, measure in zip(figure.subplots(2, 3).ravel(), MEASURES, strict=True):
        plots.show_distribution(statistics.cells, measure, statistics.groups, ax=ax)
    return Drawing(
        figure,
        "How often, how regularly, how strongly and how fast the accepted cells were active: each cell counts once, with the "
        "mean over its events. Above each, the mean over the cells with its interval (red). Look for a second hump: two kinds "
        "of cells, or cells beside artefacts.",
        "Six histograms over cells: rate, interval, variation of intervals, amplitude, rise and half-decay of events.",
        "intervals speak of this recording; cells with too few events have no value for interval, variation or kinetics. "
        "Rise cannot be shorter than a frame.",
    )


def draw_event_clusters(_: Results, statistics: Statistics) -> Drawing | None:
    """Kinds of events."""
    clusters = statistics.event_clusters
    if not (clusters.labels >= 0).any():
        return None
    figure = canvas(10, 3.8)
    points, choice = figure.subplots(1, 2, width_ratios=(1.4, 1))
    plots.show_clusters(clusters, "amplitude", "half_decay_s", ax=points)
    points.set(xlabel="log amplitude (SDs from the mean)", ylabel="log half-decay (SDs from the mean)")
    plots.show_cluster_choice(clusters, ax=choice)
    return Drawing(
        figure,
        "Each event as a point, by two of the measures that were clustered (left), and why so many clusters (right). Look for "
        "separate clouds; one cloud cut in two is no second kind of event.",
        "Scatter plot of events in the colours of their clusters, and a line plot of silhouette.",
        "events are alike when the logarithms of amplitude, rise, half-decay, area and duration are.",
        _split(clusters, "events") or "The events fall into kinds better than chance.",
    )


def draw_spectra(_: Results, statistics: Statistics) -> Drawing | None:
    """Frequencies."""
    if not statistics.spectra.power.size:
        return None
    figure = canvas(10, 4)
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    plots.show_spectra(statistics.spectra, statistics.bands, statistics.rhythms, ax=left)
    plots.show_bands(statistics.bands, ax=right)
    found = statistics.rhythms["significant"].any()
    return Drawing(
        figure,
        "Power of the ΔF/F of accepted cells over frequency (left) and the share of each band in it (right). Look for a peak "
        "that stands out of the slope; a flat end at high frequencies is noise.",
        "Power over frequency on logarithmic scales, and boxes with the share of each frequency band.",
        "the indicator is slow: fast rhythms of spikes hardly reach these traces. A rhythm is a peak over a smooth background, "
        "tested with the false discovery rate controlled over cells.",
        "Some cells have a rhythm that stands out of their background: triangles mark its frequency." if found
        else "No rhythm: in no cell does a frequency stand out of its background beyond chance.",
    )  # fmt: skip


def draw_correlation(_: Results, statistics: Statistics) -> Drawing | None:
    """Pearson correlation beside its null."""
    return _beside_null(
        statistics.correlation, statistics,
        "Correlation of each pair of cells in the order of the clusters: above the diagonal all pairs, below it only those "
        "beyond chance (left); the same for cells shifted against each other at random, on the same scale (right). Look for "
        "blocks on the left that the right does not have.",
    )  # fmt: skip


def draw_tiling(_: Results, statistics: Statistics) -> Drawing | None:
    """Spike-time tiling beside its null."""
    return _beside_null(
        statistics.tiling, statistics,
        "The same for events alone: spike-time tiling, the share of events of each cell close to one of the other, less what "
        "their rates explain. It does not grow with the rate, as correlation does.",
    )  # fmt: skip


def draw_lags(_: Results, statistics: Statistics) -> Drawing | None:
    """Correlation at the best lag."""
    if len(statistics.ids) < 2:
        return None
    figure = canvas(10, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    plots.show_correlation(statistics.lagged, statistics.cell_clusters, ax=left)
    plots.show_lags(statistics.lagged, ax=right)
    return Drawing(
        figure,
        "Correlation at the lag where it is largest (left) and these lags, for pairs beyond chance (right). Look for a hump "
        "away from zero: some cells follow others, or rise more slowly.",
        "A matrix of correlations between cells, and a histogram of lags in seconds.",
        "lags are searched over a limited range, and chance is given the same search.",
        _pairs(statistics.lagged),
    )


def draw_distance(_: Results, statistics: Statistics) -> Drawing | None:
    """Correlation against distance."""
    if statistics.distance.empty or statistics.distance["r"].isna().all():
        return None
    figure = canvas(10, 3.2)
    plots.show_distance(statistics.distance, ax=figure.subplots())
    return Drawing(
        figure,
        "Mean correlation of pairs of cells by their distance, with its interval (shaded), beside shuffled cells (dashed). "
        "Look for a rise at the shortest distances: neighbours that are active together, or that share neuropil and light.",
        "Line plot of mean correlation over the distance between cells.",
        "the interval counts cells, not pairs, as independent.",
    )


def draw_synchrony(results: Results, statistics: Statistics) -> Drawing | None:
    """How many cells at once."""
    if not len(statistics.ids) or not len(statistics.synchrony.times_s):
        return None
    shifts = results.shifts
    figure = canvas(10, 2.8 if shifts is None else 4.6)
    axes = figure.subplots(1 if shifts is None else 2, 1, sharex=True, squeeze=False)[:, 0]
    plots.show_synchrony(statistics.synchrony, ax=axes[0])
    below = ""
    if shifts is not None:
        plots.show_template_correlation(shifts, results.dff.fs, ax=axes[1])
        axes[0].set_xlabel("")
        below = (
            " Below, the match of each frame with the template: where it falls at a shaded moment, the field moved in depth or "
            "its light changed, and the moment may be no activity."
        )
    found = len(statistics.synchrony.table)
    return Drawing(
        figure,
        "How many cells begin an event at about the same time; shaded where this is more than chance allows anywhere in the "
        f"recording (dashed).{below}",
        "Number of active cells over time in seconds, with the limit that chance reaches.",
        "chance is what each cell's events give when shifted in time independently of the others.",
        "Shaded moments have more active cells than chance gives." if found
        else "No moment of the recording has more active cells than chance gives.",
    )  # fmt: skip


def draw_responses(_: Results, statistics: Statistics) -> Drawing | None:
    """Draw what stimuli evoke."""
    alignment = statistics.alignment
    if alignment is None or not alignment.mean.size:
        return None
    labels = list(alignment.labels)[:SHOWN_STIMULI]
    strongest = alignment.responses.groupby("roi")["response"].max().nlargest(SHOWN_RESPONSES).index
    figure = canvas(10, 6)
    above, below = cast(Any, figure.subfigures(2, 1, height_ratios=(1.2, 1)))
    for ax, label in zip(np.atleast_1d(above.subplots(1, len(labels))), labels, strict=True):
        plots.show_alignment(alignment, label, ax=ax)
    for ax, cell in zip(np.atleast_1d(below.subplots(1, len(strongest))), strongest, strict=True):
        plots.show_responses(alignment, int(cell), ax=ax)
    found = alignment.responses["significant"].any()
    return Drawing(
        figure,
        "Mean of all trials around each kind of stimulus, for all cells (above) and for the cells that respond most, with the "
        "interval of the mean (below). Look for responses that begin at the line; what begins before it is not evoked.",
        "Maps of mean fluorescence around a stimulus, one row a cell, and curves of single cells with their intervals.",
        "each trial is taken relative to the time before its stimulus; chance is what shifted stimulus times give.",
        "Some cells respond beyond chance." if found else "No cell responds beyond chance.",
    )


DRAWERS = {
    "heatmap": draw_heatmap, "raster": draw_raster, "cell_clusters": draw_cell_clusters, "events": draw_events,
    "event_clusters": draw_event_clusters, "spectra": draw_spectra, "correlation": draw_correlation, "lags": draw_lags,
    "tiling": draw_tiling, "distance": draw_distance, "synchrony": draw_synchrony, "responses": draw_responses,
}  # fmt: skip


def _beside_null(correlation: Correlation, statistics: Statistics, caption: str) -> Drawing | None:
    if len(statistics.ids) < 2:
        return None
    figure = canvas(10, 4.4)
    left, right = figure.subplots(1, 2)
    plots.show_correlation(correlation, statistics.cell_clusters, ax=left)
    plots.show_correlation(correlation, null=True, limit=left.images[0].get_clim()[1], ax=right)
    left.set_title("measured")
    right.set_title("shuffled")
    alt = "Two matrices of correlations between cells side by side: measured, and after shuffling."
    return Drawing(figure, caption, alt, NULL, _pairs(correlation))


def _pairs(correlation: Correlation) -> str:
    return (
        "Some pairs are correlated beyond chance."
        if correlation.significant.any()
        else "No pair of cells is correlated beyond chance."
    )


def _split(clusters: Clustering, what: str) -> str:
    return "" if clusters.n_clusters > 1 else f"No cluster structure beyond chance: the {what} are shown as one group."


def _height(n_cells: int) -> float:
    return float(np.clip(1.2 + 0.06 * n_cells, 2.2, 6.5))
