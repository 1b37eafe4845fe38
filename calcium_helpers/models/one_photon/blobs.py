"""The learnable coordinates and how they are rendered: soft blobs, seen through the same high-pass as the movie.

A coordinate is a place (y, x), two radii, an angle and an exponent that makes its edge steeper than a Gaussian's. Rendered
with a blur it reaches over several cell diameters, so that gradients do as well. What the high-pass leaves of a blob is
known in closed form, since a blurred blob is a wider one: the movie's smooth background costs the fit nothing, and the
dark ring that the high-pass draws around a cell is not taken for a part of it.

Letters: K coordinates; h, w rows and columns of the window that each is rendered in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

RADIUS = 0.3
"""Radius (sd) of a fresh coordinate, in diameters: where a Gaussian falls to a quarter, it is a diameter wide."""
RADII = (0.12, 0.8)
"""Least and greatest radius, in diameters."""
STEEPEST = 3.0
SLIMMEST = 0.8
"""A blob's long radius is at most three times its short one."""
SHAPE = ("log_radius", "stretch", "steepness")
WINDOW = 2.0
"""Half the side of a window, in diameters: beyond it a blob and its dark ring are faint."""


class Scene(NamedTuple):
    """What blobs are seen through, as the whitened movie is: ``share`` and ``gain`` (1 / noise), (H, W); px of ``factor``."""

    share: Tensor
    gain: Tensor
    glow_px: float
    factor: int


class Coordinates(nn.Module):
    """K coordinates with their shapes, all learned.

    Parameters
    ----------
    yx : array-like, shape (K, 2)
        Where they start, px.
    diameter_px : float
        Of a cell; lengths inside are in this unit, so that one learning rate suits all of them.
    """

    def __init__(self, yx: np.ndarray | Tensor, *, diameter_px: float) -> None:
        super().__init__()
        yx = torch.as_tensor(yx, dtype=torch.float32).reshape(-1, 2)
        self.diameter_px = float(diameter_px)
        self.place = nn.Parameter(yx / self.diameter_px)
        self.log_radius = nn.Parameter(torch.full((len(yx),), float(np.log(RADIUS))))
        self.stretch = nn.Parameter(torch.zeros(len(yx), 2))  # of the long axis, as (cos, sin) of twice its angle
        self.steepness = nn.Parameter(torch.zeros(len(yx)))

    def __len__(self) -> int:
        """Count the coordinates."""
        return len(self.place)

    @property
    def yx(self) -> Tensor:
        """Places, px, shape (K, 2)."""
        return self.place * self.diameter_px

    def covariances(self) -> Tensor:
        """Second moments (yy, xx, yx) of the blobs' Gaussians, px^2, shape (K, 3)."""
        length = torch.linalg.vector_norm(self.stretch, dim=1, keepdim=True).clamp_min(1e-6)
        along, across = (self.stretch / length * SLIMMEST * torch.tanh(length)).unbind(1)
        size = (self.log_radius.exp().clamp(*RADII) * self.diameter_px) ** 2
        return torch.stack([size * (1 - along), size * (1 + along), size * across], 1)

    def exponents(self) -> Tensor:
        """1 for a Gaussian, more for a steeper edge, shape (K,)."""
        return 1 + (STEEPEST - 1) * torch.sigmoid(self.steepness - 3)

    def select(self, rows: np.ndarray) -> Coordinates:
        """Copy the coordinates at the given rows."""
        return self._copy(self.yx[rows], {name: getattr(self, name)[rows] for name in SHAPE})

    def rescale(self, factor: int) -> Coordinates:
        """Copy the coordinates into a frame whose pixels are ``factor`` times smaller."""
        places = (self.yx + 0.5) * factor - 0.5
        return self._copy(places, {name: getattr(self, name) for name in SHAPE}, diameter_px=self.diameter_px * factor)

    def join(self, other: Coordinates) -> Coordinates:
        """Copy these coordinates followed by others."""
        shapes = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in SHAPE}
        return self._copy(torch.cat([self.yx, other.yx]), shapes)

    @torch.no_grad()
    def _copy(self, yx: Tensor, shapes: dict[str, Tensor], *, diameter_px: float | None = None) -> Coordinates:
        copy = Coordinates(yx.detach(), diameter_px=diameter_px or self.diameter_px).to(self.place.device)
        for name, values in shapes.items():
            getattr(copy, name).copy_(values)
        return copy


def window_shape(diameter_px: float, blur_px: float, scene: Scene) -> tuple[int, int]:
    """Rows and columns of the windows, px of the pooled frame."""
    side = 2 * int(np.ceil((WINDOW * diameter_px + 2 * blur_px) / scene.factor)) + 1
    return min(side, scene.share.shape[0]), min(side, scene.share.shape[1])


def window_corners(yx: Tensor, shape: tuple[int, int], scene: Scene) -> Tensor:
    """Top left corners (K, 2) of windows with the coordinates in their middle, moved inside the frame."""
    size = torch.tensor(shape, device=yx.device)
    frame = torch.tensor(scene.share.shape, device=yx.device)
    middle = (yx.detach() + 0.5) / scene.factor - 0.5
    corners = (middle - torch.div(size, 2, rounding_mode="floor")).round().long()
    return torch.minimum(corners.clamp_min(0), frame - size)


def render(coordinates: Coordinates, corners: Tensor, shape: tuple[int, int]) -> Tensor:
    """Draw blobs of peak 1 in windows (K, h, w) of the full resolution, without the high-pass."""
    offsets = _offsets(coordinates.yx, corners, shape, 1)
    return _profile(*offsets, coordinates.covariances(), coordinates.exponents())


def render_seen(coordinates: Coordinates, corners: Tensor, shape: tuple[int, int], scene: Scene, *, blur_px: float) -> Tensor:
    """Draw blobs as the whitened movie shows them, in windows (K, h, w) of the pooled frame, with unit norm."""
    offsets = _offsets(coordinates.yx, corners, shape, scene.factor)
    round_ = torch.tensor([1.0, 1.0, 0.0], device=corners.device)
    wide = coordinates.covariances() + (blur_px**2 + (scene.factor**2 - 1) / 12) * round_  # pooling blurs, too
    exponent = coordinates.exponents()
    blob = _profile(*offsets, wide, exponent)
    mass = torch.exp(torch.lgamma(1 + 1 / exponent) + (1 / exponent - 1) * np.log(2.0)) * _area(wide)
    ring = torch.zeros_like(blob)
    for times, weight in ((1, 2.0), (2, -1.0)):  # the glow is twice the blur, less the blur of the blur
        wider = wide + times * scene.glow_px**2 * round_
        ring = ring + weight * (mass / _area(wider))[:, None, None] * _profile(*offsets, wider)
    share, gain = (crop(image[None], corners, shape)[:, 0] for image in (scene.share, scene.gain))
    seen = (blob - share * ring) * gain
    return seen / torch.linalg.vector_norm(seen, dim=(1, 2), keepdim=True).clamp_min(1e-9)


def crop(frames: Tensor, corners: Tensor, shape: tuple[int, int]) -> Tensor:
    """Cut windows (K, B, h, w) out of frames (B, H, W)."""
    cuts = [frames[:, y : y + shape[0], x : x + shape[1]] for y, x in corners.tolist()]
    return torch.stack(cuts) if cuts else frames.new_zeros((0, len(frames), *shape))


def _offsets(yx: Tensor, corners: Tensor, shape: tuple[int, int], factor: int) -> tuple[Tensor, Tensor]:
    """From each coordinate to the rows (K, h, 1) and columns (K, 1, w) of its window, px of the full resolution."""
    y, x = (
        (torch.arange(n, device=yx.device)[None] + corners[:, axis, None] + 0.5) * factor - 0.5 - yx[:, axis, None]
        for axis, n in enumerate(shape)
    )
    return y[:, :, None], x[:, None, :]


def _profile(y: Tensor, x: Tensor, covariance: Tensor, exponent: Tensor | None = None) -> Tensor:
    """exp(-1/2 d^(2 exponent)), d the distance in radii; a Gaussian without an exponent."""
    yy, xx, yx = (part[:, None, None] for part in covariance.unbind(1))
    squared = (xx * y**2 + yy * x**2 - 2 * yx * y * x) / (yy * xx - yx**2)
    return torch.exp(-0.5 * (squared if exponent is None else squared.clamp_min(1e-6) ** exponent[:, None, None]))


def _area(covariance: Tensor) -> Tensor:
    return (covariance[:, 0] * covariance[:, 1] - covariance[:, 2] ** 2).sqrt()
