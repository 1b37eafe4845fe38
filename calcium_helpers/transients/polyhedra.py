"""Star-convex polyhedra: events as a point and the distances from it to their edge along fixed rays.

The representation of Weigert et al. 2020 (arXiv:1908.03636), with T as the first axis. All lengths are in voxels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from calcium_helpers.transients import kernels

Extents = Sequence[float] | np.ndarray

MAX_CELLS = 2**16
"""The grid in which neighbours are looked up has no more cells than this."""


class Rays(NamedTuple):
    """Directions in T, H, W and the triangles between them.

    ``vertices`` (R, 3) are vectors of length 1 (t, y, x); ``faces`` (F, 3) the numbers of the three rays of each triangle, seen
    from outside counterclockwise; ``extents`` (3,) the proportions of the ellipsoid over which the rays are spread.
    """

    vertices: np.ndarray
    faces: np.ndarray
    extents: np.ndarray


def golden_rays(n_rays: int = 64, anisotropy: Extents = (1.0, 1.0, 1.0)) -> Rays:
    """Spread rays evenly over a sphere, or over an ellipsoid of the events' usual proportions, by the golden spiral.

    Parameters
    ----------
    n_rays : int
        Number of rays, at least 6.
    anisotropy : sequence of float
        Usual extent of an event along T, H and W, voxels; only the proportions count. A long axis gets more rays towards it,
        so that all parts of the surface are described equally well.

    Returns
    -------
    Rays
        The first and the last ray point along T.

    Raises
    ------
    ValueError
        For fewer rays or extents that are not three numbers above 0.
    """
    if n_rays < 6:
        raise ValueError(f"n_rays must be at least 6 to enclose a volume, got {n_rays}")
    along = np.linspace(-1, 1, n_rays)
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(n_rays)
    radius = np.sqrt(1 - along**2)
    sphere = np.column_stack([along, radius * np.sin(turn), radius * np.cos(turn)])
    faces = ConvexHull(sphere).simplices.astype(np.int64)
    inwards = np.linalg.det(sphere[faces]) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    # Stretching the sphere keeps the cones between its rays, so that the triangles stay the same.
    extents = _check_extents(anisotropy)
    vertices = sphere * extents
    return Rays(vertices / np.linalg.norm(vertices, axis=1, keepdims=True), faces, extents)


def distances_to_edge(label: np.ndarray, rays: Rays) -> np.ndarray:
    """Measure from every labelled voxel how far its own event reaches along each ray.

    Parameters
    ----------
    label : ndarray of int, shape (T, H, W)
        0 outside events.
    rays : Rays
        R directions.

    Returns
    -------
    ndarray of float32, shape (R, T, H, W)
        From the voxel's centre to where the ray first leaves the label or the array, exactly, voxels; 0 outside events.
    """
    inside = np.argwhere(label)
    out = np.zeros((len(rays.vertices), *label.shape), dtype=np.float32)
    out[:, *inside.T] = distances_at(label, inside, rays).T
    return out


def distances_at(label: np.ndarray, points: np.ndarray, rays: Rays) -> np.ndarray:
    """Measure the same as ``distances_to_edge`` from some voxels alone.

    Parameters
    ----------
    label : ndarray of int, shape (T, H, W)
        0 outside events.
    points : ndarray of int, shape (N, 3)
        Voxels (t, y, x) inside the array.
    rays : Rays
        R directions.

    Returns
    -------
    ndarray of float32, shape (N, R)
    """
    out = np.zeros((len(points), len(rays.vertices)), dtype=np.float32)
    kernels.walk_to_edges(
        np.ascontiguousarray(label, dtype=np.uint32), np.ascontiguousarray(points, dtype=np.int64), rays.vertices, out
    )
    return out


def edge_probability(label: np.ndarray, *, anisotropy: Extents = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Say of each voxel how central it is: its distance to the edge of its event over the greatest in that event.

    Parameters
    ----------
    label : ndarray of int, shape (T, H, W)
        0 outside events.
    anisotropy : sequence of float
        Usual extent of an event along T, H and W: distances are in units of these, so that a short axis does not decide alone.

    Returns
    -------
    ndarray of float32, shape (T, H, W)
        0 outside events, 1 at the centre of each. The border of the array is not an edge: events go on beyond it.
    """
    sampling = 1 / _check_extents(anisotropy)
    out = np.zeros(label.shape, dtype=np.float32)
    for number, box in enumerate(ndimage.find_objects(label), start=1):
        if box is None:
            continue
        wider = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
        mask = label[wider] == number
        distance = np.ones(mask.shape) if mask.all() else ndimage.distance_transform_edt(mask, sampling=sampling)
        out[wider][mask] = distance[mask] / distance.max()
    return out


def render(distances: np.ndarray, points: np.ndarray, rays: Rays, shape: Sequence[int]) -> np.ndarray:
    """Draw polyhedra: a voxel is inside where its centre is no further from the point than the edge in its direction.

    Between three rays the distance to the edge is interpolated, in units of the rays' extents: the faces are not flat but
    bulge, so that constant distances give a ball and few rays do not make events smaller.

    Parameters
    ----------
    distances : ndarray, shape (N, R)
        Distances along the rays, voxels.
    points : ndarray, shape (N, 3)
        Centres (t, y, x), voxels; whole numbers are centres of voxels.
    rays : Rays
        R directions.
    shape : sequence of int
        Frames, rows, columns; what lies beyond is cut.

    Returns
    -------
    ndarray of uint32, shape (T, H, W)
        Numbers 1..N in the order given; a voxel inside several belongs to the first of them.

    Raises
    ------
    ValueError
        For arrays that do not fit each other or are not finite.
    """
    scaled, points, cones = _prepare(distances, points, rays)
    label = np.zeros(shape, dtype=np.uint32)
    kernels.draw_all(scaled, points, cones, label)
    return label


def overlap(distances: np.ndarray, points: np.ndarray, rays: Rays) -> float:
    """Measure what share of the smaller of two polyhedra lies in the other.

    Parameters
    ----------
    distances, points : ndarray, shape (2, R) and (2, 3)
        The two polyhedra, as in ``render``.
    rays : Rays
        R directions.

    Returns
    -------
    float
        Common voxels over those of the smaller; 0 where one holds no voxel.
    """
    boxes = kernels.find_bounds(*_prepare(distances, points, rays))
    corner, end = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
    a, b = (render(distances[i : i + 1], points[i : i + 1] - corner, rays, end - corner) > 0 for i in (0, 1))
    return float((a & b).sum() / max(min(a.sum(), b.sum()), 1))


def suppress(
    distances: np.ndarray, points: np.ndarray, scores: np.ndarray, rays: Rays, *, max_overlap: float = 0.3
) -> np.ndarray:
    """Keep the best of polyhedra that describe the same event (greedy non-maximum suppression).

    Parameters
    ----------
    distances, points : ndarray, shape (N, R) and (N, 3)
        Candidates, as in ``render``.
    scores : ndarray, shape (N,)
        The higher, the earlier kept; of equal ones the first.
    rays : Rays
        R directions.
    max_overlap : float
        A candidate is dropped when it shares more than this with one kept before, as ``overlap`` measures it, in [0, 1].

    Returns
    -------
    ndarray of int, shape (K,)
        Rows of those kept, best first: ``render(distances[rows], points[rows], ...)`` draws the better on top. Candidates
        without a voxel are never kept.

    Raises
    ------
    ValueError
        For arrays that do not fit each other or are not finite, or an overlap out of range.
    """
    scaled, points, cones = _prepare(distances, points, rays)
    scores = np.asarray(scores)
    if scores.shape != (len(points),) or not np.isfinite(scores).all():
        raise ValueError(f"scores must be {len(points)} finite numbers, one a point, got shape {scores.shape}")
    if not 0 <= max_overlap <= 1:
        raise ValueError(f"max_overlap must lie in [0, 1], got {max_overlap}")
    order = np.argsort(-scores, kind="stable")
    boxes = kernels.find_bounds(scaled, points, cones)
    cells = _cells(boxes, points)
    kept: dict[int, tuple[np.ndarray, int]] = {}
    lists: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for row in order:
        corner = boxes[row, 0]
        mask = np.zeros(boxes[row, 1] - corner, dtype=np.uint32)
        volume = kernels.draw(scaled[row], points[row] - corner, cones, mask, 1)
        reached = list(product(*(range(low, high + 1) for low, high in cells[row].T.tolist())))
        near = set().union(*(lists.get(cell, ()) for cell in reached))
        limits = ((other, max_overlap * min(volume, kept[other][1])) for other in near)
        if volume and all(
            kernels.count_common(mask, corner, kept[other][0], boxes[other, 0]) <= limit for other, limit in limits
        ):
            kept[int(row)] = mask, volume
            for cell in reached:
                lists[cell].append(int(row))
    return np.array(list(kept), dtype=np.int64)


def _cells(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """First and last cells (N, 2, 3) of a grid that boxes reach into: only what shares a cell can overlap."""
    if not len(points):
        return np.zeros((0, 2, 3), dtype=np.int64)
    # The grid spans the points, not the boxes: one absurdly long distance shall not make it coarse or large.
    low, high = points.min(axis=0), points.max(axis=0)
    size = np.maximum(np.median(boxes[:, 1] - boxes[:, 0], axis=0), 1)
    size *= max(1.0, (np.prod((high - low) / size + 1) / MAX_CELLS) ** (1 / 3))
    return ((np.clip(boxes, low, high) - low) // size).astype(np.int64)


def _check_extents(anisotropy: Extents) -> np.ndarray:
    extents = np.asarray(anisotropy, dtype=float)
    if extents.shape != (3,) or not (np.isfinite(extents) & (extents > 0)).all():
        raise ValueError(f"anisotropy must be three extents (T, H, W) above 0, got {anisotropy!r}")
    return extents / extents.max()


def _prepare(distances: np.ndarray, points: np.ndarray, rays: Rays) -> tuple[np.ndarray, np.ndarray, kernels.Cones]:
    """Distances in units of the rays' extents, points, and the cones between the rays."""
    distances, points = (np.ascontiguousarray(given, dtype=np.float64) for given in (distances, points))
    n_rays = len(rays.vertices)
    if points.ndim != 2 or points.shape[1] != 3 or distances.shape != (len(points), n_rays):
        raise ValueError(f"distances and points must be (N, {n_rays}) and (N, 3), got {distances.shape} and {points.shape}")
    if not (np.isfinite(distances).all() and np.isfinite(points).all()):
        raise ValueError("distances and points must be finite")
    lengths = np.linalg.norm(rays.vertices / rays.extents, axis=1)
    sphere = rays.vertices / rays.extents / lengths[:, None]
    corners = sphere[rays.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    bulges = np.linalg.norm(normals, axis=1) / np.abs((normals * corners[:, 0]).sum(axis=1))
    cones = kernels.Cones(sphere, rays.extents, rays.faces, np.linalg.inv(corners), bulges)
    return np.maximum(distances, 0) * lengths, points, cones
