"""3D U-Net for events in a movie: "3D" means T x H x W, so that a kernel sees space and time at once.

After Cicek et al. 2016 (arXiv:1606.06650): what is small is found at full resolution, with what surrounds it seen from
coarser levels. Once trained, its normalisation is a constant: what a voxel is called depends on its surroundings alone, so
that a movie of any size can be cut into tiles.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from calcium_helpers.containers._base import check_positive

PUBLISHED_WIDTHS = (8, 16, 32, 64, 128, 256)
"""Of the network of Beaupre et al. 2025 (doi:10.1039/D4DD00197D)."""


RARE = -4.0  # logit that an untrained network gives: to learn first that events are rare would take hundreds of steps


@dataclass(frozen=True)
class UNet3DConfig:
    """Size of the network.

    Attributes
    ----------
    widths : tuple of int
        Channels of each level, the finest first; each level halves frames, rows and columns.
    channels : int
        Of the input.
    outputs : int
        Of the last layer.
    """

    widths: tuple[int, ...] = (8, 16, 32)
    channels: int = 3
    outputs: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON knows lists only
        if not self.widths:
            raise ValueError("widths must hold at least one level, got none")
        for width in (*self.widths, self.channels, self.outputs):
            check_positive("widths, channels and outputs", width, "")


class UNet3D(nn.Module):
    """Logits of what a voxel is from the voxels around it.

    Parameters
    ----------
    config : UNet3DConfig, optional
    """

    def __init__(self, config: UNet3DConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UNet3DConfig()
        widths = config.widths
        self.down = nn.ModuleList(_Pair(n_in, n_out) for n_in, n_out in zip((config.channels, *widths), widths, strict=False))
        self.up = nn.ModuleList(_Pair(fine + coarse, fine) for fine, coarse in itertools.pairwise(widths))
        self.out = nn.Conv3d(widths[0], config.outputs, 1)
        with torch.no_grad():
            self.out.bias[0] = RARE  # type: ignore[index]

    @property
    def step(self) -> int:
        """Voxels a side of the coarsest level: tiles must begin at multiples of it for the same result."""
        return int(2 ** (len(self.config.widths) - 1))

    @property
    def reach(self) -> int:
        """How far, in voxels along each axis, a voxel's answer may depend on others; a multiple of ``step``."""
        sides = [2 * 2**level for level in range(len(self.config.widths))]
        far = 2 * sum(sides[:-1]) + sides[-1] + self.step
        return -(-far // self.step) * self.step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See a movie.

        Parameters
        ----------
        x : Tensor, shape (B, C, T, H, W)

        Returns
        -------
        Tensor, shape (B, outputs, T, H, W)
            Logits.
        """
        shape = x.shape[2:]
        x = F.pad(x, [n for size in reversed(shape) for n in (0, -size % self.step)])
        x = x.to(memory_format=torch.channels_last_3d)  # twice as fast on processors
        fine = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool3d(x, 2) if level else x)
            fine.append(x)
        fine.pop()
        for block in reversed(self.up):  # what is used is let go of: large tiles would need half as much again
            x = block(fine.pop(), F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.out(x)[:, :, : shape[0], : shape[1], : shape[2]]


class _Pair(nn.Sequential):
    """Two convolutions, each normalised over the batch; inputs count as one with the channels of all."""

    def __init__(self, n_in: int, n_out: int) -> None:
        layers: list[nn.Module] = []
        for n in (n_in, n_out):
            layers += [nn.Conv3d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm3d(n_out), nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        # Each part with its share of the weights: joined, they would be the largest array of all.
        weights = self[0].weight.split([part.shape[1] for part in parts], dim=1)  # type: ignore[operator]
        x = F.conv3d(parts[0], weights[0], padding=1)
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            x += F.conv3d(part, weight, padding=1)
        for layer in list(self)[1:]:
            x = layer(x)
        return x
