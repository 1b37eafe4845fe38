"""Pictures of an unrolled network: a frame after each of its blocks, and which slot is matched to which cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.plots._style import INK, ORANGE, axes_or_new, say
from calcium_helpers.plots.display import display_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show_blocks(
    frames: Mapping[str, np.ndarray],
    *,
    label: str | None = None,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show what becomes of a frame from block to block: images side by side, all on one scale of brightness.

    Parameters
    ----------
    frames : mapping of str to ndarray, shape (H, W)
        Names and images of one shape, from left to right.
    label : str, optional
        What the numbers are, with their unit; draws a colour bar.
    limits : tuple of float, optional
        Values shown darkest and brightest; by default the 1st and 99.7th percentile of all images.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        With the name above each image.

    Raises
    ------
    ValueError
        When the images are not all (H, W).
    """
    images = [np.asarray(frame, dtype=float) for frame in frames.values()]
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"frames must all be (H, W) of one shape, got {[image.shape for image in images]}")
    if not images or not images[0].size:
        return say(axes_or_new(ax), "No frames to show")
    height, width = images[0].shape
    ax = axes_or_new(ax, width=2.2 * len(images) + bool(label), height=0.4 + 2.2 * height / width)
    gap = max(1, width // 24)
    mosaic = np.concatenate([np.pad(image, ((0, 0), (0, gap)), constant_values=np.nan) for image in images], axis=1)[:, :-gap]
    low, high = limits or display_limits(mosaic)
    drawn = ax.imshow(mosaic, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_xticks((width + gap) * np.arange(len(images)) + (width - 1) / 2, list(frames))
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    if label:
        ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.85, pad=0.01)
    return ax


def show_matching(cost: np.ndarray, pairs: np.ndarray, *, label: str = "cost", ax: Axes | None = None) -> Axes:
    """Show what it would cost to call each slot each cell, and the matching that was chosen.

    Parameters
    ----------
    cost : ndarray, shape (S, N)
        A row a slot, a column a true cell; NaN or infinity, where a slot cannot be that cell, stays blank.
    pairs : ndarray of int, shape (K, 2)
        Those (slot, cell) that were matched, one to one: ringed.
    label : str
        What the numbers are; names the colour bar.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Slots to the right, cells downward; dark is cheap.

    Raises
    ------
    ValueError
        When ``cost`` is not (S, N), or a pair lies outside or shares its slot or cell with another.
    """
    cost, pairs = np.asarray(cost, dtype=float), np.asarray(pairs, dtype=int).reshape(-1, 2)
    if cost.ndim != 2:
        raise ValueError(f"cost must be (slots, cells), got shape {cost.shape}")
    inside = ((pairs >= 0) & (pairs < cost.shape)).all()
    if not inside or any(len(np.unique(column)) < len(pairs) for column in pairs.T):
        raise ValueError(
            f"pairs must name each of {cost.shape[0]} slots and {cost.shape[1]} cells at most once, got {pairs.tolist()}"
        )
    ax = axes_or_new(ax, width=min(2 + 0.3 * len(cost), 13), height=1 + 0.3 * cost.shape[1])
    if not cost.size:
        return say(ax, "No slots or no cells to match")
    shown = np.where(np.isfinite(cost), cost, np.nan).T
    low, high = (np.nanmin(shown), np.nanmax(shown)) if np.isfinite(shown).any() else (0, 1)
    drawn = ax.imshow(shown, cmap="cividis", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    for colour, line in ((INK, 4.0), (ORANGE, 2.0)):  # a dark rim: seen on every colour of the map
        ax.plot(pairs[:, 0], pairs[:, 1], "o", color=colour, markersize=11, markerfacecolor="none", markeredgewidth=line)
    ax.set(xlabel="slot", ylabel="true cell")
    ax.locator_params(integer=True)
    ax.figure.colorbar(drawn, ax=ax, label=label, pad=0.02)
    return ax
