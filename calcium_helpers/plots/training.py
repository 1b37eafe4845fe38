"""Pictures of a training: what the network lost and reached as it went on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from calcium_helpers.plots._style import BLUE, INK, MUTED, ORANGE, axes_or_new, cluster_colour, say, strip_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.training import History


def show_history(history: History, *, score: str = "validation score", ax: Axes | None = None) -> Axes:
    """Show loss and score over the steps of a training.

    Parameters
    ----------
    history : History
        As `training.fit` gives it.
    score : str
        What the score is.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Step, mean training loss on the left, score of what it was not trained on on the right; the dashed line is where the
        weights come from.
    """
    ax = axes_or_new(ax, width=6, height=3)
    if not len(history.step):
        return say(ax, "Nothing was trained yet")
    ax.plot(history.step, history.loss, ".-", color=BLUE, linewidth=1)
    ax.set(xlabel="step", xlim=(0, None))
    ax.set_ylabel("training loss", color=BLUE)
    strip_frame(ax)
    if np.isfinite(history.score).any():
        right = ax.twinx()
        right.plot(history.step, history.score, ".-", color=ORANGE, linewidth=1)
        right.set_ylabel(score, color=ORANGE)
        right.spines["top"].set_visible(False)
        best = history.score[history.step == history.best_step][0]
        right.set_title(f"best {best:.3f} after {history.best_step} steps", fontsize=9, loc="left")
        ax.axvline(history.best_step, color=INK, linestyle="--", linewidth=0.8)
    return ax


def show_risks(courses: Mapping[str, Any], *, hidden: bool = False, ax: Axes | None = None) -> Axes:
    """Show how risks went down, as estimated on what is learned from and as they are.

    Parameters
    ----------
    courses : mapping of str to RiskCourse
        As `models.msct.risks.follow_risks` gives it.
    hidden : bool
        Show instead the mean probability given to positives without a label.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Over steps: estimates as lines, true risks as dashes, in nats a voxel.
    """
    ax = axes_or_new(ax, width=5, height=3.4)
    if not courses:
        return say(ax, "No risk was followed")
    for i, (name, course) in enumerate(courses.items()):
        ax.plot(course.hidden if hidden else course.estimate, color=cluster_colour(i), label=name)
        if not hidden:
            ax.plot(course.true, "--", color=cluster_colour(i))
    if hidden:
        ax.set(ylabel="probability of hidden positives", ylim=(0, 1))
    else:
        ax.axhline(0, color=MUTED, linewidth=0.6)
        ax.set(ylabel="risk (nats a voxel)", title="line: as estimated; dashes: true")
    ax.set(xlabel="step", xlim=(0, None))
    ax.legend(frameon=False)
    strip_frame(ax)
    return ax
