"""What the plots share: colours that colour-blind readers can tell apart, and axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), https://jfly.uni-koeln.de/color/
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
INK, MUTED = "#1b2733", "#5b6770"
ACCEPTED, REJECTED = ORANGE, SKY


def axes_or_new(ax: Axes | None, *, width: float = 8, height: float = 3) -> Axes:
    """Return ``ax``, or the axes of a new pyplot figure of the given size in inches."""
    if ax is not None:
        return ax
    # Only here: who passes axes of their own, such as the report, never starts pyplot's global state.
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def say(ax: Axes, message: str) -> Axes:
    """Write a message into axes that have nothing to show."""
    ax.text(0.5, 0.5, message, ha="center", va="center", color=MUTED, transform=ax.transAxes)
    ax.set(xticks=[], yticks=[])
    return ax


def strip_frame(ax: Axes) -> None:
    """Leave only the left and bottom lines of the frame."""
    ax.spines[["top", "right"]].set_visible(False)
