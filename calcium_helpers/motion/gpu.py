"""The mathematics of ``align`` on whole batches in torch: for a GPU, or for a CPU without numba's kernels.

Each step stands under the name it has there; shapes gain a leading batch axis B. Imported only when a device is asked for.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from tqdm import tqdm

from calcium_helpers.containers import Movie
from calcium_helpers.motion import gpu_kernels
from calcium_helpers.motion.align import NEIGHBOUR_WEIGHT, Reference, box_width

BATCH_FRAMES = 64


def align_batches(
    reference: Reference, bidiphase_px: float, movie: Movie, *, out: np.ndarray | None, device: str, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Align all frames of ``movie`` and write the corrected ones to ``out`` (T, H, W) where given.

    The batch is halved as often as the device runs out of memory.

    Returns
    -------
    grids : ndarray, shape (T, gy, gx, 2), float32
        Corrections, pixels.
    correlation : ndarray, shape (T,)
        Of each corrected frame with the template.

    Raises
    ------
    ValueError
        When there is no such device.
    """
    aligner = BatchAligner(reference, bidiphase_px, find_device(device))
    grids, correlation = [], []
    start, size = 0, BATCH_FRAMES
    with tqdm(total=movie.n_frames, desc="motion", unit="frame", disable=not progress) as bar:
        while start < movie.n_frames:
            stop = min(start + size, movie.n_frames)
            try:
                corrected, grid, found = aligner.align(movie.frames(start, stop))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size //= 2
                continue
            if out is not None:
                out[start:stop] = corrected.cpu().numpy()
            grids.append(grid.cpu().numpy())
            correlation.append(found.cpu().numpy())
            bar.update(stop - start)
            start = stop
    return np.concatenate(grids), np.concatenate(correlation).astype(np.float64)


def find_device(name: str) -> torch.device:
    """Return the torch device ``name``.

    Raises
    ------
    ValueError
        When torch does not know it, or this machine does not have it.
    """
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be one that torch can use here, 'cpu' for instance, got {name!r}: {reason}") from error


class BatchAligner:
    """Aligns batches of frames to a reference; holds what it needs of the reference on the device."""

    def __init__(self, reference: Reference, bidiphase_px: float, device: torch.device) -> None:
        self.reference, self.bidiphase_px, self.device = reference, float(bidiphase_px), device
        self.template, self.spectrum, self.block_window = map(
            self._to_device, (reference.template, reference.spectrum, reference.block_window)
        )
        self.window = self._to_device(np.outer(reference.window_y, reference.window_x))
        self.block_spectra = self._to_device(reference.block_spectra)
        self.corners = self._to_device(reference.corners)

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def align(self, raw: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Correct frames (B, H, W): corrected frames, grids (B, gy, gx, 2), correlations (B,)."""
        reference = self.reference
        frames = self._to_float(raw)
        sharp = frames
        if reference.config.highpass_px is not None:
            sharp = gpu_kernels.highpass(frames, box_width(reference.config.highpass_px))
        rigid = self._rigid_shift(sharp)
        grid = self._block_shifts(sharp, rigid) if reference.config.piecewise else rigid[:, None, None]
        corrected = gpu_kernels.warp_grid(frames, grid)
        border = rigid.abs().amax(dim=1).ceil().clamp(max=min(reference.shape) // 4)
        return corrected, grid, gpu_kernels.correlate(corrected, self.template, border)

    def _to_float(self, raw: np.ndarray) -> torch.Tensor:
        """Frames as float32, odd lines moved back."""
        frames = self._to_device(np.array(raw, dtype=np.float32))  # a copy: odd lines are written to
        if self.bidiphase_px:
            whole = math.floor(self.bidiphase_px)
            part = self.bidiphase_px - whole
            columns = torch.arange(frames.shape[2], device=self.device) + whole
            left, right = (c.clamp(0, frames.shape[2] - 1) for c in (columns, columns + 1))
            odd = frames[:, 1::2]
            frames[:, 1::2] = (1 - part) * odd[..., left] + part * odd[..., right]
        return frames

    def _rigid_shift(self, frames: torch.Tensor) -> torch.Tensor:
        """Shift of each frame (B, 2), px."""
        reference = self.reference
        mean = frames.mean(dim=(1, 2), dtype=torch.float64).to(torch.float32)
        tapered = (frames - mean[:, None, None]) * self.window
        cross = gpu_kernels.cross_power(torch.fft.rfft2(tapered, s=reference.size), self.spectrum)
        rows, columns = cross.shape[1], 2 * (cross.shape[2] - 1)
        correlation = torch.fft.irfft2(cross, s=(rows, columns))
        steps = [size / n for size, n in zip(reference.size, (rows, columns), strict=True)]
        limits = [math.ceil(reference.limit_px / step) for step in steps]
        reach = [min(limit, (n - 1) // 2) for limit, n in zip(limits, (rows, columns), strict=True)]
        near = correlation.roll(reach, dims=(1, 2))[:, : 2 * reach[0] + 1, : 2 * reach[1] + 1]
        start = gpu_kernels.find_maximum(near, reach) * torch.tensor(steps, device=self.device)
        return gpu_kernels.refine_peaks(cross, reference.size, start, max(steps)).clamp(-reference.limit_px, reference.limit_px)

    def _block_shifts(self, frames: torch.Tensor, rigid: torch.Tensor) -> torch.Tensor:
        """Shift of each block (B, gy, gx, 2), px, starting from the rigid shift."""
        reference = self.reference
        gy, gx = reference.grid
        whole = rigid.round()
        spectra = torch.fft.rfft2(self._cut_blocks(frames, whole.long()))
        cross = gpu_kernels.cross_power(spectra, self.block_spectra)
        cross = gpu_kernels.blend_neighbours(cross.unflatten(1, (gy, gx)), NEIGHBOUR_WEIGHT).flatten(0, 2)
        limit = reference.config.max_deviation_px
        found = gpu_kernels.find_peaks(cross, reference.block, limit + 0.5).unflatten(0, (len(frames), gy, gx))
        deviation = found + (whole - rigid)[:, None, None]
        return deviation.clamp(-limit, limit) + rigid[:, None, None]

    def _cut_blocks(self, frames: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        """Tapered blocks (B, N, b, b) at ``corners - whole``; zero mean, and zero outside the frame."""
        inside = torch.arange(self.reference.block, device=self.device)
        places, windows = [], []
        for axis, length in enumerate(self.reference.shape):
            place = self.corners[None, :, axis, None] - whole[:, None, axis, None] + inside
            windows.append(self.block_window * ((place >= 0) & (place < length)))
            places.append(place.clamp(0, length - 1))
        batch = torch.arange(len(frames), device=self.device)[:, None, None, None]
        blocks = frames[batch, places[0][..., :, None], places[1][..., None, :]]
        window = windows[0][..., :, None] * windows[1][..., None, :]
        mean = (blocks * window).sum(dim=(2, 3), keepdim=True) / (window.sum(dim=(2, 3), keepdim=True) + 1e-9)
        return (blocks - mean) * window
