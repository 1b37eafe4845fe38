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
    gy = grid.shape[0]
    rows, columns = frame.shape
    row_y, row_x = np.empty(width, np.float32), np.empty(width, np.float32)
    flat = frame.reshape(-1)
    for y in range(height):
        _spread(grid, (y + 0.5) * gy / height - 0.5, row_y, row_x)
        target = out[y]
        for x in range(width):
            sy = min(max(np.float32(y + margin) - row_y[x], np.float32(0)), np.float32(rows - 1))
            sx = min(max(np.float32(x + margin) - row_x[x], np.float32(0)), np.float32(columns - 1))
            y0, x0 = min(np.int32(sy), rows - 2), min(np.int32(sx), columns - 2)
            fy, fx = sy - np.float32(y0), sx - np.float32(x0)
            corner = np.uint32(y0 * columns + x0)
            top = flat[corner] + fx * (flat[corner + np.uint32(1)] - flat[corner])
            corner += np.uint32(columns)
            bottom = flat[corner] + fx * (flat[corner + np.uint32(1)] - flat[corner])
            target[x] = top + fy * (bottom - top)


@njit(nogil=True, cache=True, fastmath=True)
def _spread(grid: np.ndarray, position: float, out_y: np.ndarray, out_x: np.ndarray) -> None:
    """Interpolate a grid of shifts (gy, gx, 2) at row ``position`` (in blocks) to every column."""
    gy, gx = grid.shape[:2]
    width = len(out_y)
    position = min(max(position, 0.0), gy - 1.0)
    k = min(int(position), max(gy - 2, 0))
    below = min(k + 1, gy - 1)
    weight = np.float32(position - k)
    for j in range(gx + 1):
        left, right = max(j - 1, 0), min(j, gx - 1)
        y0 = grid[k, left, 0] + weight * (grid[below, left, 0] - grid[k, left, 0])
        y1 = grid[k, right, 0] + weight * (grid[below, right, 0] - grid[k, right, 0])
        x0 = grid[k, left, 1] + weight * (grid[below, left, 1] - grid[k, left, 1])
        x1 = grid[k, right, 1] + weight * (grid[below, right, 1] - grid[k, right, 1])
        centre = (j - 0.5) * width / gx - 0.5  # of the block to the left
        start = max(math.ceil(centre), 0) if j else 0
        stop = min(math.ceil(centre + width / gx), width) if j < gx else width
        for x in range(start, stop):
            share = np.float32((x - centre) * gx / width)
            out_y[x] = y0 + share * (y1 - y0)
            out_x[x] = x0 + share * (x1 - x0)
