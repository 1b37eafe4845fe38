"""Train ``SpikeNet`` on any sweeps with known spikes: real ones, simulated ones, or those of a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from calcium_helpers.models.spike_features import describe, standardise
from calcium_helpers.models.spike_net import SpikeNet, SpikeNetConfig
from calcium_helpers.spike_trains import Sampled, estimate_noise_level
from calcium_helpers.training import FitConfig, History, fit


@dataclass(frozen=True)
class Augmentation:
    """How sweeps are varied, so that the network meets more kinetics, rates and noise than there are recordings.

    Attributes
    ----------
    stretch : float
        Trace and spikes together become longer or shorter, by up to this factor.
    gain_sd : float
        Log-sd of a factor on the fluorescence.
    noise : float
        Up to so many times the recording's own noise is added, in half of the sweeps.
    clock_sd_s : float
        Spikes are moved against fluorescence by so many seconds (sd): what a frame's time means differs between laboratories.
    fs_hz : tuple of float
        Lowest and highest rate that sweeps are brought to, Hz; never above their own.
    usual : float
        Share of the sweeps that are brought to 25 Hz, the others anywhere between.
    """

    stretch: float = 2.0
    gain_sd: float = 0.3
    noise: float = 1.5
    clock_sd_s: float = 0.012
    fs_hz: tuple[float, float] = (5.0, 37.5)
    usual: float = 0.6


class SpikeBatch(NamedTuple):
    """Windows ``z`` (B, T), their ``features`` (B, F), true ``spikes`` (B, T), and where there is a recording, ``inside``."""

    z: torch.Tensor
    features: torch.Tensor
    spikes: torch.Tensor
    inside: torch.Tensor


def spike_batches(
    sweeps: Sequence[Sampled],
    groups: Sequence[str],
    *,
    n_sweeps: int = 24,
    n_windows: int = 2,
    length: int = 384,
    augmentation: Augmentation | None = None,
) -> Callable[[np.random.Generator], SpikeBatch]:
    """Make a function that draws batches, every group equally often.

    Parameters
    ----------
    sweeps : sequence of Sampled
        Of any rate and length, best at the rate of the recording.
    groups : sequence of str
        The data set (or any other group) of each sweep. Within a group the longer sweep comes more often.
    n_sweeps, n_windows : int
        Sweeps a batch and windows of each.
    length : int
        Samples of a window; what a sweep lacks is filled with its median and not counted.
    augmentation : Augmentation, optional
    """
    if not len(sweeps) or len(sweeps) != len(groups):
        raise ValueError(f"sweeps and groups must be equally many and not empty, got {len(sweeps)} and {len(groups)}")
    augmentation = augmentation or Augmentation()
    names = sorted(set(groups))
    members = [np.flatnonzero(np.array(groups) == name) for name in names]
    # The root: a sweep of minutes holds more than one of seconds, but less new in each minute.
    shares = [np.sqrt([len(sweeps[i].dff) / sweeps[i].fs for i in which.tolist()]) for which in members]
    sums = [
        np.cumsum(np.pad(np.stack([s.dff, s.spikes, s.valid]).astype(np.float64), ((0, 0), (1, 0))), axis=1) for s in sweeps
    ]

    def draw(rng: np.random.Generator) -> SpikeBatch:
        rows = []
        for _ in range(n_sweeps):
            group = rng.integers(len(names))
            i = rng.choice(members[group], p=shares[group] / shares[group].sum())
            rows += _windows(sums[i], sweeps[i].fs, rng, augmentation, n_windows, length)
        return SpikeBatch(*(torch.from_numpy(np.stack(column).astype(np.float32)) for column in zip(*rows, strict=True)))

    return draw


def _windows(
    sums: np.ndarray, own_fs: float, rng: np.random.Generator, how: Augmentation, n_windows: int, length: int
) -> list[tuple[np.ndarray, ...]]:
    """Vary one sweep and cut windows from it."""
    low, high = how.fs_hz
    wanted = 25.0 if rng.random() < how.usual else np.exp(rng.uniform(np.log(low), np.log(high)))
    stretch = how.stretch ** rng.uniform(-1, 1)
    # A sweep of 25 Hz said to be of 20 Hz is a sweep stretched by 1.25.
    fs = min(wanted * stretch, own_fs)
    # A camera of any rate between: light of a whole frame is known only at its end, so slow frames come later.
    frame = np.exp(rng.uniform(0, np.log(own_fs / fs))) if rng.random() < 0.5 else 1.0
    late = how.clock_sd_s * own_fs * rng.normal()
    dff, spikes, valid = _rebin(sums, own_fs / fs, frame, rng.random(), late)
    dff = dff * np.exp(how.gain_sd * rng.normal())
    if rng.random() < 0.5:
        dff = dff + rng.uniform(0, how.noise) * standardise(dff[None])[1] * rng.normal(size=len(dff))
    dff = dff[None].astype(np.float32)
    features, z = describe(dff, fs=fs / stretch, own_fs=own_fs / frame / stretch)[0], standardise(dff)[0][0]
    rows: list[tuple[np.ndarray, ...]] = []
    for _ in range(n_windows):
        start = int(rng.integers(max(1, len(z) - length + 1)))
        pieces = [np.pad(x[start : start + length], (0, max(0, length - len(x)))) for x in (z, spikes, valid > 0.5)]
        rows.append((pieces[0], features, pieces[1], pieces[2]))
    return rows


def _rebin(sums: np.ndarray, factor: float, frame: float, phase: float, late: float) -> np.ndarray:
    """Bins of ``factor`` samples: mean fluorescence of the frames that end in them, spikes, share of valid samples.

    Frames are of ``frame`` <= ``factor`` samples; ``late`` samples are added to the times of spikes.
    """
    n_samples = sums.shape[1] - 1
    edges = np.arange(phase * factor, n_samples + 1e-9, factor)
    ends = np.floor(np.floor(edges / frame + 1e-6) * frame + 1e-6).astype(int)
    count = np.maximum(np.diff(ends), 1)
    spikes = np.interp(edges - late, np.arange(n_samples + 1), sums[1])
    return np.stack([np.diff(sums[0, ends]) / count, np.diff(spikes), np.diff(sums[2, ends]) / count])


def spike_loss(shape_weight: float = 0.5) -> Callable[[nn.Module, SpikeBatch], torch.Tensor]:
    """Make the loss: Poisson likelihood, which calibrates, plus one minus the correlation of each window with spikes."""

    def loss(model: nn.Module, batch: SpikeBatch) -> torch.Tensor:
        expected = model(batch.z, batch.features)
        weight = batch.inside
        total = weight.sum()
        # Cells that fire much must not outweigh all others: likelihood in units of the window's own rate.
        rate = (batch.spikes * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
        poisson = (expected - batch.spikes * torch.log(expected + 1e-6)) * weight / (rate + 0.02).sqrt()
        a, b = (
            weight * (x - (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1))
            for x in (expected, batch.spikes)
        )
        fired = (batch.spikes * weight).sum(1) > 0
        correlation = F.cosine_similarity(a[fired], b[fired], dim=1, eps=1e-6)
        return poisson.sum() / total + shape_weight * (1 - correlation).sum() / max(len(a), 1)

    return loss


def fit_spike_net(
    sweeps: Sequence[Sampled],
    groups: Sequence[str],
    *,
    net: SpikeNetConfig | None = None,
    config: FitConfig | None = None,
    augmentation: Augmentation | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> tuple[SpikeNet, list[History]]:
    """Train a network from nothing.

    Parameters
    ----------
    sweeps : sequence of Sampled
        Fluorescence with known spikes: real, simulated or generated, of any rate and length.
    groups : sequence of str
        The data set of each, drawn equally often.
    net : SpikeNetConfig, optional
    config : FitConfig, optional
        Its seed, one more for each further member, also makes the first weights.
    augmentation : Augmentation, optional
    validate, checkpoint, progress
        As in `calcium_helpers.training.fit`; each member has a checkpoint of its own.

    Returns
    -------
    tuple of SpikeNet and list of History
        The network in ``eval`` mode; a history for each of its members.
    """
    config = config or FitConfig()
    net = net or SpikeNetConfig()
    batches = spike_batches(sweeps, groups, augmentation=augmentation)
    members: list[nn.Module] = []
    histories = []
    for i in range(net.members):
        one = replace(config, seed=config.seed + i)
        torch.manual_seed(one.seed)
        member = SpikeNet(replace(net, members=1))
        path = None if checkpoint is None else Path(checkpoint).with_suffix(f".{i}.pt")
        histories.append(fit(member, batches, spike_loss(), config=one, validate=validate, checkpoint=path, progress=progress))
        members += member.members
    levels = [estimate_noise_level(sweep.dff, fs=sweep.fs) for sweep in sweeps]
    low, high = np.quantile(levels, (0.005, 0.995)).tolist()
    model = SpikeNet(replace(net, noise_range=(low, high)))
    model.members = nn.ModuleList(members)
    return model.eval(), histories
