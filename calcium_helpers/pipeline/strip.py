"""A few frames of the busiest moment, as they were and as each step made them: what the eye checks first."""

from __future__ import annotations

import numpy as np

from calcium_helpers.containers import Movie, Traces

N_FRAMES, SPACING_S, LARGEST_SIDE_PX = 6, 0.5, 256


def take_strip(stages: dict[str, Movie], calcium: Traces) -> dict[str, Movie]:
    """Take the same few frames from each stage, around the moment when the cells were brightest together.

    Parameters
    ----------
    stages : dict of str to Movie
        Of equal length.
    calcium : Traces
        What the cells did; each counts on its own scale.

    Returns
    -------
    dict of str to Movie
        At most 6 frames, half a second (at least a frame) apart, the second at the moment; binned to at most 256 px a side.
    """
    spread = np.ptp(calcium.values, axis=1, keepdims=True) if calcium.values.size else np.ones((len(calcium), 1))
    course = np.divide(calcium.values, spread, out=np.zeros_like(calcium.values), where=spread > 0).sum(axis=0)
    step = max(1, round(SPACING_S * calcium.fs))
    first = max(0, min(int(np.argmax(course)) - step, len(course) - N_FRAMES * step))
    rows = np.arange(first, len(course), step)[:N_FRAMES]
    return {name: _small(movie, rows) for name, movie in stages.items()}


def _small(movie: Movie, rows: np.ndarray) -> Movie:
    """Read single frames and average them in squares."""
    frames = np.stack([np.asarray(movie.data[int(row) : int(row) + 1], dtype=np.float32)[0] for row in rows])
    bin_y, bin_x = (min(side, -(-max(movie.shape[1:]) // LARGEST_SIDE_PX)) for side in movie.shape[1:])
    height, width = movie.shape[1] // bin_y, movie.shape[2] // bin_x
    cut = frames[:, : height * bin_y, : width * bin_x]
    frames = cut.reshape(len(rows), height, bin_y, width, bin_x).mean(axis=(2, 4))
    times = rows / movie.fs if movie.times_s is None else movie.times_s[rows]
    return Movie(frames, movie.fs, None if movie.pixel_um is None else movie.pixel_um * bin_x, times_s=times)
