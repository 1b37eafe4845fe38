"""Generator and critic of a conditional Wasserstein GAN in one dimension (Gulrajani et al. 2017, arXiv:1704.00028)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from calcium_helpers.models.spike_gan.config import SpikeGanConfig
from calcium_helpers.models.spike_gan.measure import COURSES_S, N_RESPONSE, RESPONSE_BINS, STATISTICS, response_of
from calcium_helpers.models.spike_gan.response import Response, convolve, respond

BANDS_S = (0.12, *COURSES_S)
"""Correlation times of the slower noises, s: those that are measured, and one that is learned alone."""
N_NOISE = len(BANDS_S) + 3
"""Latents a bin: white noise, place and size of the answers to spikes, one for each slow noise."""
CONDITIONS = 2 + len(STATISTICS)
"""Log noise level, log rate and the statistics of the cell."""
_LAGS = (1, 2, 4, 8, 16, 32, 64)  # of the changes whose size and asymmetry the critic is told, bins
_REACH = 40  # bins that the small network looks back
_N_PHYSICAL = 6 + len(BANDS_S) + 7


def hold(values: Tensor, frames: Tensor) -> Tensor:
    """Repeat the last earlier value (B, L) in bins without a frame (B, L), as resampling does."""
    place = torch.arange(values.shape[-1], device=values.device).expand(frames.shape)
    last = torch.where(frames > 0, place, 0).cummax(dim=-1).values
    return values.gather(-1, last)


class SpikeGan(nn.Module):
    """The generator: spikes, condition and latents to fluorescence in units of the recording's own noise.

    What physics says (an answer to each spike, slow and white noise, frames averaged in a bin) is written down; a small network
    gives its numbers for each trace, and a second one adds what the formula lacks. Before training it is the formula.
    """

    centre: Tensor
    spread: Tensor
    cells: Tensor

    def __init__(self, config: SpikeGanConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("centre", torch.zeros(CONDITIONS))
        self.register_buffer("spread", torch.ones(CONDITIONS))
        self.register_buffer("cells", torch.zeros(len(config.sets), len(STATISTICS)))  # statistics of the cells learned from
        self.cell = nn.Sequential(
            nn.Linear(CONDITIONS + config.latent, 64),
            nn.SiLU(),
            nn.Linear(64, 64),
            nn.SiLU(),
            numbers := nn.Linear(64, _N_PHYSICAL + 4 * width),
        )
        self.first = nn.Conv1d(6, width, 5)
        self.second = nn.Conv1d(width, width, 5, dilation=3)
        self.last = nn.Conv1d(width, 1, 5, dilation=6)
        with torch.no_grad():
            numbers.weight.mul_(0.5)
            numbers.bias.zero_()
            self.last.weight.mul_(0.05)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, spikes: Tensor, frames: Tensor, condition: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """Fluorescence of all bins but the first ``history``, (B, L - history).

        Parameters
        ----------
        spikes, frames : Tensor, shape (B, L)
            Spikes and frames of the recording in each bin.
        condition : Tensor, shape (B, CONDITIONS)
            Log noise level, log rate, statistics of the cell.
        latent : Tensor, shape (B, latent)
            One draw a trace.
        noise : Tensor, shape (B, N_NOISE, L)
            One draw a bin.
        """
        standard = (condition - self.centre) / self.spread
        numbers = self.cell(torch.cat([functional.dropout(standard, 0.5, self.training), latent], 1))
        # Bounded: no number that physics would not allow, by a factor of e^2 either way of what was measured.
        physical, style = 2 * torch.tanh(numbers[:, :_N_PHYSICAL] / 2), numbers[:, _N_PHYSICAL:]
        signal, slow, white = self._formula(spikes, frames, condition, physical, noise)
        quick = torch.log1p(spikes)
        features = torch.stack([torch.asinh(signal), slow, white, quick, torch.log1p(frames), noise[:, 1]], 1)
        features = features[:, :, max(self.config.history - _REACH, 0) :]
        scale1, shift1, scale2, shift2 = style[:, :, None].chunk(4, 1)
        hidden = functional.silu(self.first(functional.pad(features, (4, 0))) * (1 + scale1) + shift1)
        hidden = functional.silu(self.second(functional.pad(hidden, (12, 0))) * (1 + scale2) + shift2)
        extra = self.last(functional.pad(hidden, (24, 0)))[:, 0] * torch.sqrt(1 + torch.abs(signal[:, -features.shape[2] :]))
        whole = signal + slow + white
        whole = torch.cat([whole[:, : -extra.shape[1]], whole[:, -extra.shape[1] :] + extra], 1)
        return hold(whole, frames)[:, self.config.history :]

    def _formula(
        self, spikes: Tensor, frames: Tensor, condition: Tensor, physical: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer to the spikes, slow noise with the offset, and white noise, each (B, L), in units of the noise."""
        config, stats = self.config, condition[:, 2:]
        unit = noise_unit(condition, config.fs)[:, None]
        start = response_of(stats)
        shift = physical[:, :6]
        response = Response(
            start.amplitude * torch.exp(shift[:, 0]),
            start.rise_s * torch.exp(shift[:, 1]),
            start.decay_s * torch.exp(shift[:, 2]),
            start.power * torch.exp(shift[:, 3]),
            start.delay_s + 0.03 * shift[:, 4],
            torch.sigmoid(shift[:, 5] - 3),
        )
        vary, shot, restless, tail, offset, gain, skew, *bands = physical[:, 6:].T[:, :, None]
        vary, shot, restless, tail = (functional.softplus(2 * value - 3) for value in (vary, shot, restless, tail))
        size = torch.exp(vary * noise[:, 2] - vary**2 / 2)
        early = torch.special.ndtr(noise[:, 1])
        signal = respond(spikes * size, response, config.fs, length=RESPONSE_BINS, early=early) / unit
        measured = stats[:, N_RESPONSE:, None].unbind(1)
        sizes = torch.exp(torch.stack([bands[0] - 2, *(a + b for a, b in zip(measured[1:4], bands[1:], strict=True))], 1))
        courses = self._courses(noise[:, 3:])
        drift = (sizes * (courses + skew[:, None] * 0.3 * (courses**2 - 1))).sum(1) + measured[4] + offset
        per_bin = torch.sqrt((torch.exp(condition[:, 1:2]) / config.fs).clamp(min=1) / frames.clamp(min=1))
        white = noise[:, 0] * torch.exp(measured[0] + gain + restless * courses[:, 1]) * (1 + tail * noise[:, 0] ** 2 / 3)
        return signal, drift, white * per_bin * torch.sqrt(1 + shot * functional.softplus(signal))

    def _courses(self, noise: Tensor) -> Tensor:
        """White noise (B, bands, L) smoothed with each band's time, of unit variance after the history."""
        times = torch.arange(self.config.history, device=noise.device) / self.config.fs
        kernel = torch.exp(-times / torch.tensor(BANDS_S, device=noise.device)[:, None])
        return convolve(noise, kernel / kernel.norm(dim=1, keepdim=True))


def noise_unit(condition: Tensor, fs: float) -> Tensor:
    """Return the standard deviation of white noise of the condition's level in a bin of ``fs``, dF/F, (B,).

    The median absolute difference of Gaussian noise is 0.954 of its standard deviation.
    """
    return torch.exp(condition[:, 0]) / 100 * torch.sqrt(torch.exp(condition[:, 1]).clamp(max=fs)) / 0.954


class Critic(nn.Module):
    """How much real fluorescence looks like it, given spikes, frames and condition; one number a window.

    It is shown ``asinh`` of the fluorescence in units of the noise, so that faint and bright cells weigh alike, and what the
    statistics of the cell let expect.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, config: SpikeGanConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.critic_width, config.critic_width * 3 // 2, config.critic_width * 2, config.critic_width * 2)
        self.register_buffer("centre", torch.zeros(CONDITIONS))
        self.register_buffer("spread", torch.ones(CONDITIONS))
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, 5, stride=stride, padding=2)
            for before, after, stride in zip((6, *widths[:-1]), widths, (2, 2, 2, 2), strict=True)
        )
        self.told = nn.ModuleList(nn.Linear(CONDITIONS, width) for width in widths)
        self.score = nn.Sequential(
            nn.Linear(2 * widths[-1] + widths[0] + CONDITIONS + 4 * len(_LAGS) + 2, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1)
        )

    def forward(self, fluorescence: Tensor, context: Tensor, condition: Tensor) -> Tensor:
        """Score (B,) of ``asinh`` fluorescence (B, window); ``context`` (B, 3, window) is that of `context_of`."""
        standard = (condition - self.centre) / self.spread
        step = functional.pad(torch.diff(fluorescence, dim=1), (1, 0))
        hidden = torch.cat([torch.stack([fluorescence, step, fluorescence - context[:, 0]], 1), context], 1)
        pooled = [standard, _moments(fluorescence), _moments(fluorescence - context[:, 0])[:, : 2 * len(_LAGS)]]
        for i, (layer, told) in enumerate(zip(self.layers, self.told, strict=True)):
            hidden = functional.leaky_relu(layer(hidden) + told(standard)[:, :, None], 0.2)
            if i in (0, len(self.layers) - 1):
                pooled.append(torch.sqrt(hidden.var(dim=2) + 1e-3))
        return self.score(torch.cat([*pooled, hidden.mean(dim=2)], 1))[:, 0]


def _moments(course: Tensor) -> Tensor:
    """Size and asymmetry of changes at each lag, mean and spread, of windows (B, window), (B, 2 lags + 2)."""
    found = []
    for lag in _LAGS:
        step = min(lag, course.shape[1] - 1)
        change = course[:, step:] - course[:, :-step]
        size = torch.sqrt((change**2).mean(1) + 1e-4)
        found += [torch.log(size), (change * change.abs()).mean(1) / size**2]
    return torch.stack([*found, course.mean(1), torch.log(course.var(1) + 1e-2)], 1)


def context_of(spikes: Tensor, frames: Tensor, condition: Tensor, config: SpikeGanConfig) -> Tensor:
    """Stack what the critic is told of each bin after the history: expected answer, spikes, frames, (B, 3, window)."""
    expected = respond(spikes, response_of(condition[:, 2:]), config.fs, length=RESPONSE_BINS)
    expected = torch.asinh(hold(expected / noise_unit(condition, config.fs)[:, None], frames))
    return torch.stack([expected, torch.log1p(spikes), torch.log1p(frames)], 1)[:, :, config.history :]
