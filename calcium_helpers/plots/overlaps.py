"""Pictures of cells that lie on one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.containers import Footprints
from calcium_helpers.plots._style import CLUSTERS, INK, axes_or_new
from calcium_helpers.plots.images import add_outlines, outline, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = CLUSTERS[:-1]  # all but ink, which is not seen on a dark image


def show_overlaps(
    footprints: Footprints,
    background: np.ndarray | None = None,
    *,
    truth: Footprints | None = None,
    pixel_um: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Fill the cells over an image of the field, so that it is seen where they lie on one another.

    Parameters
    ----------
    footprints : Footprints
        The cells: filled so that one sees through them; cells that share pixels differ in colour, and their borders cross.
    background : ndarray, shape (H, W), optional
        Image under the cells; black by default.
    truth : Footprints, optional
        True cells of the same field, outlined in white dashes.
    pixel_um, ax
        As in `show_image`.

    Returns
    -------
    Axes
        With rows (y) downward, in pixels.

    Raises
    ------
    ValueError
        When ``background`` or ``truth`` are of another field.
    """
    from matplotlib.colors import to_rgba
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    background = np.zeros(footprints.shape) if background is None else np.asarray(background)
    for name, shape in (("background", background.shape), ("truth", footprints.shape if truth is None else truth.shape)):
        if shape != footprints.shape:
            raise ValueError(f"{name} must have the footprints' shape {footprints.shape}, got {shape}")
    ax = show_image(background, pixel_um=pixel_um, ax=axes_or_new(ax, width=6.5, height=6))
    ax.autoscale(False)
    for row, colour in enumerate(_colours_apart(footprints)):
        border = Path.make_compound_path(*[Path(line[:, ::-1]) for line in outline(footprints, row)])
        ax.add_patch(PathPatch(border, facecolor=to_rgba(colour, 0.45), edgecolor=colour, linewidth=1.2))
    if truth is not None:
        add_outlines(ax, truth, colors="white", linestyles="--", linewidths=0.9, label="true cell")
        if len(truth):
            ax.legend(loc="lower right", bbox_to_anchor=(1, 1), facecolor=INK, labelcolor="white", borderpad=0.3)
    return ax


def _colours_apart(footprints: Footprints) -> list[str]:
    """Return a colour for each cell that none of those sharing pixels with it has, as far as there are enough."""
    masks = footprints.weights.astype(bool).astype(int)
    shared = (masks @ masks.T).tocsr()
    chosen = np.full(len(footprints), -1)
    for row in range(len(footprints)):
        near = shared.indices[shared.indptr[row] : shared.indptr[row + 1]]
        taken = np.bincount(chosen[near][chosen[near] >= 0], minlength=len(COLOURS))
        # Of the free ones that which is used least so far: a field of cells apart shows all colours.
        used = np.bincount(chosen[:row], minlength=len(COLOURS))
        chosen[row] = np.lexsort((used, taken))[0]
    return [COLOURS[i] for i in chosen]
