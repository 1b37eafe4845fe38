"""Pictures of small events in T x H x W: those of a frame, precision over recall, features, sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from calcium_helpers.containers import Events, Movie
from calcium_helpers.plots._style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    SKY,
    axes_or_new,
    cluster_colour,
    pretty_unit,
    say,
    strip_frame,
)
from calcium_helpers.plots.images import add_lines, show_image, trace_borders

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.metrics import PrecisionRecall

FATES = {"silenced": (BLUE, "v"), "new": (ORANGE, "^"), "recurrent": (GREEN, "o")}
DASHES = ("-", "--", "-.", ":")
UNITS = ("per_min", "um2", "px", "s")


def show_transients(
    movie: Movie,
    frame: int | tuple[int, int],
    events: Events | None = None,
    *,
    truth: Events | None = None,
    names: tuple[str, str] = ("found", "true"),
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show a frame, or the brightest of some frames at each pixel, with the outlines of the events that are on in it.

    Parameters
    ----------
    movie : Movie
        The recording.
    frame : int or tuple of 2 ints
        Which frame; or from which to before which.
    events : Events, optional
        With masks: orange.
    truth : Events, optional
        True or labelled events: blue dashes.
    names : tuple of 2 str
        What ``events`` and ``truth`` are, for the legend.
    limits : tuple of 2 floats, optional
        Values shown darkest and brightest; by default those of the image. Give them to compare frames.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        With the time in seconds as its title.

    Raises
    ------
    ValueError
        When there is no such frame.
    """
    start, stop = (frame, frame + 1) if isinstance(frame, (int, np.integer)) else frame
    if not 0 <= start < stop <= movie.n_frames:
        raise ValueError(f"frame must be between 0 and {movie.n_frames - 1}, or a range in it, got {frame}")
    image = np.fmax.reduce(movie.frames(start, stop), axis=0)
    ax = show_image(image, pixel_um=movie.pixel_um, limits=limits, ax=ax)
    drawn = False
    styles: tuple[dict[str, Any], ...] = ({"colors": ORANGE}, {"colors": SKY, "linestyles": "--"})
    for those, name, style in zip((events, truth), names, styles, strict=True):
        lines = []
        for t, y, x, mask in (those.masks if those is not None else None) or ():
            on = mask[max(start - t, 0) : max(stop - t, 0)].any(axis=0)
            lines += trace_borders(on, 0.5, corner_yx=(y, x))
        drawn |= add_lines(ax, lines, linewidths=1.5, label=name, **style)
    if drawn:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderpad=0, fontsize=8)
    times = np.arange(movie.n_frames) / movie.fs if movie.times_s is None else movie.times_s
    until = f" to {times[stop - 1] + 1 / movie.fs:.1f}" if stop - start > 1 else ""
    ax.set_title(f"{times[start]:.1f}{until} s", loc="right", fontsize=10)
    return ax


def show_pr_curve(
    curves: Mapping[str, PrecisionRecall], *, thresholds: Mapping[str, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Show precision over recall of one or more detectors, and where F1 is highest.

    Parameters
    ----------
    curves : mapping of str to PrecisionRecall
        Names and what `metrics.detection_curve` gives.
    thresholds : mapping of str to float, optional
        From which score events are called: then the dot of a detector is there.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        A step curve each with its average precision in the legend, and a dot.
    """
    ax = axes_or_new(ax, width=4.5, height=4)
    if not curves:
        return say(ax, "No detectors to compare")
    for i, (name, curve) in enumerate(curves.items()):
        colour, style = cluster_colour(i), DASHES[i % len(DASHES)]
        label = f"{name}: AP {curve.average_precision:.2f}"
        first = curve.precision[:1] if len(curve.precision) else [0.0]
        ax.step(np.append(0, curve.recall), np.append(first, curve.precision), style, where="pre", color=colour, label=label)
        called = len(curve.threshold) if thresholds is None else int((curve.threshold >= thresholds[name]).sum())
        if called:
            at = int(np.argmax(curve.f1)) if thresholds is None else called - 1
            ax.plot(curve.recall[at], curve.precision[at], "o", color=colour, markersize=6, markeredgecolor="white")
    ax.set(xlabel="recall (share of true events found)", ylabel="precision (share of found that are true)")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.05))
    dot = "dot: highest F1" if thresholds is None else "dot: at the threshold"
    ax.legend(loc="lower left", framealpha=0.8, edgecolor="none", fontsize=8, title=dot, title_fontsize=8)
    strip_frame(ax)
    return ax


def show_surrogate(labelled: PrecisionRecall, true: PrecisionRecall | None = None, *, ax: Axes | None = None) -> Axes:
    """Show how a threshold is chosen by labels of some events only, over the events called (those of equal score as one).

    Parameters
    ----------
    labelled : PrecisionRecall
        Of ranked events against what is labelled.
    true : PrecisionRecall, optional
        Of the same events against all that is true.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Recall times precision against the labels, of which the greatest is chosen (see `transients.choose_threshold`), and the
        true F1, each as a share of its highest, as far as four times beyond it.
    """
    ax = axes_or_new(ax, width=6, height=3)
    if not len(labelled.threshold):
        return say(ax, "No events to choose from")
    rows = [("surrogate, from labels", labelled.recall * labelled.precision, BLUE, "-")]
    if true is not None:
        rows.append(("F1, from the truth", true.f1, ORANGE, "--"))
    n, best = len(labelled.threshold), [int(values.argmax()) + 1 for _, values, _, _ in rows]
    for (name, values, colour, style), at in zip(rows, best, strict=True):
        ax.plot(np.arange(1, len(values) + 1), values / max(values.max(), 1e-12), style, color=colour, label=name)
        ax.plot(at, 1, "o", color=colour, markeredgecolor="white")
    ax.set(xlabel="events called", ylabel="share of the highest", xlim=(0, min(n, 4 * max(best)) + 1), ylim=(0, 1.08))
    ax.legend(frameon=False, fontsize=8)
    strip_frame(ax)
    return ax


def show_features(features: pd.DataFrame, feature: str, group: Sequence[Any] | None = None, *, ax: Axes | None = None) -> Axes:
    """Show how one feature is distributed: each event a dot, by group, with median and quartiles.

    Parameters
    ----------
    features : DataFrame
        As `transients.measure_events` gives it.
    feature : str
        Which column.
    group : sequence, optional
        Group of each event, such as "before" and "after", subtype or kind.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Groups side by side with their number of events; what is NaN is left out.
    """
    ax = axes_or_new(ax, width=4, height=3)
    values = features[feature].astype(float).reset_index(drop=True)  # tables put together may repeat an index
    groups = pd.Series("all" if group is None else list(group), index=values.index)
    shown = values[np.isfinite(values)]
    if shown.empty:
        return say(ax, f"No {feature} to show")
    names = sorted(groups.unique()) if pd.api.types.is_numeric_dtype(groups) else list(groups.unique())
    for i, name in enumerate(names):
        mine = shown[groups[shown.index] == name].to_numpy()
        # Spread by rank within the group, so that dots do not hide each other and pictures repeat.
        spread = ((np.arange(len(mine)) * 0.618) % 1 - 0.5) * 0.5
        ax.plot(i + spread, mine, "o", color=cluster_colour(i), alpha=0.5, markersize=3, markeredgewidth=0)
        if mine.size:
            low, middle, high = np.percentile(mine, (25, 50, 75))
            ax.plot([i, i], [low, high], color=INK, linewidth=2)
            ax.plot([i - 0.3, i + 0.3], [middle, middle], color=INK, linewidth=2)
    counts = [int((groups[shown.index] == name).sum()) for name in names]
    ax.set_xticks(range(len(names)), [f"{name}\n(n = {n})" for name, n in zip(names, counts, strict=True)])
    ax.set(ylabel=_title(feature), xlim=(-0.6, len(names) - 0.4))
    strip_frame(ax)
    return ax


def show_sites(table: pd.DataFrame, background: np.ndarray, *, pixel_um: float | None = None, ax: Axes | None = None) -> Axes:
    """Show the sites of events over an image, by fate where it is known; larger for more events.

    Parameters
    ----------
    table : DataFrame
        Of `transients.find_sites` or `transients.site_fates`.
    background : ndarray, shape (H, W)
        Image of the field.
    pixel_um, ax
        As in `show_image`.

    Returns
    -------
    Axes
        Silenced: blue, pointing down; new: orange, pointing up; recurrent: green, round.
    """
    ax = show_image(background, pixel_um=pixel_um, ax=ax)
    fates = table["fate"] if "fate" in table else pd.Series("recurrent", index=table.index)
    n = table["n_events"] if "n_events" in table else table["n_before"] + table["n_after"]
    for fate, (colour, marker) in FATES.items():
        mine = fates == fate
        if not mine.any():
            continue
        label = f"{fate} ({mine.sum()})" if "fate" in table else f"sites ({len(table)})"
        style: dict[str, Any] = {"marker": marker, "color": colour, "edgecolors": "white", "label": label}
        ax.scatter(table["x_px"][mine], table["y_px"][mine], s=30 * np.sqrt(n[mine]), **style)
    if len(table):
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderpad=0, fontsize=8, handletextpad=0.2)
    return ax


def _title(feature: str) -> str:
    """Name and unit of a column such as ``area_um2``."""
    for unit in UNITS:
        if feature.endswith(f"_{unit}"):
            name = feature.removesuffix(f"_{unit}").replace("_", " ")
            return f"{name} ({pretty_unit(unit.replace('per_', '1/').replace('um2', 'um^2'))})"
    return feature.replace("_", " ")
