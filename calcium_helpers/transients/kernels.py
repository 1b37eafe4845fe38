"""Inner loops over star-convex volumes: voxel by voxel, ray by ray, face by face.

A volume is a point and its distances along rays. They are handled in units of the ``extents``, in which the rays are spread
over a sphere; between three rays, in the cone of a face, the distance is that of the rays weighted by how near they are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

TOUCH = 1e-6
"""What lies beyond a face by no more than this share counts as inside: no gaps between faces by rounding."""


class Cones(NamedTuple):
    """The cones between rays: ``sphere`` (R, 3) directions of length 1 in units of ``extents`` (3,), ``faces`` (F, 3).

    ``inverses`` (F, 3, 3) turn a step into its shares of a face's rays, none of which is below 0 in the face's cone; ``bulges``
    (F,) tell how much further than the flat triangle a face can reach.
    """

    sphere: np.ndarray
    extents: np.ndarray
    faces: np.ndarray
    inverses: np.ndarray
    bulges: np.ndarray


@njit(nogil=True, cache=True)
def walk_to_edges(label: np.ndarray, points: np.ndarray, vertices: np.ndarray, out: np.ndarray) -> None:
    """Distances ``out`` (N, R) from voxels ``points`` along each ray to where it leaves the voxel's label or the array."""
    strides = 1 / np.maximum(np.abs(vertices), 1e-12)
    n_t, n_y, n_x = label.shape
    for n in range(len(points)):
        own = label[points[n, 0], points[n, 1], points[n, 2]]
        for r in range(len(vertices)):
            t, y, x = points[n]
            stride_t, stride_y, stride_x = strides[r]
            next_t, next_y, next_x = stride_t / 2, stride_y / 2, stride_x / 2
            distance = 0.0
            while 0 <= t < n_t and 0 <= y < n_y and 0 <= x < n_x and label[t, y, x] == own:
                distance = min(next_t, next_y, next_x)
                if distance == next_x:
                    x += 1 if vertices[r, 2] > 0 else -1
                    next_x += stride_x
                elif distance == next_y:
                    y += 1 if vertices[r, 1] > 0 else -1
                    next_y += stride_y
                else:
                    t += 1 if vertices[r, 0] > 0 else -1
                    next_t += stride_t
            out[n, r] = distance


@njit(nogil=True, cache=True)
def _face_box(distances: np.ndarray, point: np.ndarray, cones: Cones, face: int, box: np.ndarray) -> None:
    """Voxels ``box`` (2, 3), first and one past the last, that hold the part of a volume in the cone of a face."""
    a, b, c = cones.faces[face]
    reach = max(distances[a], distances[b], distances[c]) * cones.bulges[face]
    for axis in range(3):
        sa, sb, sc = cones.sphere[a, axis], cones.sphere[b, axis], cones.sphere[c, axis]
        scale = reach * cones.extents[axis]
        box[0, axis] = math.ceil(point[axis] + scale * min(0.0, sa, sb, sc) - TOUCH)
        box[1, axis] = math.floor(point[axis] + scale * max(0.0, sa, sb, sc) + TOUCH) + 1


@njit(nogil=True, cache=True)
def find_bounds(distances: np.ndarray, points: np.ndarray, cones: Cones) -> np.ndarray:
    """Boxes (N, 2, 3) of voxels, first and one past the last, that hold the volumes."""
    boxes = np.empty((len(points), 2, 3), np.int64)
    box = np.empty((2, 3), np.int64)
    for n in range(len(points)):
        for f in range(len(cones.faces)):
            _face_box(distances[n], points[n], cones, f, box)
            for axis in range(3):
                boxes[n, 0, axis] = min(boxes[n, 0, axis], box[0, axis]) if f else box[0, axis]
                boxes[n, 1, axis] = max(boxes[n, 1, axis], box[1, axis]) if f else box[1, axis]
    return boxes


@njit(nogil=True, cache=True)
def draw(distances: np.ndarray, point: np.ndarray, cones: Cones, canvas: np.ndarray, number: int) -> int:
    """Write ``number`` into the voxels of ``canvas`` that are 0 and whose centre is inside; return how many these are.

    ``distances`` (R,) are those of one volume, its ``point`` counts from the canvas's first voxel.
    """
    drawn = 0
    box = np.empty((2, 3), np.int64)
    et, ey, ex = cones.extents
    for f in range(len(cones.faces)):
        a, b, c = cones.faces[f]
        da, db, dc = distances[a], distances[b], distances[c]
        _face_box(distances, point, cones, f, box)
        inverse = cones.inverses[f]
        for t in range(max(box[0, 0], 0), min(box[1, 0], canvas.shape[0])):
            dt = (t - point[0]) / et
            for y in range(max(box[0, 1], 0), min(box[1, 1], canvas.shape[1])):
                dy = (y - point[1]) / ey
                first, last = max(box[0, 2], 0), min(box[1, 2], canvas.shape[2]) - 1
                for k in range(3):  # the part of the row that lies in the cone
                    share, slope = dt * inverse[0, k] + dy * inverse[1, k] + TOUCH, inverse[2, k] / ex
                    if slope > 1e-12:
                        first = max(first, math.ceil(point[2] - share / slope))
                    elif slope < -1e-12:
                        last = min(last, math.floor(point[2] - share / slope))
                    elif share < 0:
                        last = first - 1
                for x in range(first, last + 1):
                    if canvas[t, y, x] != 0:
                        continue
                    dx = (x - point[2]) / ex
                    wa = dt * inverse[0, 0] + dy * inverse[1, 0] + dx * inverse[2, 0]
                    wb = dt * inverse[0, 1] + dy * inverse[1, 1] + dx * inverse[2, 1]
                    wc = dt * inverse[0, 2] + dy * inverse[1, 2] + dx * inverse[2, 2]
                    length = math.sqrt(dt * dt + dy * dy + dx * dx)
                    if length * (wa + wb + wc) <= wa * da + wb * db + wc * dc + TOUCH:
                        canvas[t, y, x] = number
                        drawn += 1
    return drawn


@njit(nogil=True, cache=True)
def draw_all(distances: np.ndarray, points: np.ndarray, cones: Cones, canvas: np.ndarray) -> None:
    """Draw volumes (N, R) with the numbers 1..N, the first on top."""
    for n in range(len(points)):
        draw(distances[n], points[n], cones, canvas, n + 1)


@njit(nogil=True, cache=True)
def count_common(mask: np.ndarray, corner: np.ndarray, other: np.ndarray, other_corner: np.ndarray) -> int:
    """Count the voxels that two masks of ones and zeros share; each begins at its corner (3,)."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for axis in range(3):
        low[axis] = max(corner[axis], other_corner[axis])
        high[axis] = min(corner[axis] + mask.shape[axis], other_corner[axis] + other.shape[axis])
    count = 0
    for t in range(low[0], high[0]):
        for y in range(low[1], high[1]):
            for x in range(low[2], high[2]):
                here = mask[t - corner[0], y - corner[1], x - corner[2]]
                count += here * other[t - other_corner[0], y - other_corner[1], x - other_corner[2]]
    return count
