"""Training: a loop of its own, since two networks learn against each other."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from calcium_helpers.io.save import atomic_path
from calcium_helpers.models.spike_gan.config import SpikeGanConfig
from calcium_helpers.models.spike_gan.measure import Sweep, measure_cells, unit_of
from calcium_helpers.models.spike_gan.networks import N_NOISE, Critic, SpikeGan, context_of

logger = logging.getLogger(__name__)
_PICTURES = 6
_RECORD_EVERY = 10


class Batch(NamedTuple):
    """Windows with what they are conditional on; the first ``history`` bins of spikes and frames lie before the window.

    Attributes
    ----------
    fluorescence : Tensor, shape (B, window)
        dF/F in units of the recording's noise.
    spikes, frames : Tensor, shape (B, history + window)
        Spikes and frames of the recording in each bin.
    condition : Tensor, shape (B, CONDITIONS)
        Log noise level, log rate, statistics of the cell.
    """

    fluorescence: Tensor
    spikes: Tensor
    frames: Tensor
    condition: Tensor


class GanHistory(NamedTuple):
    """How the training went.

    Attributes
    ----------
    losses : ndarray, shape (records, 4)
        Step, estimated Wasserstein distance, gradient penalty, seconds.
    pictured : ndarray, shape (K,)
        Steps at which the same windows were generated again, from the same latents.
    pictures : ndarray, shape (K, windows, window)
        What was generated, in units of the noise.
    real : Batch
        The windows themselves.
    """

    losses: np.ndarray
    pictured: np.ndarray
    pictures: np.ndarray
    real: Batch


def draw_batches(
    sweeps: Sequence[Sweep], statistics: dict[str, np.ndarray], config: SpikeGanConfig, rng: np.random.Generator
) -> Iterator[Batch]:
    """Draw windows for ever: a cell, each as often as another, then one of its bins.

    Windows that touch a gap and sweeps shorter than a window are left out; before a sweep starts, no spikes are assumed.
    """
    places: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for sweep in sweeps:
        if len(sweep.dff) >= config.window:
            prepared = _prepare(sweep, statistics[sweep.cell], config)
            if len(prepared[0]):
                places.setdefault(sweep.cell, []).append(prepared)
    if not places:
        raise ValueError(f"sweeps must hold one of at least {config.window} bins without a gap, got none among {len(sweeps)}")
    cells = list(places.values())
    while True:
        rows = []
        for mine in (cells[i] for i in rng.integers(len(cells), size=config.batch)):
            share = np.array([len(prepared[0]) for prepared in mine], dtype=float)
            starts, dff, spikes, frames, condition = mine[rng.choice(len(mine), p=share / share.sum())]
            start = int(rng.choice(starts))
            whole = slice(start, start + config.history + config.window)
            rows.append((dff[start : start + config.window], spikes[whole], frames[whole], condition))
        yield Batch(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))


def _prepare(sweep: Sweep, statistics: np.ndarray, config: SpikeGanConfig) -> tuple[np.ndarray, ...]:
    """Where windows may start; fluorescence in units of noise; spikes and frames with a history before them; condition."""
    gaps = np.concatenate([[0], np.cumsum(~sweep.valid)])
    starts = np.flatnonzero(gaps[config.window :] == gaps[: -config.window])
    spikes = np.concatenate([np.zeros(config.history, np.float32), sweep.spikes])
    frames = np.concatenate([np.resize(sweep.frames, config.history), sweep.frames])
    condition = np.concatenate([[np.log(sweep.noise), np.log(sweep.fs)], statistics]).astype(np.float32)
    return starts, sweep.dff / np.float32(unit_of(sweep, config.fs)), spikes, frames, condition


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean squared distance of the critic's gradient norm from 1, between real and fake (B, T) at the shares ``mix`` (B, 1)."""
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((torch.sqrt((gradient**2).sum(1) + 1e-12) - 1) ** 2).mean()


class _Training:
    """Both networks with their optimisers, the running mean of the generator, and the latents' random numbers."""

    def __init__(self, config: SpikeGanConfig, condition: Tensor) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.generator, self.critic = SpikeGan(config), Critic(config)
        for network in (self.generator, self.critic):
            network.centre.copy_(condition.mean(0))
            network.spread.copy_(condition.std(0).clamp(min=1e-2))
        self.mean = copy.deepcopy(self.generator).requires_grad_(False).eval()
        betas = (0.0, 0.9)
        self.slow = torch.optim.Adam(self.generator.parameters(), lr=config.generator_rate, betas=betas)
        self.fast = torch.optim.Adam(self.critic.parameters(), lr=config.critic_rate, betas=betas)
        self.random = torch.Generator().manual_seed(config.seed)

    def fake(self, batch: Batch, generator: SpikeGan) -> Tensor:
        n, length = batch.spikes.shape
        latent = torch.randn(n, self.config.latent, generator=self.random)
        noise = torch.randn(n, N_NOISE, length, generator=self.random)
        return torch.asinh(generator(batch.spikes, batch.frames, batch.condition, latent, noise))

    def criticise(self, batch: Batch) -> tuple[float, float]:
        """Teach the critic on one batch; its estimate of the distance, and the penalty."""
        context = context_of(batch.spikes, batch.frames, batch.condition, self.config)
        with torch.no_grad():
            fake = self.fake(batch, self.generator)
        real = torch.asinh(batch.fluorescence)
        mix = torch.rand(len(real), 1, generator=self.random)
        distance = self.critic(real, context, batch.condition).mean() - self.critic(fake, context, batch.condition).mean()
        penalty = gradient_penalty(lambda x: self.critic(x, context, batch.condition), real, fake, mix)
        self.fast.zero_grad()
        (self.config.penalty * penalty - distance).backward()
        self.fast.step()
        return float(distance.detach()), float(penalty.detach())

    def generate(self, batch: Batch, step: int) -> None:
        """Teach the generator on one batch, and follow it with the running mean."""
        context = context_of(batch.spikes, batch.frames, batch.condition, self.config)
        score = self.critic(self.fake(batch, self.generator), context, batch.condition).mean()
        self.slow.zero_grad()
        (-score).backward()
        self.slow.step()
        keep = min(self.config.average, (1 + step) / (10 + step))
        for mean, now in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now.detach(), 1 - keep)

    def set_rates(self, step: int) -> None:
        """Let the critic learn before the generator trusts it, and both settle at the end."""
        share = step / self.config.steps
        for optimiser, rate, rise in ((self.slow, self.config.generator_rate, 0.1), (self.fast, self.config.critic_rate, 0.0)):
            optimiser.param_groups[0]["lr"] = rate * min(1.0, share / rise if rise else 1.0) * max(1 - share, 0.05)

    def state(self) -> dict:
        named = ("generator", "critic", "mean", "slow", "fast")
        chance = {"random": self.random.get_state(), "dropout": torch.get_rng_state()}
        return {name: getattr(self, name).state_dict() for name in named} | chance

    def restore(self, state: dict) -> None:
        for name in ("generator", "critic", "mean", "slow", "fast"):
            getattr(self, name).load_state_dict(state[name])
        self.random.set_state(state["random"])
        torch.set_rng_state(state["dropout"])


def fit_gan(
    sweeps: Sequence[Sweep],
    *,
    config: SpikeGanConfig | None = None,
    statistics: dict[str, np.ndarray] | None = None,
    checkpoint: str | Path | None = None,
    every: int = 250,
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[SpikeGan, GanHistory]:
    """Train a generator of fluorescence against a critic.

    Parameters
    ----------
    sweeps : sequence of Sweep
        Real recordings with spikes (`as_sweep`).
    config : SpikeGanConfig, optional
        Sizes, rates and number of steps.
    statistics : dict, optional
        Of the cells, as `measure_cells` finds them; measured here by default.
    checkpoint : str or Path, optional
        A file from which an interrupted training goes on, with the same result as without interruption; written anew every
        ``every`` steps.
    every : int
        Steps from a checkpoint to the next.
    progress : callable, optional
        Called with the step, their number and the estimated Wasserstein distance.

    Returns
    -------
    SpikeGan
        With the running mean of the generator's weights.
    GanHistory
        Losses, and the same windows generated again as it learns.

    Raises
    ------
    ValueError
        If no sweep is as long as a window, or the checkpoint is of another configuration.
    """
    config = SpikeGanConfig() if config is None else config
    statistics = measure_cells(sweeps, fs=config.fs, seed=config.seed) if statistics is None else statistics
    sources = {sweep.cell: sweep.source for sweep in sweeps}
    config = replace(config, sets=tuple(sources.values()))
    rng = np.random.default_rng(config.seed)
    batches = draw_batches(sweeps, statistics, config, rng)
    real = next(batches)
    training = _Training(config, torch.cat([real.condition, *(next(batches).condition for _ in range(50))]))
    for network in (training.generator, training.mean):
        network.cells.copy_(torch.from_numpy(np.stack([statistics[cell] for cell in sources])))
    begun, losses, pictures, spent = 0, [], {}, 0.0
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        state = torch.load(path, weights_only=True)
        if state["config"] != repr(config):
            raise ValueError(
                f"checkpoint {path} must be of the same configuration, got {state['config']}; remove it to begin anew"
            )
        training.restore(state["networks"])
        rng.bit_generator.state = state["rng"]
        begun, losses, pictures, spent = state["step"], state["losses"], state["pictures"], state["spent"]
    start = time.monotonic() - spent
    for step in range(begun, config.steps):
        if step == 0 or step & (step - 1) == 0:
            pictures[step] = _picture(training, real)
        training.set_rates(step)
        for _ in range(config.critic_steps):
            distance, penalty = training.criticise(next(batches))
        training.generate(next(batches), step)
        if step % _RECORD_EVERY == 0:
            losses.append([step, distance, penalty, time.monotonic() - start])
            if progress is not None:
                progress(step, config.steps, distance)
        if path is not None and ((step + 1) % every == 0 or step + 1 == config.steps):
            _write(path, training, config, rng, step + 1, losses, pictures, time.monotonic() - start)
    pictures[config.steps] = _picture(training, real)
    first = Batch(*(part[:_PICTURES] for part in real))
    shown = np.stack([picture.numpy() for picture in pictures.values()])
    history = GanHistory(np.array(losses).reshape(-1, 4), np.array(list(pictures)), shown, first)
    return training.mean.eval(), history


def _picture(training: _Training, real: Batch) -> Tensor:
    """Generate the first windows by the running mean from latents that stay the same, apart from the training's own."""
    kept, training.random = training.random, torch.Generator().manual_seed(0)
    with torch.no_grad():
        fluorescence = torch.sinh(training.fake(Batch(*(part[:_PICTURES] for part in real)), training.mean))
    training.random = kept
    return fluorescence


def _write(
    path: Path,
    training: _Training,
    config: SpikeGanConfig,
    rng: np.random.Generator,
    step: int,
    losses: list,
    pictures: dict[int, Tensor],
    spent: float,
) -> None:
    state = {"config": repr(config), "networks": training.state(), "rng": rng.bit_generator.state}
    with atomic_path(path) as part:
        torch.save(state | {"step": step, "losses": losses, "pictures": pictures, "spent": spent}, part)
