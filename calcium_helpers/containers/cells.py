"""Containers of cells: where they are, what they did, and when something happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.containers._base import Container, as_rows, check_ids, check_positive

TRACE_KINDS = ("raw", "neuropil", "dff", "denoised", "spikes")
EVENT_COLUMNS = ("roi", "onset_s", "peak_s", "offset_s", "amplitude")


@dataclass(frozen=True, eq=False)
class Footprints(Container):
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
        object.__setattr__(self, "ids", check_ids(self.ids, weights.shape[0]))

    @classmethod
    def from_images(cls, images: np.ndarray, ids: Sequence[int] | None = None) -> Footprints:
        """Build footprints from an array of images or masks, shape (N, H, W)."""
        images = np.asarray(images)
        if images.ndim != 3:
            raise ValueError(f"images must be (N, H, W), got shape {images.shape}")
        flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
        return cls(sparse.csr_matrix(flat, dtype=np.float32), images.shape[1:], check_ids(ids, len(images)))

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
        rows = as_rows(rows, len(self))
        return Footprints(self.weights[rows], self.shape, self.ids[rows])


@dataclass(frozen=True, eq=False)
class Traces(Container):
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
        check_positive("fs", self.fs, "Hz")
        if self.kind not in TRACE_KINDS:
            raise ValueError(f"Traces kind must be one of {TRACE_KINDS}, got {self.kind!r}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "ids", check_ids(self.ids, len(values)))

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
        rows = as_rows(rows, len(self))
        return self.replace(values=self.values[rows], ids=self.ids[rows])


@dataclass(frozen=True, eq=False)
class Events(Container):
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

    def select(self, rows: np.ndarray) -> Events:
        """Keep the given rows (indices or a boolean mask), in order of onset."""
        rows = as_rows(rows, len(self))
        return Events(self.table.iloc[rows], None if self.masks is None else tuple(self.masks[i] for i in rows))
