"""Pictures of the same cells on two days."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calcium_helpers.plots._style import BLUE, MUTED, ORANGE, SKY, axes_or_new, strip_frame
from calcium_helpers.plots.images import add_lines, add_outlines, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.sessions import SessionMatch


def show_sessions(match: SessionMatch, background: np.ndarray | None = None, *, ax: Axes | None = None) -> Axes:
    """Outline the cells of both days over one another, those that are the same as solid lines, and their probabilities.

    Parameters
    ----------
    match : SessionMatch
        As ``register_sessions`` gives it. Day a is orange, day b (aligned) blue; cells without a partner are thin and dashed,
        white lines join the centres of partners.
    background : ndarray, shape (H, W), optional
        Image of day a under the outlines; black by default.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        With rows (y) downward, in pixels of day a; a panel to the right shows how the probabilities of all
        overlapping pairs are distributed, and which of them were matched.
    """
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    ax = axes_or_new(ax, width=9, height=5.5)
    show_image(np.zeros(match.a.shape) if background is None else background, ax=ax)
    ax.autoscale(False)
    days = zip("ab", (ORANGE, SKY), (2.0, 0.9), (match.a, match.aligned), match.pairs.T, strict=True)
    for day, colour, width, cells, ids in days:  # b is drawn over a: thinner, so that both are seen
        same = np.isin(cells.ids, ids)
        name = f"day {day}" + (" (aligned)" if day == "b" else "")
        add_outlines(ax, cells.select(same), colors=colour, linewidths=width, label=f"{name}: {same.sum()} matched")
        add_outlines(
            ax, cells.select(~same), colors=colour, linewidths=0.6, linestyles=(0, (3, 2)), label=f"{(~same).sum()} not"
        )
    centres = [dict(zip(day.ids.tolist(), day.centroids, strict=True)) for day in (match.a, match.aligned)]
    add_lines(ax, [np.array([centres[0][i], centres[1][j]]) for i, j in match.pairs.tolist()], colors="white", linewidths=1)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, frameon=False, borderpad=0)
    _show_probabilities(make_axes_locatable(ax).append_axes("right", size="40%", pad=0.8), match)
    return ax


def _show_probabilities(ax: Axes, match: SessionMatch) -> None:
    """Draw the histogram of the probabilities of all pairs and, before it, of those matched."""
    bins = np.linspace(0, 1, 21).tolist()
    ax.hist(match.candidates["probability"], bins=bins, color="#b4bcc3", label="pairs that overlap")
    ax.hist(match.probability, bins=bins, color=BLUE, label="matched")
    ax.set(xlabel="probability of the same cell", ylabel="pairs", xlim=(-0.04, 1.1))
    if len(match.candidates):
        ax.set(yscale="log", ylim=(0.7, None))
    ax.set_title(f"{len(match.pairs)} pairs", fontsize=9, color=MUTED)
    ax.legend(frameon=False, fontsize=7.5, loc="upper center")
    strip_frame(ax)
