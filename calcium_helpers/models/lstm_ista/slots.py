"""From the network's slots to components: footprints on the frame, those of one cell made one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse

from calcium_helpers.models.lstm_ista.network import WINDOW, Output
from calcium_helpers.models.lstm_ista.zoom import Zoom

LEAST_PRESENCE = 0.1  # slots below this are not looked at any further
FAINT = 0.05  # probability below which a pixel does not count at all
INSIDE = 0.5  # probability from which a pixel belongs to a footprint
LEAST_PX = 8
SAME_OVERLAP = 0.5  # footprints that share more than this (IoU) are of one cell,
SAME_PART = 0.6  # those of which one lies with so much of its area on the other,
ALIKE_OVERLAP, ALIKE = 0.15, 0.8  # and those that share this much (IoU) if their traces correlate so much


class Slots(NamedTuple):
    """Candidates: ``presence`` (N,), ``footprints`` (N, H*W) of probabilities."""

    presence: np.ndarray
    footprints: sparse.csr_matrix

    def select(self, rows: np.ndarray) -> Slots:
        """Keep the given rows."""
        return Slots(self.presence[rows], self.footprints[rows])


def read_slots(output: Output, index: int, *, core: tuple[slice, slice], zoom: Zoom | None = None) -> Slots:
    """Take the slots of one movie of a batch that may hold a cell.

    Parameters
    ----------
    output : Output
        Of the network.
    index : int
        Movie in the batch.
    core : tuple of slice
        Only slots whose centres lie in this part of the movie, in pixels before zooming.
    zoom : Zoom, optional
        How the movie was zoomed.

    Returns
    -------
    Slots
        With footprints on the movie as it was before zooming.
    """
    presence = torch.sigmoid(output.presence[index]).cpu().numpy()
    shape = tuple(output.attention.shape[1:])
    zoom = zoom or Zoom.of(shape, 1.0)
    corners = output.corners.cpu().numpy()
    keep = presence > LEAST_PRESENCE
    for centre, part in zip((corners.T + WINDOW / 2) / zoom.factor, core, strict=True):
        keep &= (centre >= part.start) & (centre < part.stop)
    rows = [sparse.csr_matrix((0, shape[0] * shape[1]), dtype=np.float32)]
    drawn = torch.sigmoid(output.footprints[index][torch.from_numpy(keep)]).cpu().numpy()
    for corner, image in zip(corners[keep], drawn, strict=True):
        y, x = np.nonzero(image > FAINT)
        value, y, x = image[y, x], y + corner[0], x + corner[1]
        seen = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        columns = y[seen] * shape[1] + x[seen]
        rows.append(sparse.csr_matrix((value[seen], columns, [0, len(columns)]), shape=(1, shape[0] * shape[1])))
    footprints = zoom.footprints(sparse.csr_matrix(sparse.vstack(rows)))
    footprints.data[footprints.data <= INSIDE] = 0
    footprints.eliminate_zeros()
    large = np.diff(footprints.indptr) >= LEAST_PX
    return Slots(presence[keep][large], footprints[large])


def move(footprints: sparse.csr_matrix, part: tuple[slice, slice], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Put footprints on a part of the frame into the frame."""
    y, x = np.divmod(footprints.indices, part[1].stop - part[1].start)
    columns = (y + part[0].start) * shape[1] + x + part[1].start
    return sparse.csr_matrix((footprints.data, columns, footprints.indptr), shape=(footprints.shape[0], shape[0] * shape[1]))


def join_slots(parts: list[Slots], shape: tuple[int, int]) -> Slots:
    """Put candidates together, none included."""
    empty = Slots(np.zeros(0, np.float32), sparse.csr_matrix((0, shape[0] * shape[1]), dtype=np.float32))
    presence = np.concatenate([part.presence for part in (empty, *parts)])
    return Slots(presence, sparse.csr_matrix(sparse.vstack([part.footprints for part in (empty, *parts)]), dtype=np.float32))


def one_a_cell(slots: Slots, movie: np.ndarray) -> np.ndarray:
    """Rows of the slots to keep, the surest of each cell; traces are of the whitened movie (B, H, W)."""
    n = len(slots.presence)
    if not n:
        return np.zeros(0, dtype=int)
    masks = slots.footprints.astype(bool).astype(np.float32)
    common = (masks @ masks.T).toarray()
    area = common.diagonal()
    iou = common / (area[:, None] + area - common)
    flat = movie.reshape(len(movie), -1)
    traces = np.asarray(slots.footprints @ flat.T)
    alike = np.corrcoef(traces) if n > 1 else np.ones((1, 1))
    part = common / np.minimum(area[:, None], area)
    same = (iou > SAME_OVERLAP) | (part > SAME_PART) | ((iou > ALIKE_OVERLAP) & (alike > ALIKE))
    kept: list[int] = []
    for row in np.argsort(-slots.presence, kind="stable").tolist():
        if not same[row, kept].any():
            kept.append(row)
    return np.sort(np.array(kept, dtype=int))
