"""Simulated brain motion: slow drift, short bursts, and a smooth field that bends the frame."""

from __future__ import annotations

import numpy as np
from scipy import interpolate, ndimage

FIELD_GRID = 16  # the field is stored on this many block centres a side; fine enough that bilinear steps are exact to 0.01 px


def draw_rigid_motion(rng: np.random.Generator, n_frames: int, fs: float, *, drift_px: float, burst_px: float) -> np.ndarray:
    """Draw the displacement of the whole frame, shape (T, 2), pixels.

    A random walk slower than 5 s is scaled to ``drift_px``; about one burst in 5 s rises in 0.1 s and relaxes in 0.5 s,
    the largest of them reaching ``burst_px``.
    """
    drift = ndimage.gaussian_filter1d(np.cumsum(rng.standard_normal((n_frames, 2)), axis=0), 5 * fs, axis=0, mode="nearest")
    drift -= drift.mean(axis=0)
    drift *= drift_px / max(np.abs(drift).max(), 1e-9)
    t = np.arange(n_frames) / fs
    bursts = np.zeros((n_frames, 2))
    n_bursts = rng.poisson(n_frames / fs / 5)
    for onset, angle, size in zip(
        rng.uniform(0, n_frames / fs, n_bursts), rng.uniform(0, 2 * np.pi, n_bursts), rng.uniform(0.3, 1, n_bursts), strict=True
    ):
        since = np.clip(t - onset, 0, None)
        course = (1 - np.exp(-since / 0.1)) * np.exp(-since / 0.5) * (t >= onset)
        bursts += size * course[:, None] * (np.sin(angle), np.cos(angle))
    bursts *= burst_px / max(np.abs(bursts).max(), 1e-9)
    return drift + bursts


def draw_field(rng: np.random.Generator, n_frames: int, fs: float, *, field_px: float, nodes: int = 5) -> np.ndarray:
    """Draw a smooth field of displacements on block centres, shape (T, 16, 16, 2), pixels.

    ``nodes`` x ``nodes`` control points over the frame wander within +-``field_px`` on a time scale of 1 s; a cubic surface
    joins them. The mean of each frame is zero, since it belongs to the rigid motion; so is the mean over time, since a
    lasting bend cannot be told from the anatomy.
    """
    walk = ndimage.gaussian_filter1d(rng.standard_normal((n_frames, nodes, nodes, 2)), fs, axis=0, mode="reflect")
    walk /= max(walk.std(), 1e-9)
    control = np.linspace(0, 1, nodes)
    centres = (np.arange(FIELD_GRID) + 0.5) / FIELD_GRID
    for axis in (1, 2):
        walk = interpolate.make_interp_spline(control, walk, k=min(3, nodes - 1), axis=axis)(centres)
    walk -= walk.mean(axis=(1, 2), keepdims=True)
    if n_frames > 1:
        walk -= walk.mean(axis=0)
    return np.clip(walk * field_px / 2.5, -field_px, field_px)


def invert_displacement(displacement: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the corrections that undo a field of displacements, both (T, gy, gx, 2) on block centres.

    A frame drawn as ``frame(q) = scene(q + m(q))`` is undone by ``s`` with ``s(p) = m(p - s(p))``; two fixed-point steps
    reach 0.001 px for fields as smooth as ours.
    """
    n_frames, gy, gx, _ = displacement.shape
    time, row, column = np.meshgrid(np.arange(n_frames), np.arange(gy), np.arange(gx), indexing="ij")
    correction = displacement
    for _ in range(2):
        where = [time, row - correction[..., 0] * gy / shape[0], column - correction[..., 1] * gx / shape[1]]
        correction = np.stack(
            [ndimage.map_coordinates(displacement[..., axis], where, order=1, mode="nearest") for axis in range(2)], axis=-1
        )
    return correction
