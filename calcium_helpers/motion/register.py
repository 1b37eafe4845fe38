"""The verbs of motion correction: estimate shifts, apply them, or both in one pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from calcium_helpers.containers import Movie, Shifts
from calcium_helpers.memory import let_go, scratch_array
from calcium_helpers.motion import kernels, threads
from calcium_helpers.motion.align import Aligner, Reference
from calcium_helpers.motion.config import TWO_PHOTON, MotionConfig
from calcium_helpers.motion.template import estimate_bidiphase, estimate_template, sample_frames
from calcium_helpers.warp import warp_grid, warp_rigid

logger = logging.getLogger(__name__)

SMALLEST_SIDE_PX = 16


class Registration(NamedTuple):
    """A corrected movie (float32, same frame size) and the shifts that corrected it."""

    movie: Movie
    shifts: Shifts


def estimate_shifts(
    movie: Movie,
    *,
    config: MotionConfig = TWO_PHOTON,
    template: np.ndarray | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> Shifts:
    """Estimate the shifts that bring each frame onto a template.

    Parameters
    ----------
    movie, config, template, device, progress
        As for ``register``.

    Returns
    -------
    Shifts

    Raises
    ------
    ValueError
        As ``register`` does.
    """
    return _estimate(movie, config, template, None, device, progress)


def register(
    movie: Movie,
    *,
    config: MotionConfig = TWO_PHOTON,
    template: np.ndarray | None = None,
    out: np.ndarray | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> Registration:
    """Correct a movie for motion: estimate and apply in one pass over the frames.

    Rigid, then piecewise-rigid by phase correlation on overlapping blocks; sub-pixel peaks, bilinear resampling.

    Parameters
    ----------
    movie : Movie
        Read in chunks along time; may be larger than memory.
    config : MotionConfig
        ``motion.TWO_PHOTON`` or ``motion.ONE_PHOTON`` (band-passed for estimating, raw for output) or your own.
    template : ndarray, shape (H, W), optional
        What to align to; made from the movie where not given.
    out : ndarray, shape (T, H, W), float32, optional
        Where the corrected movie is written, a memory map for instance; allocated where not given.
    device : str
        "cpu", or "cuda" to work in batches on a GPU.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Registration
        Corrected movie and shifts. The edge of a frame is repeated where it had moved away; ``shifts.valid`` is the
        rectangle that no such pixel enters in a good frame.

    Raises
    ------
    ValueError
        When frames are smaller than 16 px a side, ``template`` or ``out`` do not fit the movie, or there is no such device.
    """
    if out is None:
        out = scratch_array(movie.shape)
    if out.shape != movie.shape:
        raise ValueError(f"out must have the movie's shape {movie.shape}, got {out.shape}")
    shifts = _estimate(movie, config, template, out, device, progress)
    kind = "piecewise" if shifts.is_piecewise else "rigid"
    note = f"motion corrected ({kind}, at most {np.abs(shifts.rigid_yx).max():.1f} px)"
    return Registration(movie.replace(data=out, history=(*movie.history, note)), shifts)


def apply_shifts(movie: Movie, shifts: Shifts, *, out: np.ndarray | None = None) -> Movie:
    """Apply shifts to a movie, another channel for instance.

    Parameters
    ----------
    movie : Movie
    shifts : Shifts
        One entry a frame of ``movie``.
    out : ndarray, shape (T, H, W), float32, optional
        Where to write; allocated where not given.

    Returns
    -------
    Movie
        float32, same frame size.

    Raises
    ------
    ValueError
        When the numbers of frames differ.
    """
    if len(shifts.yx) != movie.n_frames:
        raise ValueError(f"shifts must have one entry a frame ({movie.n_frames}), got {len(shifts.yx)}")
    if out is None:
        out = scratch_array(movie.shape)
    _apply(movie, shifts.yx, np.arange(movie.n_frames), shifts.bidiphase_px, out)
    return movie.replace(data=out, history=(*movie.history, "shifts applied"))


def _estimate(
    movie: Movie, config: MotionConfig, template: np.ndarray | None, out: np.ndarray | None, device: str, progress: bool
) -> Shifts:
    """Align all frames, writing corrected ones to ``out`` where given."""
    shape = movie.shape[1:]
    if min(shape) < SMALLEST_SIDE_PX:
        raise ValueError(f"motion correction needs frames of at least {SMALLEST_SIDE_PX} px a side, got {shape}: skip it")
    if template is not None and np.shape(template) != shape:
        raise ValueError(f"template must have the frame's shape {shape}, got {np.shape(template)}")
    if device != "cpu":
        from calcium_helpers.motion import gpu

        gpu.find_device(device)  # before the template is made in vain
    sample = sample_frames(movie, config.n_template_frames)
    bidiphase_px = estimate_bidiphase(sample) if config.bidiphase else 0.0
    if template is None:
        template = estimate_template(sample, config, bidiphase_px)
    reference = Reference(template, config)
    del sample
    if device == "cpu":
        grids, correlation = threads.align_chunks(
            lambda: Aligner(reference, bidiphase_px), _chunks(movie), movie.n_frames, out=out, progress=progress
        )
    else:
        grids, correlation = gpu.align_batches(reference, bidiphase_px, movie, out=out, device=device, progress=progress)
    bad = find_bad_frames(grids.mean(axis=(1, 2)), correlation, reference.limit_px)
    if 0 < len(bad) < movie.n_frames:
        logger.warning("%d of %d frames could not be aligned: %s ...", len(bad), movie.n_frames, bad[:5].tolist())
        _interpolate(grids, bad)
        if out is not None:
            _apply(movie, grids, bad, bidiphase_px, out)
    yx = grids if config.piecewise else grids[:, 0, 0]
    valid = valid_rectangle(np.delete(grids, bad, axis=0), shape)
    return Shifts(yx, reference.template, valid, correlation, bad, bidiphase_px)


def find_bad_frames(rigid_yx: np.ndarray, correlation: np.ndarray, limit_px: float) -> np.ndarray:
    """List frames whose shift stands at the limit or whose correlation with the template falls far out of the usual.

    Far is below the median by 15 % and by 7 robust standard deviations.
    """
    centre = np.median(correlation)
    spread = 1.4826 * np.median(np.abs(correlation - centre))
    low = correlation < centre - np.maximum(7 * spread, 0.15 * abs(centre))
    return np.flatnonzero(low | (np.abs(rigid_yx) > limit_px - 0.5).any(axis=1))


def valid_rectangle(grids: np.ndarray, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rectangle (y0, y1, x0, x1) that no pixel from outside a frame enters, at least one pixel."""
    if not len(grids):
        return 0, shape[0], 0, shape[1]
    low = np.ceil(np.maximum(grids.max(axis=(0, 1, 2)), 0)).astype(int)
    high = np.ceil(np.maximum(-grids.min(axis=(0, 1, 2)), 0)).astype(int)
    starts = [min(int(n), (size - 1) // 2) for n, size in zip(low, shape, strict=True)]
    stops = [size - min(int(n), (size - 1) // 2) for n, size in zip(high, shape, strict=True)]
    return starts[0], stops[0], starts[1], stops[1]


def _chunks(movie: Movie) -> Iterator[tuple[int, np.ndarray]]:
    """Read the movie in chunks ``(start, frames)``."""
    for start in range(0, movie.n_frames, threads.CHUNK_FRAMES):
        yield start, threads.read_frames(movie, start, min(start + threads.CHUNK_FRAMES, movie.n_frames))
        let_go(movie.data)


def _interpolate(grids: np.ndarray, bad: np.ndarray) -> None:
    """Replace the shifts of bad frames by those of their neighbours in time, in place."""
    good = np.setdiff1d(np.arange(len(grids)), bad)
    flat = grids.reshape(len(grids), -1)
    for column in flat.T:
        column[bad] = np.interp(bad, good, column[good])


def _apply(movie: Movie, yx: np.ndarray, indices: np.ndarray, bidiphase_px: float, out: np.ndarray) -> None:
    """Warp the frames ``indices`` by ``yx`` into ``out``."""
    frame = np.empty(movie.shape[1:], dtype=np.float32)
    for count, index in enumerate(indices, start=1):
        if count % threads.CHUNK_FRAMES == 0:
            let_go(movie.data, out)
        kernels.to_float(threads.read_frames(movie, int(index), int(index) + 1)[0], bidiphase_px, frame)
        if yx.ndim == 4:
            warp_grid(frame, np.ascontiguousarray(yx[index]), 0, out[index])
        else:
            warp_rigid(frame, float(yx[index, 0]), float(yx[index, 1]), out[index])
