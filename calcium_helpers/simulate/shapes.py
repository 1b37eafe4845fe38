"""Simulated anatomy: where cells sit, what they look like, vessels and tissue texture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def place_cells(
    rng: np.random.Generator, n_cells: int, shape: tuple[int, int], *, min_distance_px: float, border_px: float
) -> np.ndarray:
    """Draw ``n_cells`` centres (y, x) at least ``min_distance_px`` apart and ``border_px`` from the edge, shape (N, 2).

    Raises
    ------
    ValueError
        When they do not fit.
    """
    height, width = shape
    centres = np.empty((0, 2))
    for _ in range(200 * max(n_cells, 1)):
        if len(centres) == n_cells:
            break
        point = rng.uniform((border_px, border_px), (height - 1 - border_px, width - 1 - border_px))
        if not len(centres) or np.hypot(*(centres - point).T).min() >= min_distance_px:
            centres = np.vstack([centres, point])
    if len(centres) < n_cells:
        raise ValueError(
            f"n_cells={n_cells} do not fit into {height} x {width} px at min_distance_px={min_distance_px:g} "
            f"({len(centres)} did): use fewer cells, a larger frame or a smaller distance"
        )
    return centres


def soma(
    rng: np.random.Generator, centre: np.ndarray, shape: tuple[int, int], *, radius_px: tuple[float, float],
    nucleus_dim: float, texture: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Draw one soma: a soft ellipse with a dimmer nucleus and texture.

    Returns
    -------
    profile : ndarray, shape (H, W)
        Brightness, about 1 in the cytosol, with soft edges.
    inside : ndarray of bool, shape (H, W)
        The ellipse itself: the truth mask.
    """
    radii, angle = rng.uniform(*radius_px, 2), rng.uniform(0, np.pi)
    y, x = np.ogrid[: shape[0], : shape[1]]
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = -(x - centre[1]) * np.sin(angle) + (y - centre[0]) * np.cos(angle)
    radius = np.hypot(along / radii[0], across / radii[1])
    profile = 1 / (1 + np.exp((radius - 1) * radii.mean() / 0.7))
    profile *= 1 - nucleus_dim / (1 + np.exp((radius - 0.5) * radii.mean() / 0.5))
    profile *= 1 + texture * ndimage.gaussian_filter(rng.standard_normal(shape), 1) * 3.5  # 3.5 undoes the filter's loss of sd
    profile[profile < 0.02] = 0
    return profile, radius <= 1


def dendrite(rng: np.random.Generator, centre: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw a piece of dendrite: a gently bent line of 20-40 px, 2 px wide (profile and mask as for ``soma``)."""
    length, angle, bend = rng.uniform(20, 40), rng.uniform(0, np.pi), rng.normal(0, 0.02)
    s = np.linspace(-length / 2, length / 2, 200)
    heading = angle + bend * s
    path = centre + np.cumsum(np.column_stack([np.sin(heading), np.cos(heading)]), axis=0) * (s[1] - s[0])
    path += centre - path[len(path) // 2]
    image = np.zeros(shape)
    y, x = np.clip(np.rint(path).astype(int), 0, np.array(shape) - 1).T
    image[y, x] = 1
    profile = ndimage.gaussian_filter(image, 1.0)
    profile /= profile.max()
    profile[profile < 0.02] = 0
    return profile, profile > 0.4


def vessels(rng: np.random.Generator, shape: tuple[int, int], *, n: int, width_px: float, depth: float) -> np.ndarray:
    """Draw ``n`` dark vessels that cross the field: a factor (H, W), 1 beside them and ``1 - depth`` inside."""
    distance = np.full(shape, np.inf)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for _ in range(n):
        angle, bend, phase = rng.uniform(0, np.pi), rng.uniform(5, 25), rng.uniform(0, 2 * np.pi)
        origin = rng.uniform((0, 0), shape)
        along = (x - origin[1]) * np.cos(angle) + (y - origin[0]) * np.sin(angle)
        across = -(x - origin[1]) * np.sin(angle) + (y - origin[0]) * np.cos(angle)
        distance = np.minimum(distance, np.abs(across - bend * np.sin(along / 60 + phase)) / rng.uniform(0.6, 1.4))
    return 1 - depth / (1 + np.exp((distance - width_px) / 1.5))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sd: float | tuple[float, ...]) -> np.ndarray:
    """Gaussian noise smoothed with ``sd`` (samples an axis), standardised to mean 0 and sd 1."""
    image = ndimage.gaussian_filter(rng.standard_normal(shape), sd, mode="reflect")
    return (image - image.mean()) / max(image.std(), 1e-9)
