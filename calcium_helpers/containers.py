"""The nouns of the package: five frozen containers (what steps return together stands in ``results.py``).

Everything else is a function over these. A container never holds a CUDA tensor; axes are fixed: ``T H W`` for
movies, ``N`` for regions, points are ``(y, x)`` in pixels from the top left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from scipy import sparse

TRACE_KINDS = ("raw", "neuropil", "dff", "denoised", "spikes")
EVENT_COLUMNS = ("roi", "onset_s", "peak_s", "offset_s", "amplitude")

_Self = TypeVar("_Self", bound="_Container")


class ArrayLike3D(Protocol):
    """What is assumed of a movie's ``data``: a shape, a dtype and slicing along time."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class _Container:
    """Shared by the containers: a checked copy with some fields changed."""

    def replace(self: _Self, **changes: Any) -> _Self:
        """Return a validated copy with the named fields changed."""
        return replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Movie(_Container):
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
        _check_positive("fs", self.fs, "Hz")
        if self.pixel_um is not None:
            _check_positive("pixel_um", self.pixel_um, "micrometres")
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
class Shifts(_Container):
    """Corrections that bring each frame onto the template.

    ``corrected[y, x] = frame[y - dy, x - dx]``: the same sign as ``scipy.ndimage.shift(frame, (dy, dx))``.

    Attributes
    ----------
    yx : ndarray, shape (T, 2) or (T, gy, gx, 2), float32
        Correction in pixels, one a frame (rigid) or one a block centre of a gy x gx grid that spans the frame (piecewise).
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


@dataclass(frozen=True, eq=False)
class Footprints(_Container):
    """Where the cells are: overlapping, non-negative, sparse pixel weights.

    Attributes
    ----------
    weights : csr_matrix, shape (N, H*W), float32
        One row a cell, weights >= 0, at least one pixel each.
    shape : tuple of int
        Frame size (H, W).
    ids : ndarray of int, shape (N,)
        Unique names of the cells; 0..N-1 by default.
    """

    weights: sparse.csr_matrix
    shape: tuple[int, int]
    ids: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        weights = sparse.csr_matrix(self.weights, dtype=np.float32, copy=True)
        height, width = self.shape
        if weights.shape[1] != height * width:
            raise ValueError(f"Footprints weights need {height * width} columns for shape {self.shape}, got {weights.shape}")
        if weights.nnz and (not np.isfinite(weights.data).all() or weights.data.min() < 0):
            raise ValueError("Footprints weights must be finite and non-negative")
        weights.sum_duplicates()
        weights.eliminate_zeros()
        weights.sort_indices()
        empty = np.flatnonzero(np.diff(weights.indptr) == 0)
        if empty.size:
            raise ValueError(f"Footprints must not be empty; rows without a pixel: {empty[:5].tolist()}")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "shape", (int(height), int(width)))
        object.__setattr__(self, "ids", _check_ids(self.ids, weights.shape[0]))

    @classmethod
    def from_images(cls, images: np.ndarray, ids: Sequence[int] | None = None) -> Footprints:
        """Build footprints from an array of images or masks, shape (N, H, W)."""
        images = np.asarray(images)
        if images.ndim != 3:
            raise ValueError(f"images must be (N, H, W), got shape {images.shape}")
        flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
        return cls(sparse.csr_matrix(flat, dtype=np.float32), images.shape[1:], None if ids is None else np.asarray(ids))

    def __len__(self) -> int:
        return int(self.weights.shape[0])

    @property
    def masks(self) -> sparse.csr_matrix:
        """Boolean footprints, shape (N, H*W)."""
        return self.weights.astype(bool)

    @property
    def area_px(self) -> np.ndarray:
        """Pixels in each footprint, shape (N,)."""
        return np.diff(self.weights.indptr)

    @property
    def centroids(self) -> np.ndarray:
        """Weighted centres (y, x) in pixels, shape (N, 2)."""
        total = np.asarray(self.weights.sum(axis=1)).reshape(-1)
        y, x = np.divmod(np.arange(self.weights.shape[1]), self.shape[1])
        return np.column_stack([self.weights @ y, self.weights @ x]).reshape(-1, 2) / total[:, None]

    def image(self, index: int) -> np.ndarray:
        """Footprint number ``index`` (a row, not an id) as an image (H, W)."""
        return self.weights[index].toarray().reshape(self.shape)

    def select(self, rows: np.ndarray) -> Footprints:
        """Keep the given rows (indices or a boolean mask), with their ids."""
        rows = _as_rows(rows)
        return Footprints(self.weights[rows], self.shape, self.ids[rows])


@dataclass(frozen=True, eq=False)
class Traces(_Container):
    """What the cells did: one row of samples a cell.

    Attributes
    ----------
    values : ndarray, shape (N, T), float32
        Samples; the unit follows from ``kind``.
    fs : float
        Samples per second, Hz.
    kind : {"raw", "neuropil", "dff", "denoised", "spikes"}
        "raw" and "neuropil" in the movie's counts, "dff" as a fraction, "denoised" in the unit of its input, "spikes" in
        units of its input's amplitude a frame.
    ids : ndarray of int, shape (N,)
        Names of the cells, as in the footprints.
    """

    values: np.ndarray
    fs: float
    kind: str
    ids: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float32)
        if values.ndim != 2:
            raise ValueError(f"Traces values must be (N, T), got shape {values.shape}")
        _check_positive("fs", self.fs, "Hz")
        if self.kind not in TRACE_KINDS:
            raise ValueError(f"Traces kind must be one of {TRACE_KINDS}, got {self.kind!r}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "ids", _check_ids(self.ids, len(values)))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_frames(self) -> int:
        """Samples a trace, T."""
        return int(self.values.shape[1])

    @property
    def times_s(self) -> np.ndarray:
        """Time of each sample from the first one, seconds."""
        return np.arange(self.n_frames) / self.fs

    def select(self, rows: np.ndarray) -> Traces:
        """Keep the given rows (indices or a boolean mask), with their ids."""
        rows = _as_rows(rows)
        return self.replace(values=self.values[rows], ids=self.ids[rows])


@dataclass(frozen=True, eq=False)
class Events(_Container):
    """When something happened: a table of events sorted by onset.

    Attributes
    ----------
    table : DataFrame
        One row an event with at least ``roi, onset_s, peak_s, offset_s, amplitude``; onset <= peak <= offset.
    masks : tuple or None
        For events with a volume: per event ``(t0, y0, x0, boolean array)``.
    """

    table: pd.DataFrame
    masks: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        missing = [name for name in EVENT_COLUMNS if name not in self.table.columns]
        if missing:
            raise ValueError(f"Events table lacks the columns {missing}; needed are {list(EVENT_COLUMNS)}")
        if self.masks is not None and len(self.masks) != len(self.table):
            raise ValueError(f"Events masks must be one an event ({len(self.table)}), got {len(self.masks)}")
        onset, peak, offset = (self.table[name].to_numpy(dtype=float) for name in ("onset_s", "peak_s", "offset_s"))
        if not ((onset <= peak) & (peak <= offset)).all():
            raise ValueError("Events must satisfy onset_s <= peak_s <= offset_s in every row")
        order = np.argsort(onset, kind="stable")
        object.__setattr__(self, "table", self.table.iloc[order].reset_index(drop=True))
        if self.masks is not None:
            object.__setattr__(self, "masks", tuple(self.masks[i] for i in order))

    def __len__(self) -> int:
        return len(self.table)


def _check_positive(name: str, value: float, unit: str) -> None:
    """Raise unless ``value`` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number in {unit}, got {value!r}")
    if not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number of {unit} above 0, got {value!r}")


def _check_ids(ids: np.ndarray | None, n: int) -> np.ndarray:
    """Return ``n`` unique integer ids, 0..n-1 where none are given."""
    if ids is None:
        return np.arange(n)
    ids = np.asarray(ids)
    if ids.shape != (n,) or (n and not np.issubdtype(ids.dtype, np.integer)):
        raise ValueError(f"ids must be {n} integers, got shape {ids.shape} of {ids.dtype}")
    if len(np.unique(ids)) != n:
        raise ValueError("ids must be unique")
    return ids.astype(np.int64)


def _as_rows(rows: np.ndarray) -> np.ndarray:
    """Turn a boolean mask, an index array or an empty list into row indices."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
