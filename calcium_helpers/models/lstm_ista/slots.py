"""From the network's slots to components: footprints on the frame, those of one cell made one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse

from calcium_helpers.models.lstm_ista.network import WINDOW, Output

LEAST_PRESENCE = 0.1  # slots below this are not looked at any further
INSIDE = 0.5  # probability from which a pixel belongs to a footprint
LEAST_PX = 8
SAME_OVERLAP = 0.5  # footprints that share more than this (IoU) are of one cell,
ALIKE_OVERLAP, ALIKE = 0.15, 0.8  # and those that share this much if their traces correlate so much


class Slots(NamedTuple):
    """Candidates: ``presence`` (N,), ``footprints`` (N, H*W) of probabilities."""

    presence: np.ndarray
    footprints: sparse.csr_matrix

    def select(self, rows: np.ndarray) -> Slots:
        """Keep the given rows."""
        return Slots(self.presence[rows], self.footprints[rows])


def read_slots(
    output: Output,
    index: int,
    *,
    shape: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
    core: tuple[slice, slice] | None = None,
) -> Slots:
    """Take the slots of one movie of a batch that may hold a cell.

    Parameters
    ----------
    output : Output
        Of the network.
    index : int
        Movie in the batch.
    shape : tuple of int
        The whole frame, px.
    origin : tuple of int
        Where the movie's top left corner lies in it.
    core : tuple of slice, optional
        Only slots whose centres lie in this part of the frame.

    Returns
    -------
    Slots
    """
    presence = torch.sigmoid(output.presence[index]).cpu().numpy()
    corners = output.corners.cpu().numpy() + origin
    keep = presence > LEAST_PRESENCE
    if core is not None:
        centres = corners + WINDOW // 2
        for axis, part in enumerate(core):
            keep &= (centres[:, axis] >= part.start) & (centres[:, axis] < part.stop)
    rows, kept = [], []
    drawn = torch.sigmoid(output.footprints[index][torch.from_numpy(keep)]).cpu().numpy()
    for at, corner, image in zip(np.flatnonzero(keep), corners[keep], drawn, strict=True):
        y, x = np.nonzero(image > INSIDE)
        value = image[y, x]
        y, x = y + corner[0], x + corner[1]
        seen = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        if np.count_nonzero(seen) >= LEAST_PX:
            columns = y[seen] * shape[1] + x[seen]
            rows.append(
                sparse.csr_matrix((value[seen], (np.zeros(len(columns), int), columns)), shape=(1, shape[0] * shape[1]))
            )
            kept.append(at)
    return Slots(presence[kept], stack_rows(rows, shape))


def join_slots(parts: list[Slots], shape: tuple[int, int]) -> Slots:
    """Put the candidates of all tiles together."""
    presence = np.concatenate([part.presence for part in parts]) if parts else np.zeros(0, np.float32)
    return Slots(presence, stack_rows([part.footprints for part in parts], shape))


def stack_rows(rows: list[sparse.csr_matrix], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Stack sparse rows, none included."""
    empty = sparse.csr_matrix((0, shape[0] * shape[1]), dtype=np.float32)
    return sparse.csr_matrix(sparse.vstack([empty, *rows]), dtype=np.float32)


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
    same = (iou > SAME_OVERLAP) | ((iou > ALIKE_OVERLAP) & (alike > ALIKE))
    kept: list[int] = []
    for row in np.argsort(-slots.presence, kind="stable").tolist():
        if not same[row, kept].any():
            kept.append(row)
    return np.sort(np.array(kept, dtype=int))
