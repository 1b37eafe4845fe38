"""Two days of one field, simulated: which cells are the same, and how the field moved between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from calcium_helpers.containers import Footprints
from calcium_helpers.simulate.shapes import place_cells, smooth_noise, soma

HALF_PX = 16
RADIUS_PX = np.array([4.5, 7.5])


class Days(NamedTuple):
    """``pairs`` (M, 2) are ids of day a and of day b that are the same cell; ids of both days are shuffled.

    ``moved`` (H, W, 2) says by how much what lies at a pixel of day a has moved on day b, px.
    """

    a: Footprints
    b: Footprints
    pairs: np.ndarray
    moved: np.ndarray


def draw_days(
    seed: int, *, n_cells: int = 300, shape: tuple[int, int] = (384, 384), shift_px: float = 15.0, rotation: float = 3.0,
    warp_px: float = 4.0, lost: float = 0.3,
) -> Days:  # fmt: skip
    """Draw a field, move it, lose a share of its cells on each day, and draw what remains anew.

    The shift is up to ``shift_px`` on each axis, the rotation 1 degree to ``rotation`` in either direction, the smooth warp
    ``warp_px`` where it is largest. Each cell is found 0.6 px (sd an axis) from where it is, a tenth larger or smaller, cut
    at a level of its own, with noise in its pixels. Centres are 8 px apart or more: many cells touch.
    """
    rng = np.random.default_rng(seed)
    centres = place_cells(rng, n_cells, shape, min_distance_px=8, border_px=12)
    moved = _draw_movement(rng, shape, shift_px, rotation, warp_px)
    at = tuple(np.rint(centres).astype(int).T)
    seeds = rng.integers(2**32, size=n_cells)
    days = []
    for places in (centres, centres + moved[at]):
        inside = np.all((places > 4) & (places < np.array(shape) - 5), axis=1)
        there = rng.permutation(np.flatnonzero(inside & (rng.random(n_cells) >= lost)))
        rows = [_draw_footprint(rng, int(seeds[i]), places[i], shape) for i in there]
        days.append((Footprints(sparse.vstack(rows).tocsr(), shape), there))
    (a, in_a), (b, in_b) = days
    _, of_a, of_b = np.intersect1d(in_a, in_b, return_indices=True)
    return Days(a, b, np.column_stack([of_a, of_b]), moved)


def _draw_movement(
    rng: np.random.Generator, shape: tuple[int, int], shift_px: float, rotation: float, warp_px: float
) -> np.ndarray:
    """Shift, rotation about the centre and a smooth warp, (H, W, 2)."""
    y, x = (axis - (n - 1) / 2 for axis, n in zip(np.mgrid[: shape[0], : shape[1]], shape, strict=True))
    angle = np.deg2rad(rng.choice([-1, 1]) * rng.uniform(min(1, rotation), rotation))
    turned = np.stack([np.cos(angle) * y + np.sin(angle) * x - y, np.cos(angle) * x - np.sin(angle) * y - x], axis=-1)
    warp = np.stack([smooth_noise(rng, shape, min(shape) / 6) for _ in range(2)], axis=-1)
    warp *= warp_px / np.hypot(*np.moveaxis(warp, -1, 0)).max()
    return turned + warp + rng.uniform(-shift_px, shift_px, 2)


def _draw_footprint(rng: np.random.Generator, seed: int, place: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """One cell as a detector finds it: ``seed`` is its own shape, ``rng`` what differs from day to day."""
    found = place + rng.normal(0, 0.6, 2)
    corner = np.rint(found).astype(int) - HALF_PX
    size = (2 * HALF_PX + 1,) * 2
    radius = tuple(RADIUS_PX * rng.uniform(0.9, 1.1))
    profile, _ = soma(np.random.default_rng(seed), found - corner, size, radius_px=radius, nucleus_dim=0.4, texture=0.0)
    profile *= np.clip(1 + 0.3 * rng.standard_normal(size), 0, None) * (profile > rng.uniform(0.1, 0.5))
    y, x = np.nonzero(profile)
    weights, y, x = profile[y, x], y + corner[0], x + corner[1]
    keep = (y >= 0) & (x >= 0) & (y < shape[0]) & (x < shape[1])
    flat = y[keep] * shape[1] + x[keep]
    return sparse.csr_matrix((weights[keep], (np.zeros(len(flat), int), flat)), shape=(1, shape[0] * shape[1]))
