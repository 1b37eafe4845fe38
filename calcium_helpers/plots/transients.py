"""Pictures of small events in T x H x W: one from three sides, all of a frame, precision over recall, features, sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from contourpy import contour_generator

from calcium_helpers.containers import Events, Movie
from calcium_helpers.plots._style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    SKY,
    axes_or_new,
    cluster_colour,
    pretty_unit,
    say,
    strip_frame,
)
from calcium_helpers.plots.display import display_limits
from calcium_helpers.plots.images import show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.metrics import PrecisionRecall

FATES = {"silenced": (BLUE, "v"), "new": (ORANGE, "^"), "recurrent": (GREEN, "o")}
DASHES = ("-", "--", "-.", ":")
UNITS = ("per_min", "um2", "px", "s")


def show_event(movie: Movie, events: Events, row: int, *, margin: Sequence[int] = (10, 8, 8), ax: Axes | None = None) -> Axes:
    """Show one event from three sides: XY, and below and beside it its course along x and along y.

    Each view is the mean over the event's box along the axis that is not seen; its outline is that of the mask.

    Parameters
    ----------
    movie : Movie
        Where the event is.
    events : Events
        With masks.
    row : int
        Which of them.
    margin : sequence of 3 ints
        Frames, rows and columns shown around it.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        XY at the upper left; YT beside it, XT below it, time in frames away from it.

    Raises
    ------
    ValueError
        For events without masks, or no such row.
    """
    if events.masks is None or not 0 <= row < len(events):
        raise ValueError(f"row must be one of {len(events)} events with masks, got {row}")
    *corner, mask = events.masks[row]
    start = np.maximum(np.array(corner) - margin, 0)
    stop = np.minimum(np.array(corner) + mask.shape + margin, movie.shape)
    values = movie.frames(int(start[0]), int(stop[0]))[:, start[1] : stop[1], start[2] : stop[2]].astype(float)
    full = np.zeros(values.shape, dtype=bool)
    inner = tuple(slice(c - a, c - a + n) for c, a, n in zip(corner, start, mask.shape, strict=True))
    full[inner] = mask
    views = [np.nanmean(np.take(values, range(part.start, part.stop), axis), axis) for axis, part in enumerate(inner)]
    outlines = [np.any(full, axis=axis) for axis in range(3)]
    # XY; below it XT; beside it YT with time to the right.
    (xy, xt, yt), (xy_line, xt_line, yt_line) = ((a, b, c.T) for a, b, c in (views, outlines))
    gap = 2
    height, width, length = xy.shape[0], xy.shape[1], len(values)
    mosaic = np.full((height + gap + length, width + gap + length), np.nan)
    ax = axes_or_new(ax, width=6, height=6 * mosaic.shape[0] / mosaic.shape[1])
    places = {"XY": (0, 0, xy, xy_line), "YT": (0, width + gap, yt, yt_line), "XT": (height + gap, 0, xt, xt_line)}
    for y, x, view, _ in places.values():
        mosaic[y : y + view.shape[0], x : x + view.shape[1]] = view
    low, high = display_limits(mosaic)
    ax.imshow(mosaic, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    for name, (y, x, _, line) in places.items():
        _outline(ax, line, (y, x), colors=ORANGE, linewidths=1.5)
        ax.text(x + 0.3, y + 0.3, name, color=ORANGE, va="top", fontsize=9, fontweight="bold")
    _say_scales(ax, movie, (height, width, length), gap)
    return ax


def show_transients(
    movie: Movie,
    frame: int,
    events: Events | None = None,
    *,
    truth: Events | None = None,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show a frame with the outlines of the events that are on in it.

    Parameters
    ----------
    movie : Movie
        The recording.
    frame : int
        Which frame.
    events : Events, optional
        With masks: orange.
    truth : Events, optional
        True or labelled events: blue dashes.
    limits : tuple of 2 floats, optional
        Values shown darkest and brightest; by default those of the frame. Give them to compare frames.
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
    if not 0 <= frame < movie.n_frames:
        raise ValueError(f"frame must be between 0 and {movie.n_frames - 1}, got {frame}")
    ax = show_image(movie.frames(frame, frame + 1)[0], pixel_um=movie.pixel_um, limits=limits, ax=ax)
    kinds: tuple[tuple[Events | None, dict[str, Any]], ...] = (
        (events, {"colors": ORANGE, "linewidths": 1.5, "label": "found"}),
        (truth, {"colors": SKY, "linewidths": 1.5, "linestyles": "--", "label": "true"}),
    )
    drawn = False
    for those, style in kinds:
        seen = np.zeros(movie.shape[1:], dtype=bool)
        for t, y, x, mask in (those.masks if those is not None else None) or ():
            if t <= frame < t + len(mask):
                seen[:] = False
                seen[y : y + mask.shape[1], x : x + mask.shape[2]] = mask[frame - t]
                drawn |= _outline(ax, seen, (0, 0), **style)
                style = {**style, "label": None}
    if drawn:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderpad=0, fontsize=8)
    time = frame / movie.fs if movie.times_s is None else movie.times_s[frame]
    ax.set_title(f"{time:.1f} s", loc="right", fontsize=10)
    return ax


def show_pr_curve(curves: Mapping[str, PrecisionRecall], *, ax: Axes | None = None) -> Axes:
    """Show precision over recall of one or more detectors, and where F1 is highest.

    Parameters
    ----------
    curves : mapping of str to PrecisionRecall
        Names and what `metrics.detection_curve` gives.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        A step curve each with its average precision in the legend, a dot at the highest F1.
    """
    ax = axes_or_new(ax, width=4.5, height=4)
    if not curves:
        return say(ax, "No detectors to compare")
    for i, (name, curve) in enumerate(curves.items()):
        colour, style = cluster_colour(i), DASHES[i % len(DASHES)]
        label = f"{name}: AP {curve.average_precision:.2f}"
        first = curve.precision[:1] if len(curve.precision) else [0.0]
        ax.step(np.append(0, curve.recall), np.append(first, curve.precision), style, where="pre", color=colour, label=label)
        if len(curve.f1):
            best = int(np.argmax(curve.f1))
            ax.plot(curve.recall[best], curve.precision[best], "o", color=colour, markersize=6, markeredgecolor="white")
    ax.set(xlabel="recall (share of true events found)", ylabel="precision (share of found that are true)")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.05))
    ax.legend(frameon=False, fontsize=8, title="dot: highest F1", title_fontsize=8)
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
    groups = pd.Series("all" if group is None else list(group), index=features.index)
    values = features[feature].astype(float)
    shown = values[np.isfinite(values)]
    if shown.empty:
        return say(ax, f"No {feature} to show")
    names = list(groups.unique())
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
    pixel_um : float, optional
        Side of a pixel, micrometres; draws a scale bar.
    ax : Axes, optional
        Where to draw; a new figure by default.

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


def _outline(ax: Axes, mask: np.ndarray, corner_yx: tuple[int, int], **style: Any) -> bool:
    """Draw the border of a mask; say whether there is one."""
    from matplotlib.collections import LineCollection

    lines = contour_generator(z=np.pad(mask.astype(float), 1)).lines(0.5)
    shifted = [np.asarray(line) - 1 + corner_yx[::-1] for line in lines]
    if shifted:
        ax.add_collection(LineCollection(shifted, **style), autolim=False)
    return bool(shifted)


def _say_scales(ax: Axes, movie: Movie, sizes: tuple[int, int, int], gap: int) -> None:
    """Write what a pixel of the three views is."""
    height, width, length = sizes
    time = f"t ({length / movie.fs:.1f} s)"
    ax.set_xticks([width / 2, width + gap + length / 2], [f"x ({width} px{_um(width, movie)})", time])
    ax.set_yticks([height / 2, height + gap + length / 2], [f"y ({height} px)", time], rotation=90, va="center")
    ax.tick_params(length=0, colors=MUTED)
    ax.spines[:].set_visible(False)


def _um(n: int, movie: Movie) -> str:
    return "" if movie.pixel_um is None else f", {n * movie.pixel_um:.1f} µm"


def _title(feature: str) -> str:
    """Name and unit of a column such as ``area_um2``."""
    for unit in UNITS:
        if feature.endswith(f"_{unit}"):
            name = feature.removesuffix(f"_{unit}").replace("_", " ")
            return f"{name} ({pretty_unit(unit.replace('per_', '1/').replace('um2', 'um^2'))})"
    return feature.replace("_", " ")
