"""Sliders for movies of synaptic transients: through the frames, and over the score from which events are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from calcium_helpers.containers import Events, Movie
from calcium_helpers.widgets.sliders import add_player, as_png, follow, join, require_ipywidgets, wide_slider

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLED_FRAMES, N_LEVELS = 32, 31


def explore_transients(
    movie: Movie,
    events: Events | None = None,
    *,
    truth: Events | None = None,
    names: tuple[str, str] = ("found", "true"),
    frame: int = 0,
) -> Any:
    """Slider and player for the frames of a movie, with the outlines of the events that are on.

    Parameters
    ----------
    movie : Movie
        The recording; one frame at a time is read.
    events, truth, names
        As for `plots.show_transients`.
    frame : int
        Shown first.

    Returns
    -------
    ipywidgets.VBox
        Show it as the last line of a cell; it needs a running kernel.

    Raises
    ------
    ModuleNotFoundError
        Without ipywidgets.
    """
    from calcium_helpers.plots import show_transients
    from calcium_helpers.plots.display import display_limits

    rows = np.unique(np.linspace(0, movie.n_frames - 1, SAMPLED_FRAMES).astype(int))
    limits = display_limits(np.concatenate([movie.frames(row, row + 1) for row in rows.tolist()]))

    def draw(frame: int) -> bytes:
        figure = _new_figure(6.4, movie)
        show_transients(movie, frame, events, truth=truth, names=names, limits=limits, ax=figure.subplots())
        return as_png(figure)

    controls, slider = add_player("frame", frame, movie.n_frames, interval_ms=200)
    return join(controls, picture=follow({"frame": slider}, draw))


def explore_threshold(movie: Movie, found: Events, truth: Events, *, threshold: float | None = None) -> Any:
    """Slider for the score from which events are called: which these are, and their precision and recall.

    Parameters
    ----------
    movie : Movie
        The recording; shown is the brightest value of each pixel.
    found : Events
        With masks and ``score``, those of low scores too.
    truth : Events
        True events.
    threshold : float, optional
        Shown first; by default that of half of the events.

    Returns
    -------
    ipywidgets.VBox
        Show it as the last line of a cell; it needs a running kernel.

    Raises
    ------
    ModuleNotFoundError
        Without ipywidgets.
    """
    from calcium_helpers.metrics import detection_curve
    from calcium_helpers.plots import show_pr_curve, show_transients

    widgets = require_ipywidgets()
    scores = found.table["score"].to_numpy(dtype=float)
    curve = detection_curve(found, truth)

    def draw(score: float) -> bytes:
        figure = _new_figure(10.4, movie, columns=2)
        left, right = figure.subplots(1, 2)
        called = found.select(scores >= score)
        show_transients(movie, (0, movie.n_frames), called, truth=truth, names=(f"called ({len(called)})", "true"), ax=left)
        show_pr_curve({"called": curve}, thresholds={"called": score}, ax=right)
        return as_png(figure)

    # By rank: scores may crowd near 0 and 1.
    ranked = np.quantile(scores, np.linspace(0, 1, N_LEVELS), method="nearest") if len(scores) else np.zeros(1)
    start = float(ranked[len(ranked) // 2]) if threshold is None else threshold
    levels = np.union1d(ranked, start)
    first = int(np.searchsorted(levels, start))
    options = [(f"{level:.3g}", float(level)) for level in levels]
    slider = widgets.SelectionSlider(options=options, index=first, description="score from", **wide_slider(widgets))
    return join(slider, picture=follow({"score": slider}, draw))


def _new_figure(width: float, movie: Movie, *, columns: int = 1) -> Figure:
    """Make a figure for images of a movie side by side."""
    from matplotlib.figure import Figure

    height = 0.3 + width / columns * movie.shape[1] / movie.shape[2]
    return Figure(figsize=(width, float(np.clip(height, 3, 9))), dpi=80, layout="constrained")
