"""How fluorescence answers spikes: the physical part, shared by the generator and by what is measured of a cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Response(NamedTuple):
    """Answer of B cells to one spike; each field a tensor (B,).

    The calcium of one spike is ``(1 - exp(-t / rise_s)) exp(-t / decay_s)`` from ``delay_s`` on, scaled to a peak of 1;
    ``slow`` is the share of a second part that decays four times more slowly. Calcium c becomes ``(1 + c)^power - 1``,
    scaled so that one spike gives ``amplitude``: above 1 bursts gain more than in proportion, below they saturate.
    """

    amplitude: Tensor
    rise_s: Tensor
    decay_s: Tensor
    power: Tensor
    delay_s: Tensor
    slow: Tensor


def kernels(response: Response, fs: float, *, length: int, phase: float) -> Tensor:
    """Mean calcium in each of ``length`` bins after a spike at ``phase`` (0 to 1) of the first bin, (B, length)."""
    edges = torch.arange(length + 1, dtype=response.rise_s.dtype, device=response.rise_s.device) / fs
    times = (edges - phase / fs - response.delay_s[:, None]).clamp(min=0)

    def part(decay_s: Tensor) -> Tensor:
        both = 1 / (1 / response.rise_s + 1 / decay_s)
        outer, inner = (tau[:, None] * (1 - torch.exp(-times / tau[:, None])) for tau in (decay_s, both))
        ratio = response.rise_s / (decay_s + response.rise_s)  # exp(-t / rise_s) at the peak
        peak = (1 - ratio) * ratio ** (response.rise_s / decay_s)
        return torch.diff(outer - inner, dim=1) * fs / peak[:, None]

    slow = response.slow[:, None]
    return (1 - slow) * part(response.decay_s) + slow * part(4 * response.decay_s)


def convolve(signal: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution of rows (..., L) with rows (..., K), (..., L)."""
    n = signal.shape[-1] + kernel.shape[-1] - 1
    n = 1 << (n - 1).bit_length()
    product = torch.fft.rfft(signal, n) * torch.fft.rfft(kernel, n)
    return torch.fft.irfft(product, n)[..., : signal.shape[-1]]


def respond(spikes: Tensor, response: Response, fs: float, *, length: int, early: Tensor | float = 0.5) -> Tensor:
    """Noiseless dF/F (B, L) of spike counts (B, L); ``early`` is the share of a bin's spikes that fall in its first half."""
    first, second = (kernels(response, fs, length=length, phase=phase) for phase in (0.25, 0.75))
    calcium = convolve(spikes * early, first) + convolve(spikes * (1 - early), second)
    power = response.power[:, None]
    grown = ((1 + torch.clamp(calcium, min=0)) ** power - 1) / (2**power - 1)
    return response.amplitude[:, None] * grown
