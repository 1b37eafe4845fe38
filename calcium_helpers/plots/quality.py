"""Pictures of how well it went: motion, and the funnel from seeds to cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from calcium_helpers.containers import Shifts
from calcium_helpers.plots._style import BLUE, INK, MANY_MARKS, MUTED, ORANGE, VERMILLION, axes_or_new, say, strip_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show_shifts(shifts: Shifts, fs: float, *, ax: Axes | None = None) -> Axes:
    """Show the correction of each frame over time; of piecewise shifts, the mean and the range over the blocks.

    Parameters
    ----------
    shifts : Shifts
        As estimated; frames that could not be aligned are marked.
    fs : float
        Frames per second, Hz.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds, correction in pixels.
    """
    ax = axes_or_new(ax, height=2.5)
    times = np.arange(len(shifts.yx)) / fs
    many = len(times) > MANY_MARKS // 4
    for axis, (name, colour) in enumerate((("y (down)", BLUE), ("x (right)", ORANGE))):
        ax.plot(times, shifts.rigid_yx[:, axis], color=colour, linewidth=1, label=name, marker=_lone(times), rasterized=many)
        if shifts.is_piecewise:
            blocks = shifts.yx[..., axis].reshape(len(times), -1)
            ax.fill_between(
                times, blocks.min(axis=1), blocks.max(axis=1), color=colour, alpha=0.3, linewidth=0, rasterized=many
            )
    return _finish_motion(ax, shifts, fs, "correction (px)")


def show_template_correlation(shifts: Shifts, fs: float, *, ax: Axes | None = None) -> Axes:
    """Show how well each corrected frame matches the template.

    Parameters
    ----------
    shifts : Shifts
        As estimated; frames that could not be aligned are marked.
    fs : float
        Frames per second, Hz.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Time in seconds, correlation without a unit.
    """
    ax = axes_or_new(ax, height=2)
    if shifts.correlation is None:
        return say(ax, "The match with the template was not measured")
    times = np.arange(len(shifts.yx)) / fs
    many = len(times) > MANY_MARKS // 4
    ax.plot(times, shifts.correlation, color=INK, linewidth=0.8, label="each frame", marker=_lone(times), rasterized=many)
    return _finish_motion(ax, shifts, fs, "correlation\nwith template")


def show_funnel(funnel: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Show how many candidates reached or left at each stage, and why.

    Parameters
    ----------
    funnel : DataFrame
        Columns ``stage, n, why``, in order.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Stages from top to bottom, number of candidates.
    """
    ax = axes_or_new(ax, height=1 + 0.35 * len(funnel))
    if funnel.empty:
        return say(ax, "No candidates")
    rows = np.arange(len(funnel))
    ax.barh(rows, funnel["n"], color=BLUE, height=0.6)
    for row, n, why in zip(rows, funnel["n"], funnel["why"], strict=True):
        ax.annotate(f"{n}  {why}", (n, row), xytext=(5, 0), textcoords="offset points", va="center", color=MUTED, fontsize=9)
    ax.set_yticks(rows, list(funnel["stage"].astype(str)))
    # The reasons stand right of the bars and need room there.
    ax.set(xlabel="candidates", xlim=(0, 1.6 * max(1, funnel["n"].max())))
    ax.invert_yaxis()
    strip_frame(ax)
    return ax


def _lone(times: np.ndarray) -> str:
    """Return the marker that makes a line of a single frame visible."""
    return "o" if len(times) == 1 else ""


def _finish_motion(ax: Axes, shifts: Shifts, fs: float, label: str) -> Axes:
    if shifts.bad_frames.size:
        at_top = np.ones(shifts.bad_frames.size)
        ax.plot(
            shifts.bad_frames / fs,
            at_top,
            "v",
            color=VERMILLION,
            markersize=5,
            label="could not be aligned",
            transform=ax.get_xaxis_transform(),
            clip_on=False,
        )
    ax.set(xlabel="time (s)", ylabel=label)
    ax.margins(x=0.01)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1.02), ncols=3, frameon=False, borderpad=0)
    strip_frame(ax)
    return ax
