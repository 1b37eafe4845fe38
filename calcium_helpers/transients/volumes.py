"""Events as volumes: from a label of voxels to a table with masks, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from calcium_helpers.containers import Events, Movie
from calcium_helpers.movie import iter_chunks

AROUND_FRAMES = 5
"""The level that an amplitude is measured from is the mean of so many frames before the event."""


def events_from_label(
    label: np.ndarray, movie: Movie | np.ndarray, *, fs: float | None = None, probability: Any = None
) -> Events:
    """Measure the events of a label: one row and one mask a labelled volume.

    Parameters
    ----------
    label : ndarray of int, shape (T, H, W)
        0 outside events, any numbers above 0 inside.
    movie : Movie or ndarray, shape (T, H, W)
        Where amplitudes are measured; read in chunks. NaN pixels are left out.
    fs : float, optional
        Frames per second, Hz; needed, and used, only where ``movie`` is an array.
    probability : array, shape (T, H, W), optional
        Probability that a voxel belongs to an event; may be memory-mapped.

    Returns
    -------
    Events
        In order of onset, with masks ``(t0, y0, x0, boolean array)`` and the columns: ``roi`` (0..); ``onset_s``, ``peak_s``
        and ``offset_s`` (start of the first frame, of the brightest, end of the last); ``amplitude`` (greatest less usual
        brightness: mean of the pixels that the event ever covers, in its brightest frame less in the 5 frames before it,
        or after it where it starts the movie; unit of the movie); ``t_frame``, ``y_px``, ``x_px`` (mean of the voxels);
        ``score`` (mean probability of the voxels, 1 without ``probability``); ``n_voxels``; ``label`` (number in the label).

    Raises
    ------
    TypeError, ValueError
        For a label that is not whole numbers >= 0, arrays of different shape, or an array without ``fs``.
    """
    label = _check_label(label)
    movie = _as_movie(movie, fs)
    for name, shape in (("movie", movie.shape), ("probability", label.shape if probability is None else probability.shape)):
        if tuple(shape) != label.shape:
            raise ValueError(f"{name} must have the label's shape {label.shape}, got {tuple(shape)}")
    volumes = _cut_out(label)
    starts, stops = np.array([(volume.box[0].start, volume.box[0].stop) for volume in volumes], dtype=int).reshape(-1, 2).T
    traces = _brightness(movie, volumes)
    measured = [_peak(trace, start, stop) for trace, start, stop in zip(traces, starts, stops, strict=True)]
    peaks, amplitudes = np.array(measured).reshape(-1, 2).T
    centres = np.array([np.argwhere(volume.mask).mean(axis=0) + volume.corner for volume in volumes]).reshape(-1, 3)
    scores = [1.0 if probability is None else float(np.mean(probability[v.box][v.mask], dtype=float)) for v in volumes]
    times = np.arange(movie.n_frames) / movie.fs if movie.times_s is None else movie.times_s
    columns = {
        "roi": np.arange(len(volumes)),
        "onset_s": times[starts],
        "peak_s": times[peaks.astype(int)],
        "offset_s": times[stops - 1] + 1 / movie.fs,
        "amplitude": amplitudes,
        "t_frame": centres[:, 0],
        "y_px": centres[:, 1],
        "x_px": centres[:, 2],
        "score": np.array(scores, dtype=float),
        "n_voxels": np.array([volume.mask.sum() for volume in volumes], dtype=int),
        "label": np.array([volume.number for volume in volumes], dtype=int),
    }
    return Events(pd.DataFrame(columns), tuple((*volume.corner, volume.mask) for volume in volumes))


def label_from_events(events: Events, shape: Sequence[int]) -> np.ndarray:
    """Draw the masks of events: the event of row ``i`` gets the number ``i + 1``.

    Parameters
    ----------
    events : Events
        With masks. A voxel of several events goes to that of the highest ``score``, without scores to the first.
    shape : sequence of int
        Frames, rows, columns of the movie.

    Returns
    -------
    ndarray of uint32, shape (T, H, W)

    Raises
    ------
    ValueError
        For events without masks, or with a mask that does not lie inside ``shape``.
    """
    if events.masks is None:
        raise ValueError("events must have masks to be drawn as a label; make them by events_from_label")
    label = np.zeros(shape, dtype=np.uint32)
    scores = events.table["score"].to_numpy(dtype=float) if "score" in events.table else np.zeros(len(events))
    for row in np.argsort(-scores, kind="stable")[::-1]:
        *corner, mask = events.masks[row]
        box = tuple(slice(start, start + size) for start, size in zip(corner, mask.shape, strict=True))
        if min(corner) < 0 or any(part.stop > size for part, size in zip(box, label.shape, strict=True)):
            raise ValueError(f"masks must lie inside shape {label.shape}; row {row} reaches from {corner} by {mask.shape}")
        label[box][mask] = row + 1
    return label


class _Volume(NamedTuple):
    """One labelled volume: its number, its box in the label, its voxels in the box."""

    number: int
    box: tuple[slice, ...]
    mask: np.ndarray

    @property
    def corner(self) -> tuple[int, ...]:
        """First frame, row and column of the box."""
        return tuple(part.start for part in self.box)


def _check_label(label: np.ndarray) -> np.ndarray:
    label = np.asarray(label)
    if label.ndim != 3 or 0 in label.shape:
        raise ValueError(f"label must be (T, H, W), each at least 1, got shape {label.shape}")
    if not np.issubdtype(label.dtype, np.integer):
        raise TypeError(f"label must be whole numbers, got dtype {label.dtype}")
    if np.issubdtype(label.dtype, np.signedinteger) and label.min() < 0:
        raise ValueError(f"label must be 0 outside events and above 0 inside, got {label.min()}")
    return label


def _as_movie(movie: Movie | np.ndarray, fs: float | None) -> Movie:
    if isinstance(movie, Movie):
        return movie
    if fs is None:
        raise ValueError("fs must be given, in Hz, where movie is an array and not a Movie")
    return Movie(movie, fs=fs)


def _cut_out(label: np.ndarray) -> list[_Volume]:
    """Cut out the labelled volumes, in order of their first frame."""
    numbers = None
    if label.max() > label.size:  # boxes are listed up to the largest number
        numbers = np.unique(np.append(label, 0))
        label = np.searchsorted(numbers, label)
    found = [(number, box) for number, box in enumerate(ndimage.find_objects(label), start=1) if box is not None]
    found.sort(key=lambda item: item[1][0].start)
    return [_Volume(number if numbers is None else int(numbers[number]), box, label[box] == number) for number, box in found]


def _brightness(movie: Movie, volumes: list[_Volume]) -> list[np.ndarray]:
    """Mean of the pixels that each event ever covers, from some frames before it to some after it; NaN beyond the movie."""
    traces = [np.full(len(volume.mask) + 2 * AROUND_FRAMES, np.nan) for volume in volumes]
    starts = np.array([volume.corner[0] - AROUND_FRAMES for volume in volumes], dtype=int)
    stops = starts + np.array([len(trace) for trace in traces], dtype=int)
    areas = [volume.mask.any(axis=0) for volume in volumes]
    for first, frames in iter_chunks(movie) if volumes else ():
        for row in np.flatnonzero((starts < first + len(frames)) & (stops > first)):
            a, b = max(starts[row], first), min(stops[row], first + len(frames))
            pixels = frames[a - first : b - first, *volumes[row].box[1:]][:, areas[row]]
            known = np.isfinite(pixels)
            total, count = np.where(known, pixels, 0).sum(axis=1, dtype=float), known.sum(axis=1)
            traces[row][a - starts[row] : b - starts[row]] = np.where(count, total / np.maximum(count, 1), np.nan)
    return traces


def _peak(trace: np.ndarray, start: int, stop: int) -> tuple[int, float]:
    """Brightest frame of an event, and by how much it exceeds the frames around."""
    before, inside, after = np.split(trace, [AROUND_FRAMES, AROUND_FRAMES + stop - start])
    if np.isnan(inside).all():
        return start, np.nan
    level = next((side[np.isfinite(side)].mean() for side in (before, after) if np.isfinite(side).any()), 0.0)
    return start + int(np.nanargmax(inside)), float(np.nanmax(inside) - level)
