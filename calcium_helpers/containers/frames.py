"""Containers of frames: a movie, and the shifts that align it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from calcium_helpers.containers._base import Container, check_positive


class ArrayLike3D(Protocol):
    """What is assumed of a movie's ``data``: a shape, a dtype and slicing along time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, rows, columns."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Movie(Container):
    """A calcium-imaging movie; ``Movie(array, fs=30)`` is the door for arrays.

    Attributes
    ----------
    data : array-like, shape (T, H, W)
        Frames; may be lazy (memory-mapped or read on demand): only ``shape``, ``dtype`` and slicing along time are used.
    fs : float
        Frames per second, Hz.
    pixel_um : float or None
        Side of a pixel, micrometres.
    times_s : ndarray, shape (T,), or None
        Time of each frame, seconds, where the file states it (increasing).
    history : tuple of str
        What was done so far, oldest first.

    Raises
    ------
    TypeError, ValueError
        When an argument breaks one of the rules above; the message names it.
    """

    data: ArrayLike3D
    fs: float
    pixel_um: float | None = None
    times_s: np.ndarray | None = None
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = getattr(self.data, "shape", None)
        if shape is None or not hasattr(self.data, "dtype"):
            raise TypeError(f"Movie data must be an array (T, H, W), got {type(self.data).__name__}")
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"Movie data must have three axes (T, H, W), each at least 1, got shape {tuple(shape)}")
        if not np.issubdtype(self.data.dtype, np.integer) and not np.issubdtype(self.data.dtype, np.floating):
            raise TypeError(f"Movie data must be real numbers, got dtype {self.data.dtype}")
        check_positive("fs", self.fs, "Hz")
        if self.pixel_um is not None:
            check_positive("pixel_um", self.pixel_um, "micrometres")
        if self.times_s is not None:
            times = np.asarray(self.times_s, dtype=np.float64)
            if times.shape != (shape[0],):
                raise ValueError(f"times_s must have one entry a frame ({shape[0]}), got shape {times.shape}")
            if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
                raise ValueError("times_s must be finite and increasing")
            object.__setattr__(self, "times_s", times)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        n_frames, height, width = self.data.shape
        return int(n_frames), int(height), int(width)

    @property
    def n_frames(self) -> int:
        """Number of frames, T."""
        return self.shape[0]

    @property
    def duration_s(self) -> float:
        """Length of the recording, seconds."""
        return self.n_frames / self.fs

    def frames(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Read frames ``start`` to ``stop`` into memory as an array (n, H, W) of the movie's dtype."""
        return np.asarray(self.data[start : self.n_frames if stop is None else stop])

    def __repr__(self) -> str:
        n, h, w = self.shape
        return f"Movie({n} x {h} x {w} {self.data.dtype}, fs={self.fs:g} Hz, {self.duration_s:.1f} s)"


@dataclass(frozen=True, eq=False)
class Shifts(Container):
    """Corrections that bring each frame onto the template.

    ``corrected[y, x] = frame[y - dy, x - dx]``: the same sign as ``scipy.ndimage.shift(frame, (dy, dx))``.

    Attributes
    ----------
    yx : ndarray, shape (T, 2) or (T, gy, gx, 2), float32
        Correction in pixels, one a frame (rigid) or one a block centre of a gy x gx grid that spans the frame (piecewise).
        Block centres lie at ``y_k = (k + 0.5) * H / gy - 0.5`` and likewise in x; between them the correction is linear,
        outside the outermost centres it is constant.
    template : ndarray, shape (H, W), float32
        The image that the frames were aligned to.
    valid : tuple of int
        Rows and columns without content from outside the frame: ``corrected[:, y0:y1, x0:x1]`` with
        ``valid = (y0, y1, x0, x1)``.
    correlation : ndarray, shape (T,), or None
        Correlation of each corrected frame with the template.
    bad_frames : ndarray of int
        Frames that could not be aligned; left out of templates and of detection.
    bidiphase_px : float
        Columns by which every second line was moved before alignment (bidirectional scanning), pixels.
    """

    yx: np.ndarray
    template: np.ndarray
    valid: tuple[int, int, int, int]
    correlation: np.ndarray | None = None
    bad_frames: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    bidiphase_px: float = 0.0

    def __post_init__(self) -> None:
        yx = np.asarray(self.yx, dtype=np.float32)
        if yx.ndim not in (2, 4) or yx.shape[-1] != 2:
            raise ValueError(f"Shifts yx must be (T, 2) or (T, gy, gx, 2), got shape {yx.shape}")
        if not np.isfinite(yx).all():
            raise ValueError("Shifts yx must be finite")
        template = np.asarray(self.template, dtype=np.float32)
        if template.ndim != 2:
            raise ValueError(f"Shifts template must be (H, W), got shape {template.shape}")
        y0, y1, x0, x1 = self.valid
        if not (0 <= y0 < y1 <= template.shape[0] and 0 <= x0 < x1 <= template.shape[1]):
            raise ValueError(f"Shifts valid must be (y0, y1, x0, x1) inside {template.shape}, got {self.valid}")
        if self.correlation is not None and np.shape(self.correlation) != (len(yx),):
            raise ValueError(f"Shifts correlation must have {len(yx)} entries, got shape {np.shape(self.correlation)}")
        bad = np.asarray(self.bad_frames, dtype=np.int64).reshape(-1)
        if bad.size and (bad.min() < 0 or bad.max() >= len(yx)):
            raise ValueError(f"Shifts bad_frames must lie in 0..{len(yx) - 1}, got {bad.min()}..{bad.max()}")
        object.__setattr__(self, "yx", yx)
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "bad_frames", bad)

    @property
    def is_piecewise(self) -> bool:
        """Whether the correction varies over the frame."""
        return self.yx.ndim == 4

    @property
    def rigid_yx(self) -> np.ndarray:
        """Mean correction of each frame, shape (T, 2), pixels."""
        return self.yx.mean(axis=(1, 2)) if self.is_piecewise else self.yx

    def at(self, points_yx: np.ndarray) -> np.ndarray:
        """Correction at points of the frame, bilinear between block centres.

        Parameters
        ----------
        points_yx : ndarray, shape (P, 2)
            Points (y, x), pixels from the top left.

        Returns
        -------
        ndarray, shape (T, P, 2), float32
            Corrections (dy, dx) of every frame at every point, pixels.

        Raises
        ------
        ValueError
            When ``points_yx`` is not (P, 2).
        """
        points = np.asarray(points_yx, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"points_yx must be (P, 2), got shape {points.shape}")
        grid = self.yx if self.is_piecewise else self.yx[:, None, None]
        weights_y, weights_x = (
            _linear_weights(points[:, axis], grid.shape[1 + axis], self.template.shape[axis]) for axis in (0, 1)
        )
        return np.einsum("tyxc,py,px->tpc", grid, weights_y, weights_x, optimize=True).astype(np.float32)


def _linear_weights(positions: np.ndarray, n_blocks: int, length: int) -> np.ndarray:
    """Weights (P, n_blocks) of each block centre at each position along one axis; rows sum to 1."""
    index = np.clip((positions + 0.5) * n_blocks / length - 0.5, 0, n_blocks - 1)
    return np.maximum(0.0, 1.0 - np.abs(index[:, None] - np.arange(n_blocks)))
