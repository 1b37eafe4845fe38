"""Spike inference: a small dilated convolutional network that reads the indicator's kinetics from the recording itself.

A few samples at a time become channels, dilated convolutions look some seconds back and ahead, and numbers that describe the
whole recording (rate, noise, autocorrelation, mean transient) shift and scale the channels of every block (Perez et al. 2018,
arXiv:1709.07871). That noise matters for generalisation is the finding of Rupprecht et al. 2021
(doi:10.1038/s41593-021-00895-5); the output is the rate of a Poisson process, so it is calibrated and needs no threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from calcium_helpers.models.spike_features import N_FEATURES


@dataclass(frozen=True)
class SpikeNetConfig:
    """Size of the network.

    Attributes
    ----------
    channels : int
        Channels of every block.
    dilations : tuple of int
        One residual block each: steps of ``fold`` samples between the taps of its convolution.
    fold : int
        Samples that are folded into the channels of one step.
    hidden : int
        Units between the description of a recording and the blocks.
    described : bool
        Whether the description of the recording is used at all.
    """

    channels: int = 48
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4)
    fold: int = 4
    hidden: int = 32
    dropout: float = 0.1
    described: bool = True
    members: int = 1
    noise_range: tuple[float, float] = (0.0, float("inf"))

    def __post_init__(self) -> None:
        object.__setattr__(self, "dilations", tuple(self.dilations))  # JSON knows lists only
        object.__setattr__(self, "noise_range", tuple(self.noise_range))

    @property
    def reach(self) -> int:
        """Samples on either side that one output depends on."""
        return self.fold * (sum(self.dilations) + 2)


class SpikeNet(nn.Module):
    """Expected number of spikes in each sample: the mean of ``config.members`` networks of one architecture.

    Parameters
    ----------
    config : SpikeNetConfig, optional
    """

    def __init__(self, config: SpikeNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or SpikeNetConfig()
        self.members = nn.ModuleList(_Member(self.config) for _ in range(self.config.members))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Infer spikes of a batch.

        Parameters
        ----------
        z : Tensor, shape (B, T)
            Fluorescence in units of its noise, from `standardise`; T a multiple of ``config.fold``.
        features : Tensor, shape (B, N_FEATURES)
            From `describe`.

        Returns
        -------
        Tensor, shape (B, T)
            Expected spikes a sample.
        """
        # In units of the recording's own spread too: of bright ones the spikes are not all alike.
        both = torch.stack([torch.asinh(0.5 * z), (z * torch.exp(-features[:, 3:4])).clamp(-20, 20)], dim=1)
        n, n_samples = z.shape
        x = both.reshape(n, 2, -1, self.config.fold).permute(0, 1, 3, 2).reshape(n, 2 * self.config.fold, 1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        found = torch.stack([F.softplus(member(x, features)) for member in self.members]).mean(dim=0)
        return found[:, :, 0].permute(0, 2, 1).reshape(n, n_samples)


class _Member(nn.Module):
    """One network."""

    def __init__(self, config: SpikeNetConfig) -> None:
        super().__init__()
        self.config = config
        width, n = config.channels, len(config.dilations)
        # Convolutions of images one pixel high: with channels last they are several times faster than those of lines.
        self.stem = nn.Conv2d(2 * config.fold, width, (1, 3), padding=(0, 1))
        self.mix = nn.ModuleList(nn.Conv2d(width, width, (1, 3), padding=(0, d), dilation=(1, d)) for d in config.dilations)
        self.out = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in config.dilations)
        self.head = nn.Conv2d(width, config.fold, 1)
        film = nn.Linear(config.hidden, 2 * width * n)
        self.film = nn.Sequential(nn.Linear(N_FEATURES, config.hidden), nn.GELU(), nn.Dropout(config.dropout), film)
        with torch.no_grad():
            # Blocks start as little more than nothing, recordings as all alike, rates as low.
            for layer in (film, *self.out):
                layer.weight.mul_(0.1)  # type: ignore[operator]
            film.bias.zero_()
            self.head.bias.fill_(-3.0)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        config, n = self.config, len(x)
        x = self.stem(x)
        film = self.film(features if config.described else torch.zeros_like(features))
        blocks = film.reshape(n, len(self.mix), 2, -1, 1, 1).unbind(1)
        for mix, out, block in zip(self.mix, self.out, blocks, strict=True):
            y = mix(F.relu(x))
            # In place where no gradient needs what was there before: new memory costs more than the multiplication.
            y = y * (1 + block[:, 0]) if torch.is_grad_enabled() else y.mul_(1 + block[:, 0])
            y = F.relu(y.add_(block[:, 1]), inplace=True)
            x = out(y).add_(x)
        return self.head(F.relu(x))
