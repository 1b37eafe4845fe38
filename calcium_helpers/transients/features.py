"""What each event is like: how large, long, bright and round, how fast it rises and falls, how lonely it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from calcium_helpers.containers import Events, Movie
from calcium_helpers.containers._base import check_positive
from calcium_helpers.metrics.volumes import centres
from calcium_helpers.transients.volumes import AROUND_FRAMES

FEATURES = (
    "area_px", "area_um2", "duration_s", "intensity_mean", "intensity_max", "intensity_integrated", "rise_s", "decay_s",
    "aspect", "solidity", "extent", "near_per_min", "nearest_px",
)  # fmt: skip
"""Columns that are numbers to compare; others say where an event is and whether it is cut off."""


def measure_events(events: Events, movie: Movie, *, pixel_um: float | None = None, near_px: float = 20.0) -> pd.DataFrame:
    """Measure size, brightness, course, shape and neighbourhood of events.

    Brightness counts from the level of the event's pixels in the 5 frames before it, or after it where it starts the movie.

    Parameters
    ----------
    events : Events
        N events with masks.
    movie : Movie
        Where they are seen; NaN pixels are left out. Read around one event at a time.
    pixel_um : float, optional
        Side of a pixel, micrometres; that of the movie by default.
    near_px : float
        Radius within which other events count as near, pixels.

    Returns
    -------
    DataFrame
        One row an event, in order: ``roi``; ``t_frame, y_px, x_px`` (centre of the voxels); ``area_px``, ``area_um2`` (pixels
        that ever belong to it; NaN without ``pixel_um``); ``duration_s``; ``intensity_mean``, ``intensity_max`` (of its voxels,
        unit of the movie), ``intensity_integrated`` (mean x number x px x s); ``rise_s`` and ``decay_s`` (from half
        the peak to the peak, and back to half; NaN where half is not reached within 5 frames around the event);
        ``aspect`` (longer over shorter axis of the ellipse with the area's second moments), ``solidity`` (area over that of
        its convex hull), ``extent`` (over that of its box); ``near_per_min`` (other events within ``near_px`` a minute);
        ``nearest_px`` (to the nearest other event, at whatever time; NaN where there is none); ``at_edge`` (touches the
        border of the frame), ``at_end`` (touches the first or last frame).

    Raises
    ------
    ValueError
        For events without masks or with a mask outside the movie, and for a length not above 0.
    """
    check_positive("near_px", near_px, "pixels")
    pixel_um = movie.pixel_um if pixel_um is None else pixel_um
    if pixel_um is not None:
        check_positive("pixel_um", pixel_um, "micrometres")
    places = centres(events)
    rows = [_measure(corner, mask, movie) for *corner, mask in events.masks or ()]
    table = pd.DataFrame(rows, columns=["area_px", *FEATURES[2:11], "at_edge", "at_end"])
    table["area_um2"] = table["area_px"] * (np.nan if pixel_um is None else pixel_um**2)
    table["roi"] = events.table["roi"]
    table[["t_frame", "y_px", "x_px"]] = places
    tree = cKDTree(places[:, 1:])
    near = tree.query_ball_point(places[:, 1:], near_px, return_length=True) if len(places) else np.zeros(0)
    table["near_per_min"] = (np.asarray(near, dtype=float) - 1) / (movie.duration_s / 60)
    table["nearest_px"] = tree.query(places[:, 1:], k=[2])[0][:, 0] if len(places) > 1 else np.nan
    return table[["roi", "t_frame", "y_px", "x_px", *FEATURES, "at_edge", "at_end"]]


def _measure(corner: list[int], mask: np.ndarray, movie: Movie) -> dict[str, Any]:
    """Measure one event by itself."""
    from skimage.measure import regionprops

    starts, stops = np.array(corner), np.array(corner) + mask.shape
    if (starts < 0).any() or (stops > movie.shape).any():
        raise ValueError(f"masks must lie inside the movie {movie.shape}, got one from {starts.tolist()} to {stops.tolist()}")
    area = np.any(mask, axis=0)
    shape = regionprops(area.astype(np.uint8))[0]
    first = max(starts[0] - AROUND_FRAMES, 0)
    last = min(stops[0] + AROUND_FRAMES, movie.n_frames)
    frames = movie.frames(first, last)[:, starts[1] : stops[1], starts[2] : stops[2]].astype(float)
    own = slice(starts[0] - first, stops[0] - first)
    course = _means(frames[:, area])
    level = _level(course, own)
    voxels = frames[own][mask] - level
    voxels = voxels[np.isfinite(voxels)]
    mean, brightest = (voxels.mean(), voxels.max()) if voxels.size else (np.nan, np.nan)
    rise, decay = _half_times(course - level, own)
    return {
        "area_px": int(area.sum()),
        "duration_s": mask.shape[0] / movie.fs,
        "intensity_mean": mean,
        "intensity_max": brightest,
        "intensity_integrated": mean * mask.sum() / movie.fs,
        "rise_s": rise / movie.fs,
        "decay_s": decay / movie.fs,
        "aspect": _aspect(area),
        "solidity": shape.solidity,
        "extent": shape.extent,
        "at_edge": bool((starts[1:] == 0).any() or (stops[1:] == movie.shape[1:]).any()),
        "at_end": bool(starts[0] == 0 or stops[0] == movie.n_frames),
    }


def _aspect(area: np.ndarray) -> float:
    """Longer over shorter axis by second moments; pixels are squares, so that a line has a width."""
    moments = np.cov(np.argwhere(area).T, ddof=0) + np.eye(2) / 12
    shorter, longer = np.sqrt(np.linalg.eigvalsh(moments))
    return float(longer / shorter)


def _means(pixels: np.ndarray) -> np.ndarray:
    """Mean of each row (T, P) over what is not NaN; NaN where nothing is."""
    known = np.isfinite(pixels)
    n = known.sum(axis=1)
    return np.where(n > 0, np.where(known, pixels, 0).sum(axis=1) / np.maximum(n, 1), np.nan)


def _level(course: np.ndarray, own: slice) -> float:
    """Mean before the event, else after it, else 0."""
    sides = (side[np.isfinite(side)] for side in (course[: own.start], course[own.stop :]))
    return float(next((side.mean() for side in sides if side.size), 0.0))


def _half_times(course: np.ndarray, own: slice) -> tuple[float, float]:
    """Frames from half the peak to the peak and from there to half, between frames by a line; NaN where it is not reached."""
    if not np.isfinite(course[own]).any():
        return np.nan, np.nan
    peak = own.start + int(np.nanargmax(course[own]))
    half = course[peak] / 2
    if half <= 0:
        return np.nan, np.nan
    return _crossing(course[peak::-1], half), _crossing(course[peak:], half)


def _crossing(course: np.ndarray, level: float) -> float:
    """Frames until a course that starts above the level first is at or below it."""
    below = np.flatnonzero(course <= level)
    if not below.size:
        return np.nan
    k = int(below[0])
    return float(k - (level - course[k]) / (course[k - 1] - course[k]))
