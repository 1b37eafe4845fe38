"""Simulated anatomy of dendrites: shafts of varying calibre that wind and branch, and spines beside them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from calcium_helpers.simulate.shapes import smooth_noise
from calcium_helpers.simulate.synapse_config import SynapseConfig

BRANCHES = 0.5  # chance that a dendrite branches
BRANCH_CALIBRE = 0.7
STUBBORN_PX = 25.0  # a shaft keeps its heading over about this distance
NECK_UM = (0.0, 0.5)
NECK_RADIUS_UM = 0.12
STEEPEST = 0.45  # a spine that points at the viewer or away lies over the shaft: sine of the angle, at least


class Path(NamedTuple):
    """Middle of a shaft: ``points`` (P, 2) a pixel apart on the canvas, ``radius`` (P,) in px, and the tree it belongs to."""

    points: np.ndarray
    radius: np.ndarray
    tree: int


class Anatomy(NamedTuple):
    """Dendrites and spines on a canvas.

    For each of K paths ``shaft`` (K, H, W) is its thickness and ``along`` (K, H, W) the arc length of the nearest point of its
    middle; ``spines`` (S, 3) holds centres and radii (y, x, r), ``heads`` and ``necks`` (S,) pairs ``(corner, image)`` of their
    thickness, ``home`` (S, 2) path and arc length of each. All in px.
    """

    paths: list[Path]
    shaft: np.ndarray
    along: np.ndarray
    spines: np.ndarray
    home: np.ndarray
    heads: list[tuple[tuple[slice, slice], np.ndarray]]
    necks: list[tuple[tuple[slice, slice], np.ndarray]]

    def tree(self, number: int) -> np.ndarray:
        """Thickness (H, W) of all shafts of a dendrite and of its spines."""
        own = [k for k, path in enumerate(self.paths) if path.tree == number]
        image = self.shaft[own].sum(axis=0)
        for (path, _), *parts in zip(self.home, self.heads, self.necks, strict=True):
            for where, part in parts if path in own else ():
                image[where] = np.maximum(image[where], part)
        return image


def draw_anatomy(rng: np.random.Generator, canvas: tuple[int, int], config: SynapseConfig) -> Anatomy:
    """Draw dendrites that cross the canvas and their spines."""
    paths: list[Path] = []
    for tree in range(config.n_dendrites):
        paths.append(_draw_path(rng, canvas, config, tree, paths))
        if rng.random() < BRANCHES:
            paths.append(_draw_branch(rng, canvas, paths[-1]))
    pixels = np.moveaxis(np.indices(canvas), 0, -1)
    texture = np.clip(1 + 0.12 * smooth_noise(rng, canvas, 1.5), 0.3, None)
    shaft, along = np.empty((2, len(paths), *canvas), np.float32)
    for k, path in enumerate(paths):
        distance, nearest = cKDTree(path.points).query(pixels, distance_upper_bound=path.radius.max())
        along[k] = np.minimum(nearest, len(path.points) - 1)  # beyond the shaft there is no nearest point
        shaft[k] = _thickness(distance, path.radius[along[k].astype(int)]) * texture
    spines, roots, home = _draw_spines(rng, paths, config)
    heads, necks = [], []
    for (y, x, radius), root in zip(spines, roots, strict=True):
        centre = np.array([y, x])
        window = _window(centre, np.hypot(*(root - centre)) + radius + 2, canvas)
        here = pixels[window]
        axis = root - centre
        share = np.clip((here - centre) @ axis / max(axis @ axis, 1e-9), 0, 1)
        to_neck = np.linalg.norm(here - centre - share[..., None] * axis, axis=-1)
        heads.append((window, _thickness(np.linalg.norm(here - centre, axis=-1), radius)))
        necks.append((window, _thickness(to_neck, NECK_RADIUS_UM / config.pixel_um)))
    return Anatomy(paths, shaft, along, spines, home, heads, necks)


def _draw_path(rng: np.random.Generator, canvas: tuple[int, int], config: SynapseConfig, tree: int, others: list[Path]) -> Path:
    """Draw a dendrite through a point that is, of a few, farthest from the others."""
    starts = rng.uniform(0.2, 0.8, (8, 2)) * canvas
    taken = np.concatenate([path.points for path in others]) if others else np.array(canvas)[None] / 2
    distance = cKDTree(taken).query(starts)[0]
    start = starts[np.argmax(distance) if others else np.argmin(distance)]
    angle, calibre = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(*np.log(config.calibre_um)))
    ways = [_walk(rng, start, angle + turn, canvas) for turn in (0, np.pi)]
    points = np.concatenate([ways[0][::-1], ways[1][1:]])
    return Path(points, _vary(rng, calibre / config.pixel_um / 2, len(points)), tree)


def _draw_branch(rng: np.random.Generator, canvas: tuple[int, int], parent: Path) -> Path:
    """Draw a thinner shaft that leaves another one at 30 to 70 degrees."""
    root = int(rng.uniform(0.25, 0.75) * (len(parent.points) - 1))
    before, after = parent.points[max(root - 5, 0)], parent.points[min(root + 5, len(parent.points) - 1)]
    heading = np.arctan2(*(after - before)) + rng.choice([-1, 1]) * np.deg2rad(rng.uniform(30, 70))
    points = _walk(rng, parent.points[root], heading, canvas)
    return Path(points, _vary(rng, BRANCH_CALIBRE * parent.radius.mean(), len(points)), parent.tree)


def _walk(rng: np.random.Generator, start: np.ndarray, angle: float, canvas: tuple[int, int]) -> np.ndarray:
    """Walk in steps of a pixel with a slowly turning heading until the canvas ends, points (P, 2)."""
    n = int(2 * np.hypot(*canvas))
    heading = angle + np.cumsum(0.014 * smooth_noise(rng, (n,), STUBBORN_PX))
    points = start + np.cumsum(np.column_stack([np.sin(heading), np.cos(heading)]), axis=0)
    outside = ((points < 0) | (points > np.array(canvas) - 1)).any(axis=1)
    return points[: max(int(np.argmax(outside)) if outside.any() else n, 2)]


def _vary(rng: np.random.Generator, radius: float, n: int) -> np.ndarray:
    """Let a radius vary along a shaft."""
    return radius * np.exp(0.2 * smooth_noise(rng, (n,), 8.0)) if n > 2 else np.full(n, radius)


def _draw_spines(
    rng: np.random.Generator, paths: list[Path], config: SynapseConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw spines (S, 3) as (y, x, r), the points (S, 2) on the middle where they start, and path and arc length (S, 2)."""
    spines, roots, home = [], [], []
    for k, (points, radii, _) in enumerate(paths):
        n = rng.poisson(config.spines_per_um * len(points) * config.pixel_um)
        heading = ndimage.gaussian_filter1d(np.gradient(points, axis=0), 2, axis=0)
        for at in np.sort(rng.integers(0, len(points), n)):
            head = np.exp(rng.uniform(*np.log(config.head_um))) / config.pixel_um / 2
            neck = rng.uniform(*NECK_UM) / config.pixel_um
            across = rng.choice([-1, 1]) * np.array([heading[at, 1], -heading[at, 0]]) + 0.3 * rng.standard_normal(2)
            across *= rng.uniform(STEEPEST, 1) / max(np.hypot(*across), 1e-9)
            spines.append((*(points[at] + (radii[at] + neck + head) * across), head))
            roots.append(points[at])
            home.append((k, at))
    return np.array(spines).reshape(-1, 3), np.array(roots).reshape(-1, 2), np.array(home, dtype=int).reshape(-1, 2)


def _thickness(distance: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
    """Thickness of a round body seen from above at a distance from its middle."""
    return np.asarray(2 * np.sqrt(np.maximum(np.square(radius) - distance**2, 0)), dtype=np.float32)


def _window(centre: np.ndarray, half: float, canvas: tuple[int, int]) -> tuple[slice, slice]:
    """Cut a square out of the canvas, empty where it lies outside."""
    low = np.clip(np.floor(centre - half).astype(int), 0, canvas)
    high = np.clip(np.ceil(centre + half).astype(int) + 1, low, canvas)
    return slice(low[0], high[0]), slice(low[1], high[1])
