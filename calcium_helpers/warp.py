"""Bilinear resampling of one frame by a rigid shift or a coarse grid of shifts: the inner loop of motion and of simulation.

Sign: ``out[y, x] = frame[y - dy, x - dx]``, as ``scipy.ndimage.shift(frame, (dy, dx), order=1, mode="nearest")``.
The kernels release the interpreter lock, so that threads may each work on a frame.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath=True)
def warp_rigid(frame: np.ndarray, dy: float, dx: float, out: np.ndarray) -> None:
    """Shift ``frame`` (H, W) by (dy, dx) pixels into ``out`` (H, W); the edge is repeated."""
    height, width = frame.shape
    shift_y, shift_x = math.floor(-dy), math.floor(-dx)
    fy, fx = np.float32(-dy - shift_y), np.float32(-dx - shift_x)
    inner_start = min(max(-shift_x, 0), width)
    inner_stop = max(min(width - 1 - shift_x, width), inner_start)
    for y in range(height):
        above = min(max(y + shift_y, 0), height - 1)
        below = min(max(y + shift_y + 1, 0), height - 1)
        for x in range(inner_start):
            out[y, x] = _blend(frame, above, below, x + shift_x, fy, fx)
        for x in range(inner_start, inner_stop):
            left = x + shift_x
            top = frame[above, left] + fx * (frame[above, left + 1] - frame[above, left])
            bottom = frame[below, left] + fx * (frame[below, left + 1] - frame[below, left])
            out[y, x] = top + fy * (bottom - top)
        for x in range(inner_stop, width):
            out[y, x] = _blend(frame, above, below, x + shift_x, fy, fx)


@njit(nogil=True, cache=True, inline="always")
def _blend(frame: np.ndarray, above: int, below: int, left: int, fy: float, fx: float) -> float:
    """Bilinear value with the column clamped to the frame."""
    last = frame.shape[1] - 1
    x0, x1 = min(max(left, 0), last), min(max(left + 1, 0), last)
    top = frame[above, x0] + fx * (frame[above, x1] - frame[above, x0])
    bottom = frame[below, x0] + fx * (frame[below, x1] - frame[below, x0])
    return top + fy * (bottom - top)


@njit(nogil=True, cache=True, fastmath=True)
def warp_grid(frame: np.ndarray, grid: np.ndarray, margin: int, out: np.ndarray) -> None:
    """Shift ``frame`` by a coarse grid of shifts (gy, gx, 2), bilinear between block centres, constant beyond them.

    ``frame`` may be larger than ``out`` by ``margin`` pixels on each side (0 for frames of equal size). Block centres
    stand at ``(k + 0.5) * H / gy - 0.5``.
    """
    height, width = out.shape
    gy, gx = grid.shape[:2]
    row = np.empty((gx, 2), np.float32)
    last_y, last_x = frame.shape[0] - 1, frame.shape[1] - 1
    for y in range(height):
        position = min(max((y + 0.5) * gy / height - 0.5, 0.0), gy - 1.0)
        k = min(int(position), max(gy - 2, 0))
        weight = position - k
        for j in range(gx):
            for axis in range(2):
                upper = grid[k, j, axis]
                row[j, axis] = upper + weight * (grid[min(k + 1, gy - 1), j, axis] - upper)
        for x in range(width):
            position = min(max((x + 0.5) * gx / width - 0.5, 0.0), gx - 1.0)
            j = min(int(position), max(gx - 2, 0))
            right = min(j + 1, gx - 1)
            weight = position - j
            sy = y + margin - (row[j, 0] + weight * (row[right, 0] - row[j, 0]))
            sx = x + margin - (row[j, 1] + weight * (row[right, 1] - row[j, 1]))
            sy, sx = min(max(sy, 0.0), float(last_y)), min(max(sx, 0.0), float(last_x))
            y0, x0 = min(int(sy), max(last_y - 1, 0)), min(int(sx), max(last_x - 1, 0))
            y1, x1 = min(y0 + 1, last_y), min(x0 + 1, last_x)
            fy, fx = np.float32(sy - y0), np.float32(sx - x0)
            top = frame[y0, x0] + fx * (frame[y0, x1] - frame[y0, x0])
            bottom = frame[y1, x0] + fx * (frame[y1, x1] - frame[y1, x0])
            out[y, x] = top + fy * (bottom - top)
