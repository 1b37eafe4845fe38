"""Annotations of one's own as labelled recordings: from a label of voxels, or from points grown to volumes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from calcium_helpers.containers import Movie
from calcium_helpers.io.msct import LARGEST_ID, Stream, events_of

RADIUS_PX = 8.0
DURATION_S = 2.0
SHARE = 0.5
"""A volume is where image times course exceeds this share of its peak."""

_SMOOTH = 1.0  # sd of the smoothing in frames and px: less than the smallest event
_ROUNDS = 2
_CLICK = (3, 2, 2)  # the peak is sought so far from the point, frames and px
_QUIET = 25  # percentile of a pixel's brightness around an event that counts as its rest
_ANYWHERE = np.ones((3, 3, 3))


def from_labels(movie: Movie, label: np.ndarray, *, name: str) -> Stream:
    """Make a labelled recording of a label volume.

    Parameters
    ----------
    movie : Movie
        The recording, as networks shall see it (see ``normalise``).
    label : ndarray of int, shape (T, H, W)
        0 outside events, one number each inside. Where all are the same number it is taken for a mask, and each connected
        volume for an event.
    name : str
        Of the recording.

    Returns
    -------
    Stream
        Ids are kept where they fit into 16 bits.

    Raises
    ------
    ValueError
        When the shapes differ, numbers are negative or broken, or there are more than 65535 events.
    """
    label = np.asarray(label)
    if label.shape != movie.shape:
        raise ValueError(f"label must have the movie's shape {movie.shape}, got {label.shape}")
    if label.dtype.kind == "f" and (label != np.floor(label)).any():
        raise ValueError("label must hold whole numbers, got fractions; export it without interpolation")
    if label.min() < 0:
        raise ValueError(f"label must be 0 outside events and above 0 inside, got {label.min()}")
    top = label.max()
    if top > 0 and ((label == 0) | (label == top)).all():
        label, top = ndimage.label(label, _ANYWHERE)
    elif top > LARGEST_ID:
        numbers, label = np.unique(np.append(label.ravel(), 0), return_inverse=True)
        label, top = label[:-1].reshape(movie.shape), len(numbers) - 1
    if top > LARGEST_ID:
        raise ValueError(f"label must hold at most {LARGEST_ID} events, got {top}; cut the movie into parts")
    label = label.astype(np.uint16)
    return Stream(name, movie.frames().astype(np.float32), label, events_of(label))


def from_points(movie: Movie, table: pd.DataFrame, *, name: str) -> Stream:
    """Make a labelled recording of points, each grown to a volume.

    The brightness at rest, a low percentile of each pixel over some time, is subtracted. From the brightest voxel within 3
    frames and 2 px of the point, smoothed over 1 frame and 1 px, the volume grows: an image is the mean of the frames at the
    peak, a course the mean of the pixels above half of its peak that hang together, and the volume is where image times
    course is above half of its peak and hangs together, up to ``radius_px`` and ``duration_s`` away. This is done twice, the
    second time with the image of all frames of the volume. 2 frames x 3 x 3 px always belong to it. What two volumes claim
    goes to the brighter one. Boundaries are approximate: a single noisy event does not tell them better.

    Parameters
    ----------
    movie : Movie
        The recording, as networks shall see it (see ``normalise``).
    table : DataFrame
        One row an event: ``t_frame`` (from 0) or ``t_s``, ``y_px``, ``x_px``; where there are columns ``radius_px``
        and ``duration_s`` they replace 8 px and 2 s.
    name : str
        Of the recording.

    Returns
    -------
    Stream
        The event of row ``i`` has the id ``i + 1``; one that brighter ones cover entirely is absent.

    Raises
    ------
    ValueError
        When a column is missing, a value is no number, or a point lies outside the movie; names the row.
    """
    points = check_points(movie, table)
    found = []
    for i, point in enumerate(points):
        peak, corner, mask = _grow(movie, *point)
        found.append((peak, i + 1, corner, mask))
    label = np.zeros(movie.shape, np.uint16)
    for _, number, corner, mask in sorted(found, key=lambda item: item[0]):  # the brightest last
        label[tuple(slice(a, a + n) for a, n in zip(corner, mask.shape, strict=True))][mask] = number
    return Stream(name, movie.frames().astype(np.float32), label, events_of(label))


def check_points(movie: Movie, table: pd.DataFrame) -> np.ndarray:
    """Check points against a movie, of which only the size and the frame rate count.

    Parameters
    ----------
    movie : Movie
        The recording, normalised or not.
    table : DataFrame
        As of `from_points`.

    Returns
    -------
    ndarray, shape (M, 5)
        Frame, row and column (whole numbers), radius (pixels) and duration (frames).

    Raises
    ------
    ValueError
        As `from_points`.
    """
    time = "t_frame" if "t_frame" in table else "t_s"
    missing = [column for column in (time, "y_px", "x_px") if column not in table]
    if missing:
        raise ValueError(f"points lack the columns {missing}; needed are t_frame or t_s, y_px and x_px, got {list(table)}")
    if len(table) > LARGEST_ID:
        raise ValueError(f"points must be at most {LARGEST_ID}, got {len(table)}; cut the movie into parts")
    full = table.assign(**{
        column: table.get(column, value) for column, value in (("radius_px", RADIUS_PX), ("duration_s", DURATION_S))
    })  # fmt: skip
    points = (
        full[[time, "y_px", "x_px", "radius_px", "duration_s"]]
        .apply(pd.to_numeric, errors="coerce")
        .to_numpy(dtype=float, copy=True)
    )
    bad = ~np.isfinite(points).all(axis=1) | (points[:, 3:] <= 0).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"points must be finite numbers, radius_px and duration_s above 0; row {row} is {table.iloc[row].to_dict()}"
        )
    points[:, 4] = np.maximum(points[:, 4] * movie.fs, 1)
    if time == "t_s":
        points[:, 0] *= movie.fs
    points[:, :3] = np.floor(points[:, :3] + 0.5)
    outside = ((points[:, :3] < 0) | (points[:, :3] >= movie.shape)).any(axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(
            f"points must lie inside the movie {movie.shape} (T, H, W); row {row} is at {points[row, :3].astype(int).tolist()}"
        )
    return points


def _grow(
    movie: Movie, frame: float, y: float, x: float, radius_px: float, n_frames: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Grow a volume from a point; returns its peak, its corner (t, y, x) and the mask."""
    centre, reach = np.array([frame, y, x]).astype(int), np.ceil([n_frames, radius_px, radius_px]).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, movie.shape)
    pad = np.array([n_frames, 3, 3]).astype(int)  # more of the past and future to see the pixels at rest
    start, stop = np.maximum(low - pad, 0), np.minimum(high + pad, movie.shape)
    light = movie.frames(start[0], stop[0])[:, start[1] : stop[1], start[2] : stop[2]].astype(np.float32)
    light -= np.percentile(ndimage.gaussian_filter1d(light, _SMOOTH, axis=0), _QUIET, axis=0)
    light = light[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))]
    smooth = ndimage.gaussian_filter(light, _SMOOTH, mode="nearest")
    near = np.zeros(light.shape, dtype=bool)
    near[tuple(slice(max(c - n, 0), c + n + 1) for c, n in zip(centre - low, _CLICK, strict=True))] = True
    peak = tuple(int(n) for n in np.unravel_index(np.argmax(np.where(near, smooth, -np.inf)), light.shape))
    t, yx = peak[0], peak[1:]
    strength = float(smooth[peak])
    mask = np.zeros(light.shape, dtype=bool)
    weights = np.exp(-0.5 * (np.arange(len(light)) - t - 1) ** 2)  # around the peak, and a little later: decays are slower
    for _ in range(_ROUNDS):
        image = ndimage.gaussian_filter(np.average(light, axis=0, weights=weights), _SMOOTH)
        area = _hanging_together(image > SHARE * image[yx], yx)
        course = ndimage.gaussian_filter1d(light[:, area].mean(axis=1), _SMOOTH / 2) if area.any() else np.zeros(len(light))
        if min(strength, image[yx], course[t]) <= 0:  # nothing shines here
            break
        mask = _hanging_together(np.multiply.outer(course, image) > SHARE * course[t] * image[yx], peak)
        weights = np.where(mask.any(axis=(1, 2)), course, 0)
    mask[t : t + 2, max(yx[0] - 1, 0) : yx[0] + 2, max(yx[1] - 1, 0) : yx[1] + 2] = True
    return strength, low, mask


def _hanging_together(mask: np.ndarray, start: tuple[int, ...]) -> np.ndarray:
    """Keep what hangs together with a voxel."""
    pieces, _ = ndimage.label(mask)
    return np.asarray((pieces == pieces[start]) & mask)
