"""A player of movies side by side, such as one recording before and after each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from calcium_helpers.containers import Movie
from calcium_helpers.plots import show_image
from calcium_helpers.widgets.sliders import add_player, as_png, follow, join, require_ipywidgets, wide_slider

SAMPLED_FRAMES, SAMPLED_PIXELS = 24, 2_000
SHOWN_PERCENTILES = (1.0, 99.7)
WIDTH, INTERVAL_MS = 10.4, 150


def play_movies(movies: Mapping[str, Movie] | Movie, *, frame: int = 0) -> Any:
    """Slider and player for the frames of one or more movies side by side.

    Parameters
    ----------
    movies : mapping of str to Movie, or Movie
        Names and movies of one shape, such as ``{"raw": movie, "corrected": corrected, "denoised": denoised}``. One frame of
        each is read at a time: they may be larger than memory.
    frame : int
        Shown first.

    Returns
    -------
    ipywidgets.VBox
        Show it as the last line of a cell; it needs a running kernel. Contrast is a range of percentiles of the pixels of
        sampled frames, of all movies together or, without "one scale", of each by itself.

    Raises
    ------
    ModuleNotFoundError
        Without ipywidgets.
    ValueError
        Without a movie, or when they are not of one shape.
    """
    named = {"": movies} if isinstance(movies, Movie) else dict(movies)
    shapes = {movie.shape for movie in named.values()}
    if len(shapes) != 1:
        raise ValueError(f"movies must be one or more of one shape, got {', '.join(map(str, shapes)) or 'none'}")
    widgets = require_ipywidgets()
    sampled = {name: _sample(movie) for name, movie in named.items()}
    together = np.concatenate(list(sampled.values()))
    drawing = _Drawing(named)

    def draw(frame: int, contrast: tuple[float, float], shared: bool) -> bytes:
        limits = [np.percentile(together if shared else values, contrast) for values in sampled.values()]
        return drawing.draw(frame, limits)

    controls, slider = add_player("frame", min(frame, shapes.pop()[0] - 1), drawing.n_frames, interval_ms=INTERVAL_MS)
    contrast = widgets.FloatRangeSlider(
        value=SHOWN_PERCENTILES, min=0, max=100, step=0.1, description="percentile range", **wide_slider(widgets)
    )
    shared = widgets.Checkbox(value=True, description="one scale", indent=False)
    shown = [contrast, shared] if len(named) > 1 else [contrast]
    picture = follow({"frame": slider, "contrast": contrast, "shared": shared}, draw)
    return join(controls, widgets.HBox(shown), picture=picture)


class _Drawing:
    """One figure, whose images are changed from frame to frame: a player has no time for more."""

    def __init__(self, movies: dict[str, Movie]) -> None:
        from matplotlib.figure import Figure

        self.movies = list(movies.values())
        first = self.movies[0]
        self.n_frames, height, width = first.shape
        size = (WIDTH / max(2, len(movies)), np.clip(0.7 + WIDTH / max(2, len(movies)) * height / width, 2, 9))
        self.figure = Figure(figsize=(size[0] * len(movies), size[1]), dpi=80)
        self.axes = self.figure.subplots(1, len(movies), squeeze=False)[0]
        for ax, (name, movie) in zip(self.axes, movies.items(), strict=True):
            show_image(np.zeros((height, width)), pixel_um=movie.pixel_um, ax=ax)
            ax.set(xlabel="", ylabel="", xticks=[], yticks=[], title=name)
        self.figure.subplots_adjust(0.01, 0.02, 0.99, 1 - 0.55 / size[1], wspace=0.03)
        self.said = self.figure.text(0.01, 0.99, "", va="top")

    def draw(self, frame: int, limits: list[np.ndarray]) -> bytes:
        """Draw one frame as PNG."""
        for ax, movie, (low, high) in zip(self.axes, self.movies, limits, strict=True):
            ax.images[0].set_data(movie.frames(frame, frame + 1)[0])
            ax.images[0].set_clim(low, high if high > low else low + 1)
        first = self.movies[0]
        time_s = frame / first.fs if first.times_s is None else first.times_s[frame]
        self.said.set_text(f"frame {frame} of {self.n_frames}, {time_s:.2f} s")
        return as_png(self.figure)


def _sample(movie: Movie) -> np.ndarray:
    """Read some finite pixels of a few frames."""
    rows = np.unique(np.linspace(0, movie.n_frames - 1, SAMPLED_FRAMES).astype(int)).tolist()
    picked = np.random.default_rng(0).integers(0, movie.shape[1] * movie.shape[2], SAMPLED_PIXELS)
    pixels = np.concatenate([movie.frames(row, row + 1).ravel()[picked] for row in rows]).astype(float)
    finite = pixels[np.isfinite(pixels)]
    return finite if finite.size else np.zeros(1)
