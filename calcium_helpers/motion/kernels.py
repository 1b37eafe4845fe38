"""Inner loops of phase correlation: pass after pass over one frame, all without the interpreter lock."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath=True)
def to_float(frame: np.ndarray, bidiphase_px: float, out: np.ndarray) -> float:
    """Convert a frame to float32, undo a line offset on odd rows (columns, bilinear), and return its mean."""
    height, width = frame.shape
    whole = math.floor(bidiphase_px)
    part = np.float32(bidiphase_px - whole)
    total = 0.0
    for y in range(height):
        if y % 2 and bidiphase_px != 0:
            for x in range(width):
                left = min(max(x + whole, 0), width - 1)
                right = min(max(x + whole + 1, 0), width - 1)
                out[y, x] = (1 - part) * frame[y, left] + part * frame[y, right]
        else:
            for x in range(width):
                out[y, x] = frame[y, x]
        row = np.float32(0)
        for x in range(width):
            row += out[y, x]
        total += row
    return total / (height * width)


@njit(nogil=True, cache=True, fastmath=True)
def taper(frame: np.ndarray, mean: float, window_y: np.ndarray, window_x: np.ndarray, out: np.ndarray) -> None:
    """Subtract the mean and fade to zero at the edges; ``out`` may be larger (zero beyond the frame)."""
    height, width = frame.shape
    centre = np.float32(mean)
    for y in range(height):
        for x in range(width):
            out[y, x] = (frame[y, x] - centre) * (window_y[y] * window_x[x])


@njit(nogil=True, cache=True, fastmath=True)
def cut_blocks(frame: np.ndarray, corners: np.ndarray, dy: int, dx: int, window: np.ndarray, out: np.ndarray) -> None:
    """Cut tapered blocks (N, B, B) of ``frame`` at ``corners - (dy, dx)``; each block has zero mean, outside is zero."""
    height, width = frame.shape
    size = out.shape[1]
    for block in range(len(corners)):
        y0, x0 = corners[block, 0] - dy, corners[block, 1] - dx
        top, bottom = max(0, -y0), min(size, height - y0)
        left, right = max(0, -x0), min(size, width - x0)
        across = window[left:right]
        total, weight = np.float32(0), np.float32(1e-9)
        out[block] = 0
        for i in range(top, bottom):
            source = frame[y0 + i, x0 + left : x0 + right]
            target = out[block, i, left:right]
            row = np.float32(0)
            for j in range(len(across)):
                row += across[j] * source[j]
                target[j] = source[j] * across[j] * window[i]
            total += row * window[i]
            weight += window[i]
        mean = total / (weight * across.sum() + np.float32(1e-9))
        for i in range(top, bottom):
            target = out[block, i, left:right]
            for j in range(len(across)):
                target[j] -= mean * across[j] * window[i]


@njit(nogil=True, cache=True, fastmath=True)
def cross_power(spectrum: np.ndarray, reference: np.ndarray, out: np.ndarray) -> None:
    """Multiply the conjugate phases of ``spectrum`` with ``reference``, keeping only the low frequencies that ``out`` holds.

    ``spectrum`` is a full real FFT (n, m); ``reference`` and ``out`` hold rows of frequency 0..k-1, -k..-1 and columns
    0..c-1 of it.
    """
    rows, columns = out.shape
    offset = spectrum.shape[0] - rows
    for i in range(rows):
        source = i if i < rows // 2 else i + offset
        for j in range(columns):
            value = spectrum[source, j]
            size = math.sqrt(value.real * value.real + value.imag * value.imag) + np.float32(1e-12)
            out[i, j] = value.conjugate() * reference[i, j] / size


@njit(nogil=True, cache=True, fastmath=True)
def blend_neighbours(spectra: np.ndarray, weight: float, out: np.ndarray) -> None:
    """Add ``weight`` times the sum of the eight neighbours to each block's spectrum (gy, gx, n, m)."""
    gy, gx = spectra.shape[:2]
    out[...] = spectra
    for i in range(gy):
        for j in range(gx):
            for k in range(max(i - 1, 0), min(i + 2, gy)):
                for m in range(max(j - 1, 0), min(j + 2, gx)):
                    if k != i or m != j:
                        share = np.float32(weight if (k == i or m == j) else weight * weight)
                        for a in range(out.shape[2]):
                            for b in range(out.shape[3]):
                                out[i, j, a, b] += share * spectra[k, m, a, b]


@njit(nogil=True, cache=True, fastmath=True)
def find_peak(cross: np.ndarray, size_y: int, size_x: int, reach_y: float, reach_x: float) -> tuple[float, float]:
    """Place, px, of the correlation's maximum within +-reach, first on a 2-px lattice, then by Newton steps.

    The lattice is summed directly, which for a few pixels of reach costs less than an inverse transform.
    """
    rows, columns = cross.shape
    ny, nx = int(reach_y / 2), int(reach_x / 2)
    partial = np.empty(columns, np.complex64)
    wave = np.empty((2 * nx + 1, columns), np.complex64)
    for k in range(2 * nx + 1):
        for j in range(columns):
            angle = 2 * math.pi * j * 2 * (k - nx) / size_x
            wave[k, j] = complex(math.cos(angle), math.sin(angle)) * (1.0 if j == 0 else 2.0)
    best, best_y, best_x = np.float32(0), 0, 0
    for a in range(-ny, ny + 1):
        partial[:] = 0
        for i in range(rows):
            angle = 2 * math.pi * (i if i < rows // 2 else i - rows) * 2 * a / size_y
            turn = np.complex64(complex(math.cos(angle), math.sin(angle)))
            for j in range(columns):
                partial[j] += turn * cross[i, j]
        for k in range(2 * nx + 1):
            value = np.float32(0)
            for j in range(columns):
                value += partial[j].real * wave[k, j].real - partial[j].imag * wave[k, j].imag
            if value > best:
                best, best_y, best_x = value, a, k - nx
    y, x = refine_peak(cross, size_y, size_x, 2.0 * best_y, 2.0 * best_x, 2.0)
    return min(max(y, -reach_y), reach_y), min(max(x, -reach_x), reach_x)


@njit(nogil=True, cache=True, fastmath=True)
def block_peaks(
    spectra: np.ndarray, references: np.ndarray, reach: float, neighbour: float, cross: np.ndarray, out: np.ndarray
) -> None:
    """Shifts ``out`` (gy, gx, 2), px, of blocks with full spectra (N, B, B // 2 + 1) against their references."""
    gy, gx = out.shape[:2]
    size = spectra.shape[1]
    for block in range(gy * gx):
        cross_power(spectra[block], references[block], cross[0, block // gx, block % gx])
    blend_neighbours(cross[0], neighbour, cross[1])
    for i in range(gy):
        for j in range(gx):
            out[i, j, 0], out[i, j, 1] = find_peak(cross[1, i, j], size, size, reach, reach)


@njit(nogil=True, cache=True, fastmath=True)
def refine_peak(cross: np.ndarray, size_y: int, size_x: int, y: float, x: float, reach: float) -> tuple[float, float]:
    """Climb from (y, x) px to the maximum of the band-limited correlation that ``cross`` stands for, by Newton steps.

    The correlation is ``sum_k cross[k] exp(2 pi i k p / size)``: exact between samples, so the peak has no pull towards
    whole pixels. Steps that leave the start by more than ``reach`` px are cut there.
    """
    rows, columns = cross.shape
    start_y, start_x = y, x
    wave_x = np.empty(columns, np.complex64)
    for _ in range(4):
        for j in range(columns):
            angle = 2 * math.pi * j * x / size_x
            wave_x[j] = complex(math.cos(angle), math.sin(angle)) * (1.0 if j == 0 else 2.0)
        gy = gx = hyy = hxx = hxy = 0.0
        for i in range(rows):
            k = i if i < rows // 2 else i - rows
            angle = 2 * math.pi * k * y / size_y
            s0r = s0i = s1r = s1i = s2r = s2i = np.float32(0)
            for j in range(columns):
                z = cross[i, j] * wave_x[j]
                s0r += z.real
                s0i += z.imag
                s1r += j * z.real
                s1i += j * z.imag
                s2r += j * j * z.real
                s2i += j * j * z.imag
            c, s = math.cos(angle), math.sin(angle)
            real, imag = c * s0r - s * s0i, c * s0i + s * s0r
            gy -= k * imag
            hyy -= k * k * real
            gx -= c * s1i + s * s1r
            hxy -= k * (c * s1r - s * s1i)
            hxx -= c * s2r - s * s2i
        wy, wx = 2 * math.pi / size_y, 2 * math.pi / size_x
        gy, gx, hyy, hxx, hxy = gy * wy, gx * wx, hyy * wy * wy, hxx * wx * wx, hxy * wy * wx
        determinant = hyy * hxx - hxy * hxy
        if not (determinant > 0 and hyy < 0):
            break
        step_y = -(hxx * gy - hxy * gx) / determinant
        step_x = -(hyy * gx - hxy * gy) / determinant
        y = min(max(y + step_y, start_y - reach), start_y + reach)
        x = min(max(x + step_x, start_x - reach), start_x + reach)
        if abs(step_y) + abs(step_x) < 1e-3:
            break
    return y, x


@njit(nogil=True, cache=True)
def find_maximum(correlation: np.ndarray, limit_y: int, limit_x: int) -> tuple[int, int]:
    """Place of the maximum within +-limit samples of zero shift (which stands at [0, 0], negative shifts at the end)."""
    rows, columns = correlation.shape
    best, best_y, best_x = np.float32(0), 0, 0
    for y in range(-min(limit_y, rows // 2), min(limit_y, (rows - 1) // 2) + 1):
        for x in range(-min(limit_x, columns // 2), min(limit_x, (columns - 1) // 2) + 1):
            if correlation[y, x] > best:
                best, best_y, best_x = correlation[y, x], y, x
    return best_y, best_x


@njit(nogil=True, cache=True, fastmath=True)
def correlate(image: np.ndarray, template: np.ndarray, border: int) -> float:
    """Pearson correlation of two images inside a border of ``border`` px; 0 where one is constant."""
    sx = sy = sxx = syy = sxy = 0.0
    height, width = image.shape
    n = max((height - 2 * border) * (width - 2 * border), 1)
    pivot_a, pivot_b = image[height // 2, width // 2], template[height // 2, width // 2]  # keeps float32 sums exact enough
    for i in range(border, height - border):
        rx = ry = rxx = ryy = rxy = np.float32(0)
        left, right = image[i, border : width - border], template[i, border : width - border]
        for j in range(len(left)):
            a, b = left[j] - pivot_a, right[j] - pivot_b
            rx += a
            ry += b
            rxx += a * a
            ryy += b * b
            rxy += a * b
        sx, sy, sxx, syy, sxy = sx + rx, sy + ry, sxx + rxx, syy + ryy, sxy + rxy
    variance = (sxx - sx * sx / n) * (syy - sy * sy / n)
    return (sxy - sx * sy / n) / math.sqrt(variance) if variance > 1e-12 else 0.0
