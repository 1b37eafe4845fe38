"""One frame against a template: rigid shift, then a grid of block shifts, by phase correlation.

Both use the phases of the frame only (Kuglin & Hines 1975), low-passed by a Gaussian, and find the peak of the
band-limited correlation by Newton steps. Since the low-pass leaves nothing above a quarter of the sampling rate, half of
the spectrum's rows and columns carry all of it: the inverse transforms are four times smaller.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from calcium_helpers.motion import kernels
from calcium_helpers.motion.config import MotionConfig
from calcium_helpers.warp import warp_grid, warp_rigid

NEIGHBOUR_WEIGHT = 0.25  # how much blocks lean on their neighbours


class Reference:
    """A template with everything about it that can be computed once; shared by threads, never written to."""

    def __init__(self, template: np.ndarray, config: MotionConfig) -> None:
        self.config = config
        self.template = np.ascontiguousarray(template, dtype=np.float32)
        self.shape = height, width = self.template.shape
        self.limit_px = config.shift_limit_px(self.shape)
        self.window_y, self.window_x = (_edge_window(n, min(2 * self.limit_px, n / 4)) for n in self.shape)
        self.size = fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True)
        sharp = np.empty_like(self.template)
        highpass(self.template, config.highpass_px, sharp)
        padded = np.zeros(self.size, dtype=np.float32)
        kernels.taper(sharp, float(sharp.mean()), self.window_y, self.window_x, padded)
        self.spectrum = _reference_spectrum(padded, config)

        self.grid = config.grid_shape(self.shape) if config.piecewise else (1, 1)
        self.block = fft.next_fast_len(2 * config.block_px, real=True)
        self.corners = _block_corners(self.shape, self.grid, self.block)
        self.block_window = np.hanning(self.block + 2)[1:-1].astype(np.float32)
        blocks = np.empty((len(self.corners), self.block, self.block), dtype=np.float32)
        kernels.cut_blocks(sharp, self.corners, 0, 0, self.block_window, blocks)
        self.block_spectra = np.stack([_reference_spectrum(block, config) for block in blocks])


class Aligner:
    """Aligns frames to a reference one at a time; owns its buffers, so each thread has its own."""

    def __init__(self, reference: Reference, bidiphase_px: float = 0.0) -> None:
        self.reference = reference
        self.bidiphase_px = float(bidiphase_px)
        self.frame = np.empty(reference.shape, dtype=np.float32)
        self.sharp = self.frame if reference.config.highpass_px is None else np.empty_like(self.frame)
        self.padded = np.zeros(reference.size, dtype=np.float32)
        self.cross = np.empty(reference.spectrum.shape, dtype=np.complex64)
        n = len(reference.corners)
        self.blocks = np.empty((n, reference.block, reference.block), dtype=np.float32)
        self.spectra = np.empty((n, reference.block, reference.block // 2 + 1), dtype=np.complex64)
        self.block_cross = np.empty((2, *reference.grid, *reference.block_spectra.shape[1:]), dtype=np.complex64)

    def align(self, raw: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, float]:
        """Correct one frame into ``out`` (H, W) float32.

        Returns
        -------
        grid : ndarray, shape (gy, gx, 2)
            Corrections in pixels; (1, 1, 2) when rigid.
        correlation : float
            Of the corrected frame with the template.
        """
        reference = self.reference
        mean = kernels.to_float(raw, self.bidiphase_px, self.frame)
        if reference.config.highpass_px is not None:
            highpass(self.frame, reference.config.highpass_px, self.sharp)
            mean = float(self.sharp.mean())
        dy, dx = self._rigid_shift(mean)
        if reference.config.piecewise:
            grid = self._block_shifts(dy, dx)
            warp_grid(self.frame, grid, 0, out)
        else:
            grid = np.array([[[dy, dx]]], dtype=np.float32)
            warp_rigid(self.frame, dy, dx, out)
        border = min(int(np.ceil(max(abs(dy), abs(dx)))), min(reference.shape) // 4)
        return grid, kernels.correlate(out, reference.template, border)

    def _rigid_shift(self, mean: float) -> tuple[float, float]:
        """Shift of the whole frame, px."""
        reference = self.reference
        kernels.taper(self.sharp, mean, reference.window_y, reference.window_x, self.padded)
        kernels.cross_power(fft.rfft2(self.padded), reference.spectrum, self.cross)
        return _peak(self.cross, reference.size, reference.limit_px)

    def _block_shifts(self, dy: float, dx: float) -> np.ndarray:
        """Shift of each block, px, starting from the rigid shift."""
        reference = self.reference
        whole = round(dy), round(dx)
        kernels.cut_blocks(self.sharp, reference.corners, *whole, reference.block_window, self.blocks)
        grid = np.empty((*reference.grid, 2), dtype=np.float32)
        reach = reference.config.max_deviation_px + 0.5
        columns = reference.grid[1]
        for row in range(0, len(self.blocks), columns):  # a row of blocks at a time stays in the cache
            self.spectra[row : row + columns] = fft.rfft2(self.blocks[row : row + columns])
        kernels.block_peaks(self.spectra, reference.block_spectra, reach, NEIGHBOUR_WEIGHT, self.block_cross, grid)
        deviation = grid + np.array(whole, np.float32) - np.array((dy, dx), np.float32)
        limit = reference.config.max_deviation_px
        return np.clip(deviation, -limit, limit) + np.array((dy, dx), np.float32)


def highpass(image: np.ndarray, sd_px: float | None, out: np.ndarray) -> None:
    """Subtract the local mean over a box of standard deviation ``sd_px``; copy where None.

    In the image, not in the spectrum: the slope of a bright background times a block's window has all frequencies.
    """
    if sd_px is None:
        out[...] = image
        return
    ndimage.uniform_filter(image, box_width(sd_px), output=out, mode="nearest")
    np.subtract(image, out, out=out)


def box_width(sd_px: float) -> int:
    """Odd width of the box with this standard deviation, px."""
    return 2 * round(np.sqrt(3) * sd_px) + 1


def _peak(cross: np.ndarray, size: tuple[int, int], limit_px: float) -> tuple[float, float]:
    """Sub-pixel place of the correlation's maximum within ``limit_px`` of zero, px."""
    rows, columns = cross.shape[0], 2 * (cross.shape[1] - 1)
    correlation = fft.irfft2(cross, s=(rows, columns))
    step_y, step_x = size[0] / rows, size[1] / columns
    row, column = kernels.find_maximum(correlation, int(np.ceil(limit_px / step_y)), int(np.ceil(limit_px / step_x)))
    y, x = kernels.refine_peak(cross, size[0], size[1], row * step_y, column * step_x, max(step_y, step_x))
    return min(max(y, -limit_px), limit_px), min(max(x, -limit_px), limit_px)


def _reference_spectrum(image: np.ndarray, config: MotionConfig) -> np.ndarray:
    """Low frequencies of an image, half whitened and weighted by the low-pass."""
    height, width = image.shape
    rows, columns = 2 * max(height // 4, 1), max(width // 4, 1) + 1
    spectrum = fft.rfft2(image)
    keep = np.r_[0 : rows // 2, height - rows // 2 : height]
    low = spectrum[keep][:, :columns]
    frequency = np.hypot(fft.fftfreq(height)[keep][:, None], fft.rfftfreq(width)[None, :columns])
    weight = np.exp(-2 * (np.pi * config.smooth_px * frequency) ** 2)
    # the root keeps half of the template's own spectrum: frequencies where it has no signal would only add noise
    return (low / np.sqrt(np.abs(low) + 1e-12) * weight).astype(np.complex64)


def _edge_window(n: int, edge: float) -> np.ndarray:
    """Window of length ``n`` that rises and falls over ``edge`` samples as a raised cosine."""
    distance = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
    return (0.5 - 0.5 * np.cos(np.pi * np.clip(distance / max(edge, 1.0), 0, 1))).astype(np.float32)


def _block_corners(shape: tuple[int, int], grid: tuple[int, int], block: int) -> np.ndarray:
    """Top left corners (N, 2) of blocks centred at ``(k + 0.5) * H / gy - 0.5``; they may reach beyond the frame."""
    y, x = (
        np.rint((np.arange(g) + 0.5) * n / g - 0.5 - (block - 1) / 2).astype(np.int64) for n, g in zip(shape, grid, strict=True)
    )
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
