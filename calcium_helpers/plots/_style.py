"""What the plots share: colours that colour-blind readers can tell apart, and axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), https://jfly.uni-koeln.de/color/
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
INK, MUTED = "#1b2733", "#5b6770"
ACCEPTED, REJECTED = ORANGE, SKY
CLUSTERS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, "#F0E442", INK)
# More marks than this are drawn as pixels, so that an SVG stays small.
MANY_MARKS = 20_000


def axes_or_new(ax: Axes | None, *, width: float = 8, height: float = 3) -> Axes:
    """Return ``ax``, or the axes of a new pyplot figure of the given size in inches."""
    if ax is not None:
        return ax
    # Only here: who passes axes of their own, such as the report, never starts pyplot's global state.
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def cluster_colour(label: int) -> str:
    """Return the colour of a cluster; those that belong to none (-1) are grey."""
    return CLUSTERS[label % len(CLUSTERS)] if label >= 0 else "#b4bcc3"


def cluster_name(label: int) -> str:
    """Return the name of a cluster as tables have it: from 1 on, 0 for none."""
    return str(label + 1) if label >= 0 else "none"


def say(ax: Axes, message: str) -> Axes:
    """Write a message into axes that have nothing to show."""
    ax.text(0.5, 0.5, message, ha="center", va="center", color=MUTED, transform=ax.transAxes)
    ax.set(xticks=[], yticks=[])
    return ax


def strip_frame(ax: Axes) -> None:
    """Leave only the left and bottom lines of the frame."""
    ax.spines[["top", "right"]].set_visible(False)


def rows_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the rows that hold the wanted ids, in their order."""
    rows = {int(cell): row for row, cell in enumerate(ids)}
    missing = [int(cell) for cell in wanted if int(cell) not in rows]
    if missing:
        raise ValueError(f"no row for the cells {missing[:5]}: the data and the clusters must be of the same recording")
    return np.array([rows[int(cell)] for cell in wanted], dtype=int)


def pretty_unit(unit: str) -> str:
    """Return a unit as a reader writes it."""
    return unit.replace("dF/F", "ΔF/F").replace("um", "µm").replace("^2", "²")
