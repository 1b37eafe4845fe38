"""StarDist-3D for events in a movie: "3D" means T x H x W.

After Weigert et al. 2020 (arXiv:1908.03636): every voxel says how central to an event it is, and how far that event reaches
from it along each of some rays. So events that touch stay two, and each has a whole volume from a single voxel's answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from calcium_helpers.containers import Events, Movie
from calcium_helpers.containers._base import check_positive
from calcium_helpers.models.msct.tiles import CORE, Part, run_tiles
from calcium_helpers.models.unet3d import UNet3D, UNet3DConfig
from calcium_helpers.transients.polyhedra import Rays, golden_rays, render, suppress
from calcium_helpers.transients.volumes import events_from_label

LEAST = 0.05  # probability of a candidate


@dataclass(frozen=True)
class StarDist3DConfig:
    """Size of the network, and its rays.

    Attributes
    ----------
    widths : tuple of int
        Channels of each level, as in `UNet3DConfig`.
    channels : int
        Of the input.
    n_rays : int
        Rays from each voxel.
    extents : tuple of float
        Usual proportions of an event (frames, rows, columns) that the rays are spread over.
    """

    widths: tuple[int, ...] = (8, 16, 32)
    channels: int = 3
    n_rays: int = 48
    extents: tuple[float, float, float] = (1.5, 1.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON knows lists only
        object.__setattr__(self, "extents", tuple(self.extents))
        check_positive("n_rays", self.n_rays, "")


class StarDist3D(nn.Module):
    """Centrality and distances to the edge of each voxel's event.

    Parameters
    ----------
    config : StarDist3DConfig, optional
    """

    def __init__(self, config: StarDist3DConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StarDist3DConfig()
        self.trunk = UNet3D(UNet3DConfig(config.widths, config.channels, 1 + config.n_rays))
        self.step, self.reach = self.trunk.step, self.trunk.reach

    @property
    def rays(self) -> Rays:
        """Directions of the distances."""
        return golden_rays(self.config.n_rays, self.config.extents)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See a movie (B, C, T, H, W): logits of centrality, then what the distances are the softplus of, (B, 1 + R, T, H, W).

        Distances are needed at few voxels, and to compute them at all takes longer than all else.
        """
        out: torch.Tensor = self.trunk(x)
        return out


class Candidates(NamedTuple):
    """Voxels that may be the centre of an event: ``points`` (N, 3), ``scores`` (N,), ``distances`` (N, R)."""

    points: np.ndarray
    scores: np.ndarray
    distances: np.ndarray


def find_candidates(
    model: StarDist3D, movie: Movie, *, core: tuple[int, int, int] = CORE, device: str = "cpu", progress: bool = False
) -> Candidates:
    """Collect the voxels that may be the centre of an event: at most one, the most central, of each 2 x 2 x 2.

    Parameters
    ----------
    model : StarDist3D
    movie : Movie
        Normalised.
    core : tuple of int
        Frames, rows and columns at once: it changes time and memory, not the result.
    device : str
    progress : bool

    Returns
    -------
    Candidates
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def collect(part: Part, seen: np.ndarray) -> None:
        at = _best_of_blocks(seen[0])
        at = at[seen[0][tuple(at.T)] > np.log(LEAST / (1 - LEAST))]
        corner = np.array([piece.start for piece in part])
        parts.append((at + corner, seen[0][tuple(at.T)], np.logaddexp(0, seen[1:, *at.T].T)))

    run_tiles(model, movie, collect, core=core, device=device, progress=progress)
    points, logits, distances = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Candidates(points, 1 / (1 + np.exp(-logits)), distances)


def _best_of_blocks(values: np.ndarray) -> np.ndarray:
    """Find the highest voxel of each block of 2 x 2 x 2, (N, 3)."""
    shape = -(-np.array(values.shape) // 2)
    even = np.pad(values, [(0, -size % 2) for size in values.shape], constant_values=-np.inf)
    t, y, x = shape
    blocks = even.reshape(t, 2, y, 2, x, 2).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8)
    corners = 2 * np.stack(np.unravel_index(np.arange(len(blocks)), shape), axis=1)
    return corners + np.stack(np.unravel_index(blocks.argmax(axis=1), (2, 2, 2)), axis=1)


def predict_instances(
    model: StarDist3D, movie: Movie, *, max_overlap: float = 0.3, core: tuple[int, int, int] = CORE, device: str = "cpu",
    progress: bool = False,
) -> Events:  # fmt: skip
    """Find events and their volumes.

    Parameters
    ----------
    model : StarDist3D
    movie : Movie
        Normalised.
    max_overlap : float
        Share of the smaller volume that two events may have in common.
    core, device, progress
        As in `find_candidates`.

    Returns
    -------
    Events
        With masks, and a ``score``: the centrality of the voxel that drew the event.
    """
    found = find_candidates(model, movie, core=core, device=device, progress=progress)
    rays = model.rays
    kept = suppress(found.distances, found.points, found.scores, rays, max_overlap=max_overlap)
    label = render(found.distances[kept], found.points[kept], rays, movie.shape)
    events = events_from_label(label, movie)
    scores = found.scores[kept][events.table["label"].to_numpy() - 1]
    return events.replace(table=events.table.assign(score=scores))
