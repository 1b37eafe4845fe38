"""From a 3D U-Net's voxels to events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage, special
from torch import nn

from calcium_helpers.containers import Events, Movie
from calcium_helpers.memory import let_go, scratch_array
from calcium_helpers.metrics.volumes import RADIUS
from calcium_helpers.models.msct.look import deviations
from calcium_helpers.models.msct.tiles import CORE, Part, run_tiles
from calcium_helpers.transients.surrogate import choose_threshold, join_events
from calcium_helpers.transients.volumes import events_from_label
from calcium_helpers.transients.watershed import split_volumes

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
"""Probabilities that are tried as the edge of events: a network that took hidden events for negative says little of any."""


SURE = 1e-6  # how near to 0 and 1 a probability is told apart


class Thresholds(NamedTuple):
    """From which probability a voxel may belong to an event, and from which score an event is called."""

    level: float
    score: float


def predict_probability(
    model: nn.Module, movie: Movie, *, core: tuple[int, int, int] = CORE, device: str = "cpu", progress: bool = False
) -> np.ndarray:
    """Compute how probably each voxel belongs to an event.

    Parameters
    ----------
    model : Module
        `UNet3D`, trained.
    movie : Movie
        Normalised.
    core : tuple of int
        Frames, rows and columns at once: it changes time and memory, not the result.
    device : str
    progress : bool

    Returns
    -------
    ndarray, shape (T, H, W), float32
    """
    out = scratch_array(movie.shape)

    def keep(part: Part, seen: np.ndarray) -> None:
        out[part] = special.expit(seen[0])
        let_go(out)

    run_tiles(model, movie, keep, core=core, device=device, progress=progress)
    return out


def find_events(probability: np.ndarray, movie: Movie, *, level: float, deviation: np.ndarray | None = None) -> Events:
    """Cut probabilities into events.

    Parameters
    ----------
    probability : ndarray, shape (T, H, W)
    movie : Movie
        Where amplitudes are measured.
    level : float
        A voxel belongs to an event above this.
    deviation : ndarray, shape (T, H, W), optional
        As `deviations` gives it, where it is at hand: light that falls and rises again tells two events from one.

    Returns
    -------
    Events
        With masks, and a ``score``: the highest mean of the logit over 3 x 3 x 3 voxels, as a probability.
    """
    deviation = deviations(movie) if deviation is None else deviation
    label = split_volumes(probability, threshold=level, signal=deviation)
    events = events_from_label(label, movie)
    tops = [float(_smooth(probability, mask).max()) for mask in events.masks or ()]
    return events.replace(table=events.table.assign(score=special.expit(np.array(tops, dtype=float))))


def _smooth(probability: np.ndarray, volume: tuple[int, int, int, np.ndarray]) -> np.ndarray:
    """Means of the logit around the voxels of an event."""
    *corner, mask = volume
    box = tuple(slice(max(start - 1, 0), start + side + 1) for start, side in zip(corner, mask.shape, strict=True))
    inner = tuple(slice(start - part.start, start - part.start + side) for start, part, side in zip(
        corner, box, mask.shape, strict=True))  # fmt: skip
    logits = special.logit(np.clip(probability[box], SURE, 1 - SURE))
    return np.asarray(ndimage.uniform_filter(logits, 3, mode="nearest")[inner][mask])


def optimize_thresholds(
    find: Callable[[int, float], Events], labelled: Sequence[Events], n_frames: Sequence[int], *, fs: float,
    levels: Iterable[float] = LEVELS, radius: Sequence[float] = RADIUS,
) -> Thresholds:  # fmt: skip
    """Choose thresholds on movies of which only some events are labelled.

    They are where squared recall over the number of events called is greatest, see `transients.surrogate`.

    Parameters
    ----------
    find : callable
        ``find(i, level)`` gives the events of movie ``i`` at a level, those of low scores too.
    labelled : sequence of Events
        What is labelled in each movie.
    n_frames : sequence of int
        Frames of each movie.
    fs : float
        Frames per second, Hz.
    levels : iterable of float
    radius : sequence of float
        Within which centres match.

    Returns
    -------
    Thresholds
    """
    true = join_events(labelled, n_frames, fs=fs)
    best, thresholds = 0.0, Thresholds(0.5, 0.5)
    for level in levels:
        found = join_events([find(i, level) for i in range(len(labelled))], n_frames, fs=fs)
        choice = choose_threshold(found, true, radius=radius)
        if choice.surrogate > best:
            best, thresholds = choice.surrogate, Thresholds(level, choice.threshold)
    return thresholds
