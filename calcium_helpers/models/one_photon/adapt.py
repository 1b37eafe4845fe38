"""K adapts: coordinates on one cell are merged, those on none dropped, long ones split, and new ones added."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse import csgraph
from torch import Tensor

from calcium_helpers.models.one_photon.blobs import RADII, Coordinates
from calcium_helpers.models.one_photon.learn import TOO_NEAR, Fit

LEAST_PEAK = 4.0
"""Height of the strongest transients over the noise that a coordinate needs to stay."""
LEAST_LIKENESS = 0.5
"""Correlation of a blob with the image of its activity that a coordinate needs to stay."""
OVERLAP, CORRELATION = 0.4, 0.7
"""Blobs that overlap and whose activities correlate more than this are one cell."""
SAME = 0.65
"""Blobs that overlap more than this, or are nearer than ``TOO_NEAR``, are one cell whatever their activity."""
SLIM = 1.9
"""A long radius over the short one that may be two cells side by side."""
HALF_WAY = 0.8
SLIMMEST_CELL = 2.5
"""A long radius over the short one that no cell has."""
NEW_APART, NEW_FROM_OLD = 0.5, 0.3
"""New coordinates stand this many diameters apart, and from places that were tried."""


class Verdict(NamedTuple):
    """What becomes of each coordinate, bool (K,)."""

    merged: np.ndarray
    dropped: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """Rows of the coordinates that stay."""
        return np.flatnonzero(~(self.merged | self.dropped))


def judge(coordinates: Coordinates, fit: Fit, inside: np.ndarray, *, split: np.ndarray | bool = False) -> Verdict:
    """Say which coordinates are another's doubles, and which show nothing that looks like a cell ``inside`` (H, W).

    Where one was ``split`` before, bool (K,), and is too slim still, it is a vessel's edge.
    """
    merged = find_doubles(coordinates, fit)
    short, long = blob_radii(coordinates).T
    odd = (np.sqrt(short * long) > 0.95 * RADII[1] * coordinates.diameter_px) | (split & (long > SLIMMEST_CELL * short))
    weak = (mean_peak(fit.activity) < LEAST_PEAK) | (likeness(fit) < LEAST_LIKENESS)
    return Verdict(merged, (weak | odd | find_outside(coordinates, inside)) & ~merged)


def find_outside(coordinates: Coordinates, inside: np.ndarray) -> np.ndarray:
    """Tell which coordinates have left the places where cells may be (H, W), bool (K,)."""
    at = np.rint(coordinates.yx.detach().cpu().numpy()).astype(int)
    within = ((at >= 0) & (at < inside.shape)).all(axis=1)
    within[within] = inside[tuple(at[within].T)]
    return ~within


def find_doubles(coordinates: Coordinates, fit: Fit) -> np.ndarray:
    """Tell which coordinates sit on a cell that a stronger one sits on, bool (K,)."""
    if len(fit.traces) < 2:
        return np.zeros(len(fit.traces), dtype=bool)
    overlap = (fit.rows @ fit.rows.T).toarray()
    alike = (overlap > OVERLAP) & (_correlations(fit.activity) > CORRELATION)
    near = torch.cdist(coordinates.place, coordinates.place).detach().cpu().numpy() < TOO_NEAR
    _, label = csgraph.connected_components(alike | near | (overlap > SAME), directed=False)
    order = np.lexsort((-np.linalg.norm(fit.activity, axis=1), label))
    strongest = order[np.unique(label[order], return_index=True)[1]]
    return ~np.isin(np.arange(len(label)), strongest)


def _correlations(activity: np.ndarray) -> np.ndarray:
    centred = activity - activity.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-9
    return centred @ centred.T


def likeness(fit: Fit) -> np.ndarray:
    """Correlation (K,) of each blob with the image that its activity leaves."""
    power = torch.linalg.vector_norm(fit.images, dim=(1, 2)).clamp_min(1e-9)
    return ((fit.seen * fit.images).sum(dim=(1, 2)) / power).cpu().numpy()


def mean_peak(activity: np.ndarray) -> np.ndarray:
    """Mean of the three highest bins, (K,)."""
    return np.sort(activity, axis=1)[:, -3:].mean(axis=1)


@torch.no_grad()
def blob_radii(coordinates: Coordinates) -> np.ndarray:
    """Short and long radius of each blob, px, (K, 2)."""
    yy, xx, yx = coordinates.covariances().double().unbind(1)
    matrices = torch.stack([torch.stack([yy, yx], -1), torch.stack([yx, xx], -1)], -2)
    return torch.linalg.eigvalsh(matrices).clamp_min(1e-9).sqrt().cpu().numpy()


@torch.no_grad()
def halves(coordinates: Coordinates) -> Tensor:
    """Places (K, 2, 2) of two cells that a long blob may be: ``HALF_WAY`` long radii to either side of its centre."""
    yy, xx, yx = coordinates.covariances().unbind(1)
    angle = 0.5 * torch.atan2(2 * yx, yy - xx)  # of the long axis, from y
    long = torch.from_numpy(blob_radii(coordinates)[:, 1]).to(coordinates.yx)
    step = HALF_WAY * long[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return torch.stack([coordinates.yx + step, coordinates.yx - step], 1)


def find_slim(coordinates: Coordinates) -> np.ndarray:
    """Tell which blobs are so long that they may be two cells, bool (K,)."""
    short, long = blob_radii(coordinates).T
    return long > SLIM * short


def new_places(score: np.ndarray, tried: np.ndarray, *, diameter_px: float, threshold: float) -> np.ndarray:
    """Local maxima (N, 2) of a score (H, W) above a threshold, away from places (M, 2) that were tried."""
    size = 2 * max(1, round(NEW_APART * diameter_px)) + 1
    places = np.argwhere((score == ndimage.maximum_filter(score, size=size)) & (score > threshold)).astype(np.float32)
    if len(tried) and len(places):
        distance = np.linalg.norm(places[:, None] - tried[None], axis=-1).min(axis=1)
        places = places[distance > NEW_FROM_OLD * diameter_px]
    return places
