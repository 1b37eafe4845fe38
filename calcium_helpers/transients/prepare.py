"""Movies of transients made comparable: no slow change of brightness, in units of the foreground."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse, special

from calcium_helpers.containers import Movie
from calcium_helpers.containers._base import check_positive
from calcium_helpers.movie import iter_chunks

SMOOTHNESS = 1e3
MOST_ROUNDS = 50
SETTLED = 1e-6  # relative change of the weights


def normalise(movie: Movie, *, smoothness: float = SMOOTHNESS, out: np.ndarray | None = None, progress: bool = False) -> Movie:
    """Subtract the baseline of the frame's mean brightness and divide by the mean brightness of the foreground.

    The foreground are the bright pixels of the mean image, see ``foreground``.

    Parameters
    ----------
    movie : Movie
        Motion-corrected, in counts; read in chunks, twice.
    smoothness : float
        Of the baseline, see ``fit_baseline``.
    out : ndarray, shape (T, H, W), float32, optional
        Where the frames are written, such as a memory map.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Movie
        float32: 1 is the mean foreground.

    Raises
    ------
    ValueError
        When a frame holds NaN or infinity, ``out`` has another shape, or the foreground is not above 0, as in a movie that was
        normalised before.
    """
    out = np.empty(movie.shape, dtype=np.float32) if out is None else out
    if out.shape != movie.shape:
        raise ValueError(f"out must have the movie's shape {movie.shape}, got {out.shape}")
    total, means = np.zeros(movie.shape[1:]), np.empty(movie.n_frames)
    for start, frames in iter_chunks(movie, progress=progress, desc="brightness"):
        total += frames.sum(axis=0, dtype=np.float64)
        means[start : start + len(frames)] = frames.mean(axis=(1, 2), dtype=np.float64)
    if not np.isfinite(means).all():
        raise ValueError(
            f"movie must be finite, got NaN or infinity in frame {np.argmin(np.isfinite(means))}; mend or cut it out"
        )
    image = total / movie.n_frames
    unit = float(image[foreground(image)].mean())
    if unit <= 0:
        raise ValueError(
            f"movie must have a foreground above 0, got a mean of {unit:g}; give the movie in counts, not yet normalised"
        )
    baseline = fit_baseline(means, smoothness=smoothness).astype(np.float32)
    for start, frames in iter_chunks(movie, progress=progress, desc="normalising"):
        np.subtract(frames, baseline[start : start + len(frames), None, None], out=out[start : start + len(frames)])
        out[start : start + len(frames)] /= np.float32(unit)
    note = f"baseline of the frame mean subtracted, divided by the foreground ({unit:g} counts)"
    return movie.replace(data=out, history=(*movie.history, note))


def foreground(image: np.ndarray) -> np.ndarray:
    """Tell the pixels of what is bright, by the triangle threshold (Zack et al. 1977, doi:10.1177/25.7.70454).

    Parameters
    ----------
    image : ndarray, shape (H, W)
        Finite.

    Returns
    -------
    ndarray, shape (H, W), bool
        All pixels where all are alike.
    """
    from skimage.filters import threshold_triangle

    return image > threshold_triangle(image) if image.max() > image.min() else np.ones(image.shape, dtype=bool)


def fit_baseline(trace: np.ndarray, *, smoothness: float = SMOOTHNESS) -> np.ndarray:
    """Fit the slow course below a trace by asymmetrically reweighted penalised least squares.

    Samples far above the course lose their weight, those within the noise around it keep it (arPLS, Baek et al. 2015,
    doi:10.1039/C4AN01061B).

    Parameters
    ----------
    trace : ndarray, shape (T,)
        Finite.
    smoothness : float
        Weight of the squared second differences; the course follows what is slower than about
        ``2 pi smoothness ** (1 / 4)`` samples.

    Returns
    -------
    ndarray, shape (T,), float64
        The trace itself where it has fewer than three samples.

    Examples
    --------
    >>> trace = np.linspace(5, 4, 200)
    >>> trace[90:95] += 3
    >>> bool(np.abs(fit_baseline(trace) - np.linspace(5, 4, 200)).max() < 0.01)
    True
    """
    check_positive("smoothness", smoothness, "the weight of the second differences")
    trace = np.asarray(trace, dtype=np.float64)
    if len(trace) < 3:
        return trace.copy()
    second = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(len(trace) - 2, len(trace)))
    penalty = smoothness * (second.T @ second)
    bands = np.zeros((3, len(trace)))
    for k in range(3):
        bands[k, : len(trace) - k] = penalty.diagonal(k)
    weights = np.ones(len(trace))
    for _ in range(MOST_ROUNDS):
        diagonals = bands.copy()
        diagonals[0] += weights
        course = linalg.solveh_banded(diagonals, weights * trace, lower=True)
        above = trace - course
        below = above[above < 0]
        sd = below.std() if len(below) else 0.0
        if sd <= 1e-12 * max(np.abs(trace).max(), 1e-300):
            break
        before, weights = weights, special.expit(-2 * (above - (2 * sd - below.mean())) / sd)
        if np.linalg.norm(weights - before) < SETTLED * np.linalg.norm(before):
            break
    return np.asarray(course)
