"""The network's trace head: from a noisy trace to the calcium that made it, at any frame rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from calcium_helpers.models.lstm_ista.profiles import LossWeights

N_FRAMES = 384
N_TRACES = 64
DILATIONS = (1, 2, 4, 8, 16, 32) * 2


class TraceBatch(NamedTuple):
    """``noisy`` (N, T) traces with noise of sd 1, and ``truth`` (N, T), what they would be without."""

    noisy: torch.Tensor
    truth: torch.Tensor


class TraceHead(nn.Module):
    """Clean traces from noisy ones by dilated convolutions over time; scaling a trace scales the answer.

    Parameters
    ----------
    width : int
        Channels.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, width, 5, padding=2)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in DILATIONS)
        self.out = nn.Conv1d(width, 1, 1)

    def forward(self, traces: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Clean traces (N, T) that rest at 0 and have white noise of sd ``noise`` (N,)."""
        scale = traces.amax(dim=1).clamp(min=1e-6).maximum(3 * noise)[:, None]
        level = (noise[:, None] / scale).expand_as(traces)
        x = self.stem(torch.stack([traces / scale, level], dim=1))
        for block in self.blocks:
            x = x + block(F.relu(x))
        # Hardly below 0, but with a slope everywhere: a head that answers 0 must be able to learn otherwise.
        return F.softplus(self.out(F.relu(x))[:, 0], beta=20) * scale


def trace_batches(calcium: Sequence[np.ndarray], n: int = N_TRACES) -> Callable[[np.random.Generator], TraceBatch]:
    """Make a function that draws traces with noise, drift and something of another cell.

    Parameters
    ----------
    calcium : sequence of ndarray, shape (K, T)
        True calcium of the cells of each field, from rest.
    n : int
        Traces a batch.

    Returns
    -------
    callable
        ``draw(rng)`` gives a `TraceBatch`.
    """
    calcium = [courses for courses in calcium if len(courses)]
    if not calcium:
        raise ValueError("calcium must hold at least one cell")

    def draw(rng: np.random.Generator) -> TraceBatch:
        pairs = [_draw_trace(rng, calcium[int(rng.integers(len(calcium)))]) for _ in range(n)]
        return TraceBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*pairs, strict=True)))

    return draw


def _draw_trace(rng: np.random.Generator, calcium: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One trace with and without noise; its highest transient in the recording is 1.5 to 40 times the noise."""
    own, other = rng.integers(len(calcium), size=2)
    start = int(rng.integers(max(calcium.shape[1] - N_FRAMES, 0) + 1))
    height = np.exp(rng.uniform(np.log(1.5), np.log(40)))
    clean, leak = (
        np.maximum(calcium[row, start : start + N_FRAMES], 0) / max(float(calcium[row].max()), 1e-6) * height
        for row in (own, other)
    )
    n_frames = len(clean)
    drift = ndimage.gaussian_filter1d(rng.normal(size=n_frames), 30) * np.sqrt(30 * 3.5) * rng.uniform(0, 0.6)
    noisy = clean + rng.normal(size=n_frames) + drift + leak * max(rng.uniform(-0.2, 0.2), 0)
    fill = (0, N_FRAMES - n_frames)
    return np.pad(noisy, fill).astype(np.float32), np.pad(clean, fill).astype(np.float32)


def trace_loss(weights: LossWeights | None = None) -> Callable[[nn.Module, TraceBatch], torch.Tensor]:
    """Make the loss of the head: one minus correlation, and squared error relative to the power.

    Parameters
    ----------
    weights : LossWeights, optional

    Returns
    -------
    callable
        ``loss(head, batch)`` gives a scalar Tensor.
    """
    weights = weights or LossWeights()

    def loss(head: nn.Module, batch: TraceBatch) -> torch.Tensor:
        clean = head(batch.noisy, batch.noisy.new_ones(len(batch.noisy)))
        amplitude = (clean - batch.truth).square().mean(dim=1) / (batch.truth.square().mean(dim=1) + 1)
        return weights.traces * (1 - correlation(clean, batch.truth)).mean() + weights.amplitude * amplitude.mean()

    return loss


def correlation(clean: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Correlation (N,) of traces (N, T); 0 for those of which one does not move."""
    clean, truth = (x - x.mean(dim=1, keepdim=True) for x in (clean, truth))
    return F.cosine_similarity(clean, truth, dim=1, eps=1e-3)
