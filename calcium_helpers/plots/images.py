"""Pictures in space: an image of the field with its scale bar, and the outlines of the cells over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from contourpy import contour_generator

from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.plots._style import ACCEPTED, INK, REJECTED, axes_or_new, cluster_colour, cluster_name, say
from calcium_helpers.plots.display import display_limits, nice_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.stats import Clustering

LABELLED_CELLS = 30


def show_image(
    image: np.ndarray,
    *,
    pixel_um: float | None = None,
    label: str | None = None,
    cmap: str = "gray",
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show an image of the field.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        Any finite or NaN numbers; NaN stays blank.
    pixel_um : float, optional
        Side of a pixel, micrometres; draws a scale bar.
    label : str, optional
        What the numbers are, with their unit; draws a colour bar.
    cmap : str
        A Matplotlib colour map.
    limits : tuple of float, optional
        Values shown darkest and brightest; by default the 1st and 99.7th percentile.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        With rows (y) downward, in pixels.

    Raises
    ------
    ValueError
        When ``image`` is not (H, W).
    """
    image = np.asarray(image, dtype=float)
    if image.ndim != 2:
        raise ValueError(f"image must be (H, W), got shape {image.shape}; show one frame or a mean over time")
    ax = axes_or_new(ax, width=6, height=5)
    low, high = limits or display_limits(image)
    drawn = ax.imshow(image, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    ax.set(xlabel="x (px)", ylabel="y (px)")
    if label:
        ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.85)
    if pixel_um:
        _scale_bar(ax, image.shape[1], image.shape[0], pixel_um)
    return ax


def show_footprints(
    footprints: Footprints,
    background: np.ndarray | None = None,
    *,
    accepted: Sequence[bool] | np.ndarray | None = None,
    clusters: Clustering | None = None,
    pixel_um: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Outline the cells over an image of the field.

    Parameters
    ----------
    footprints : Footprints
        The cells; with at most 30 of them each is labelled with its id.
    background : ndarray, shape (H, W), optional
        Image under the outlines; black by default.
    accepted : array of bool, shape (N,), optional
        Accepted cells are solid orange, the others dashed blue; all accepted by default.
    clusters : Clustering, optional
        Shows the cells that were clustered alone, in the colours of their clusters.
    pixel_um, ax
        As in `show_image`.

    Returns
    -------
    Axes
        With rows (y) downward, in pixels.

    Raises
    ------
    ValueError
        When ``background`` or ``accepted`` do not fit the footprints.
    """
    background = np.zeros(footprints.shape) if background is None else np.asarray(background)
    accepted = np.ones(len(footprints), bool) if accepted is None else np.asarray(accepted, dtype=bool)
    if background.shape != footprints.shape:
        raise ValueError(f"background must have the footprints' shape {footprints.shape}, got {background.shape}")
    if accepted.shape != (len(footprints),):
        raise ValueError(f"accepted must have one entry a cell ({len(footprints)}), got shape {accepted.shape}")
    ax = show_image(background, pixel_um=pixel_um, ax=axes_or_new(ax, width=6.5, height=6))
    ax.autoscale(False)  # outlines at the edge reach half a pixel beyond the image
    kinds = [(accepted, ACCEPTED, "-", "accepted"), (~accepted, REJECTED, "--", "rejected")]
    if clusters is not None:
        members = [(label, clusters.ids[clusters.labels == label]) for label in np.unique(clusters.labels).tolist()]
        kinds = [
            (np.isin(footprints.ids, ids), cluster_colour(label), "-", f"cluster {cluster_name(label)}")
            for label, ids in members
        ]
    width = 1.3 if len(footprints) <= 500 else 0.8
    for mine, colour, style, name in kinds:
        add_outlines(ax, footprints.select(mine), colors=colour, linestyles=style, linewidths=width, label=name)
    if len(footprints):
        columns = 2 if clusters is None else 4
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, frameon=False, borderpad=0)
    if len(footprints) <= LABELLED_CELLS:
        label_cells(ax, footprints)
    return ax


def show_frames(strip: Mapping[str, Movie], *, ax: Axes | None = None) -> Axes:
    """Show a few frames of one or more movies of the same recording: a row a movie, all on one scale of brightness.

    Parameters
    ----------
    strip : mapping of str to Movie
        Names and short movies of one shape, such as ``Results.strip``.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Frames from left to right with their times in seconds.
    """
    ax = axes_or_new(ax, width=10, height=1 + 1.7 * len(strip))
    if not strip:
        return say(ax, "No frames to show")
    first = next(iter(strip.values()))
    n, height, width = first.shape
    gap = max(1, width // 60)
    # Frames side by side with a gap that stays blank.
    rows = [
        np.pad(movie.frames().astype(float), ((0, 0), (0, gap), (0, gap)), constant_values=np.nan) for movie in strip.values()
    ]
    mosaic = np.concatenate([np.concatenate(list(frames), axis=1) for frames in rows])[:-gap, :-gap]
    low, high = display_limits(mosaic)
    ax.imshow(mosaic, cmap="gray", vmin=low, vmax=high)
    times = np.arange(n) / first.fs if first.times_s is None else first.times_s
    ax.set_xticks((width + gap) * np.arange(n) + width / 2, [f"{time:.3g}" for time in times])
    ax.set_yticks((height + gap) * np.arange(len(strip)) + height / 2, list(strip), rotation=90, va="center")
    ax.tick_params(length=0)
    ax.set_xlabel("time (s)")
    ax.spines[:].set_visible(False)
    return ax


def outline(footprints: Footprints, row: int, *, level: float = 0.2) -> list[np.ndarray]:
    """Trace the border of one footprint.

    Parameters
    ----------
    footprints : Footprints
        The cells.
    row : int
        Which of them (a row, not an id).
    level : float
        Height of the border as a fraction of the footprint's largest weight, 0 < level < 1.

    Returns
    -------
    list of ndarray, shape (K, 2)
        Closed curves of points (y, x) in pixels.
    """
    start, stop = footprints.weights.indptr[row : row + 2]
    y, x = np.divmod(footprints.weights.indices[start:stop], footprints.shape[1])
    box = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1))
    box[y - y.min(), x - x.min()] = footprints.weights.data[start:stop]
    return trace_borders(box, level * box.max(), corner_yx=(y.min(), x.min()))


def trace_borders(image: np.ndarray, level: float, *, corner_yx: Sequence[float] = (0, 0)) -> list[np.ndarray]:
    """Trace where an image, its upper left pixel at ``corner_yx``, crosses a level: closed curves (K, 2) of points (y, x)."""
    # One pixel of zeros around it closes curves at its edge.
    lines = contour_generator(z=np.pad(np.asarray(image, dtype=float), 1)).lines(level)
    return [np.asarray(line)[:, ::-1] - 1 + corner_yx for line in lines]


def add_outlines(ax: Axes, footprints: Footprints, *, corner_yx: Sequence[float] = (0, 0), **style: Any) -> None:
    """Draw the borders of footprints whose field has its upper left pixel at ``corner_yx``, as one LineCollection.

    Nothing is drawn, and no label set, where there are no footprints.
    """
    add_lines(ax, [line + corner_yx for row in range(len(footprints)) for line in outline(footprints, row)], **style)


def add_lines(ax: Axes, lines: Sequence[np.ndarray], **style: Any) -> bool:
    """Draw curves of points (y, x) over an image, as one LineCollection; say whether there were any."""
    from matplotlib.collections import LineCollection

    if lines:
        ax.add_collection(LineCollection([line[:, ::-1] for line in lines], **style), autolim=False)
    return bool(lines)


def label_cells(ax: Axes, footprints: Footprints) -> None:
    """Write the id of each cell at its centre."""
    from matplotlib.patheffects import withStroke

    for cell, (y, x) in zip(footprints.ids, footprints.centroids, strict=True):
        text = ax.text(x, y, str(cell), color="white", fontsize=7, ha="center", va="center", clip_on=True)
        text.set_path_effects([withStroke(linewidth=1.5, foreground=INK)])


def _scale_bar(ax: Axes, width: int, height: int, pixel_um: float) -> None:
    length_um = nice_length(width * pixel_um / 4)
    right, y = width * 0.96, height * 0.95
    box = {"facecolor": INK, "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    ax.plot([right - length_um / pixel_um, right], [y, y], color="white", linewidth=3, solid_capstyle="butt")
    ax.text(right, y - height * 0.02, f"{length_um:g} µm", color="white", ha="right", va="bottom", fontsize=8, bbox=box)
