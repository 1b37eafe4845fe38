"""Pictures of single events as volumes of T x H x W: seen from three sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.containers import Events, Movie
from calcium_helpers.plots._style import CLUSTERS, MUTED, ORANGE, axes_or_new
from calcium_helpers.plots.display import display_limits
from calcium_helpers.plots.images import add_lines, trace_borders

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 2  # pixels between two views
ONES = (ORANGE, *(colour for colour in CLUSTERS[:-1] if colour != ORANGE))  # of several events; ink is not seen on grey


def show_event(
    movie: Movie,
    events: Events,
    row: int | Sequence[int],
    *,
    margin: Sequence[int] = (10, 8, 8),
    outlined: Events | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show an event from three sides: XY, and below and beside it its course along x and along y.

    Each view is the mean over the event's box along the axis that is not seen; its outline is that of the mask.

    Parameters
    ----------
    movie : Movie
        Where the event is.
    events : Events
        With masks.
    row : int or sequence of int
        Which of them; of several, such as two that touch, the box that holds them is shown.
    margin : sequence of 3 ints
        Frames, rows and columns shown around it.
    outlined : Events, optional
        What is outlined there, as far as it reaches into the event's box, each in a colour of its own: such as what a
        detector found. By default the event itself.
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
    rows = np.atleast_1d(row)
    for those in (events, outlined):
        if those is not None and those.masks is None:
            raise ValueError("events must have masks; make them with transients.events_from_label")
    if not rows.size or rows.min() < 0 or rows.max() >= len(events):
        raise ValueError(f"row must be one or more of {len(events)} events, got {row}")
    boxes = np.array([_ends(volume) for volume in events.select(rows).masks or ()])
    low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
    start, stop = np.maximum(low - margin, 0), np.minimum(high + margin, movie.shape)
    values = movie.frames(int(start[0]), int(stop[0]))[:, start[1] : stop[1], start[2] : stop[2]].astype(float)
    inner = tuple(slice(int(a), int(b)) for a, b in zip(low - start, high - start, strict=True))
    height, width, length = values.shape[1], values.shape[2], len(values)
    mosaic = np.full((height + GAP + length, width + GAP + length), np.nan)
    ax = axes_or_new(ax, width=6, height=6 * mosaic.shape[0] / mosaic.shape[1])
    # XY; below it XT; beside it YT with time to the right.
    places = {"XY": (0, (0, 0)), "XT": (1, (height + GAP, 0)), "YT": (2, (0, width + GAP))}
    for axis, (y, x) in places.values():
        view = _view(_mean(values, axis, inner[axis]), axis)
        mosaic[y : y + view.shape[0], x : x + view.shape[1]] = view
    limits = display_limits(mosaic)
    ax.imshow(mosaic, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    masks = [_window(volume, start, stop) for volume in (events.select(rows) if outlined is None else outlined).masks or ()]
    for number, mask in enumerate(mask for mask in masks if mask[inner].any()):
        for axis, corner in places.values():
            seen = np.any(np.moveaxis(mask, axis, 0)[inner[axis]], axis=0)
            lines = trace_borders(_view(seen, axis), 0.5, corner_yx=corner)
            add_lines(ax, lines, colors=ONES[number % len(ONES)], linewidths=1.5)
    for name, (_, (y, x)) in places.items():
        ax.text(x + 0.3, y + 0.3, name, color=ORANGE, va="top", fontsize=9, fontweight="bold")
    _say_scales(ax, movie, (height, width, length))
    return ax


def _ends(volume: tuple[int, int, int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """First voxel of the box of a mask, and the one after its last."""
    *corner, mask = volume
    return np.array(corner), np.array(corner) + mask.shape


def _window(volume: tuple[int, int, int, np.ndarray], start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Cut a mask to a window; what does not reach into it is empty there."""
    low, high = _ends(volume)
    window = np.zeros(stop - start, dtype=bool)
    a, b = np.maximum(low, start), np.minimum(high, stop)
    if (a < b).all():
        there = tuple(slice(i, j) for i, j in zip(a - start, b - start, strict=True))
        window[there] = volume[3][tuple(slice(i, j) for i, j in zip(a - low, b - low, strict=True))]
    return window


def _view(plane: np.ndarray, axis: int) -> np.ndarray:
    """Turn what is seen along x so that time goes to the right."""
    return plane.T if axis == 2 else plane


def _mean(values: np.ndarray, axis: int, part: slice) -> np.ndarray:
    """Mean over a part of an axis of what is not NaN; NaN where nothing is."""
    chosen = np.moveaxis(values, axis, 0)[part]
    known = np.isfinite(chosen)
    n = known.sum(axis=0)
    return np.where(n > 0, np.where(known, chosen, 0).sum(axis=0) / np.maximum(n, 1), np.nan)


def _say_scales(ax: Axes, movie: Movie, sizes: tuple[int, int, int]) -> None:
    """Write how long the three views are."""
    height, width, length = sizes
    time = f"t ({length / movie.fs:.1f} s)"
    x, y = (f"{axis} ({n} px{_um(n, movie)})" for axis, n in (("x", width), ("y", height)))
    ax.set_xticks([width / 2, width + GAP + length / 2], [x, time])
    ax.set_yticks([height / 2, height + GAP + length / 2], [y, time], rotation=90, va="center")
    ax.tick_params(length=0, colors=MUTED)
    ax.spines[:].set_visible(False)


def _um(n: int, movie: Movie) -> str:
    return "" if movie.pixel_um is None else f", {n * movie.pixel_um:.1f} µm"
