"""Pictures of coordinates that learn: where they are at some steps, and the way they took."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.containers import Footprints
from calcium_helpers.plots._style import GREEN, INK, ORANGE, SKY, axes_or_new, say
from calcium_helpers.plots.display import display_limits
from calcium_helpers.plots.images import add_outlines
from calcium_helpers.results import Detection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 6
COLUMNS = 3


def show_path(
    detection: Detection,
    image: np.ndarray,
    *,
    steps: Sequence[int] | None = None,
    truth: Footprints | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show learnable coordinates at some steps of their training, over an image of the field.

    A trail leads to each from where it was in the panel before, in the first panel from where it began. Those that become
    accepted cells are orange dots, rejected components blue squares, those that are dropped or merged later blue crosses.

    Parameters
    ----------
    detection : Detection
        As `models.one_photon.detect` gives it.
    image : ndarray, shape (H, W)
        What lies below, such as the standard deviation of the movie without its background.
    steps : sequence of int, optional
        Recorded steps, increasing from 0; by default the start, the ends of the first stages, and the end.
    truth : Footprints, optional
        True cells, outlined in green.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Panels in rows of three, each with its stage, the coordinates there and the share of variance that they explain.

    Raises
    ------
    ValueError
        For a detection without a path, an image or truth of another shape, or steps that were not recorded.
    """
    steps = _check(detection, image, truth, steps)
    if not steps:
        return say(axes_or_new(ax), "No step was recorded")
    image = np.asarray(image, dtype=float)
    n_columns, n_rows = min(COLUMNS, len(steps)), -(-len(steps) // COLUMNS)
    gap = np.array([image.shape[1] * n_columns // 24, image.shape[1] // 40 + 1])  # above, for two lines of text, and beside
    corners = np.array([divmod(i, n_columns) for i in range(len(steps))]) * (image.shape + gap)
    side = 4.0 if n_columns > 1 else 6.0
    ax = axes_or_new(ax, width=side * n_columns, height=0.6 + n_rows * (0.4 + side * image.shape[0] / image.shape[1]))
    mosaic = np.full((n_rows, n_columns) * (image.shape + gap) - gap, np.nan)
    for y, x in corners:
        mosaic[y : y + image.shape[0], x : x + image.shape[1]] = image
    low, high = display_limits(image)
    ax.imshow(mosaic, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.autoscale(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    for step, corner in zip(steps, corners, strict=True):
        place = (corner[1] - 0.5, corner[0] - 0.5)
        ax.annotate(_title(detection, step), place, (0, 3), textcoords="offset points", color=INK, fontsize=9)
        if truth is not None:
            add_outlines(ax, truth, corner_yx=corner, colors=GREEN, linewidths=1, label="" if corner.any() else "true cell")
    _draw_paths(ax, detection, steps, corners)
    if ax.lines or (truth is not None and len(truth)):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2 * min(n_columns, 2), frameon=False)
    return ax


def find_stage_ends(stages: Sequence[str]) -> list[int]:
    """Return the start, the last steps of the first stages, where most happens, and the end: at most six steps."""
    changes = [i for i, (one, other) in enumerate(pairwise(stages)) if one != other]
    return sorted({0, *[i for i in changes if i][: MOST_PANELS - 2], len(stages) - 1})


def _check(detection: Detection, image: np.ndarray, truth: Footprints | None, steps: Sequence[int] | None) -> list[int]:
    """Return the steps to show."""
    if "path" not in detection.extras:
        raise ValueError(f"detection must come from models.one_photon: its extras have no path, only {[*detection.extras]}")
    shape = detection.footprints.shape
    for name, got in (("image", np.shape(image)), ("truth", shape if truth is None else truth.shape)):
        if got != shape:
            raise ValueError(f"{name} must have the detection's shape {shape}, got {got}")
    n = len(detection.extras["path"])
    if not n:
        return []
    chosen = find_stage_ends(detection.extras["path_stage"]) if steps is None else [int(step) for step in steps]
    if not chosen or not all(0 <= step < n for step in chosen):
        raise ValueError(f"steps must be some of 0..{n - 1}, got {chosen}")
    return chosen


def _title(detection: Detection, step: int) -> str:
    extras = detection.extras
    n = int(np.isfinite(extras["path"][step]).all(axis=1).sum())
    explained = f", {extras['explained'][step]:.0%} of the variance" if np.isfinite(extras["explained"][step]) else ""
    return f"{extras['path_stage'][step]} (step {step})\n{n} coordinates{explained}"


def _draw_paths(ax: Axes, detection: Detection, steps: list[int], corners: np.ndarray) -> None:
    """Draw where the coordinates are in each panel and how they came there, by what becomes of them."""
    from matplotlib.collections import LineCollection

    edge = np.array(detection.footprints.shape) - 0.5
    path, ids = np.clip(detection.extras["path"], -0.5, edge), np.asarray(detection.extras["path_ids"])  # some leave the field
    accepted = np.isin(ids, detection.scores.index[detection.scores["accepted"].astype(bool)])
    kinds = (
        (ids < 0, "dropped or merged later", {"color": SKY, "marker": "x"}),
        ((ids >= 0) & ~accepted, "rejected at the end", {"color": SKY, "marker": "s", "markerfacecolor": "none"}),
        (accepted, "becomes a cell", {"color": ORANGE, "marker": "o", "markeredgecolor": INK, "markeredgewidth": 0.5}),
    )
    for mine, name, style in kinds:
        points, trails = [], []
        for since, step, corner in zip([0, *steps[:-1]], steps, corners, strict=True):
            rows = np.flatnonzero(mine & np.isfinite(path[step]).all(axis=1))
            points.append(path[step, rows] + corner)
            ways = (path[since : step + 1, row] + corner for row in rows)
            trails += [way[np.isfinite(way).all(axis=1)][:, ::-1] for way in ways]
        y, x = np.concatenate(points).T
        if len(y):
            ax.add_collection(LineCollection(trails, colors=style["color"], linewidths=0.8, alpha=0.8))
            ax.plot(x, y, linestyle="none", markersize=5, label=name, **style)
