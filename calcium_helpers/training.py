"""``fit``: one plain training loop for every network of the package, with checkpoints, resuming and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from calcium_helpers.containers._base import check_positive
from calcium_helpers.io.save import atomic_path
from calcium_helpers.memory import keep_freed_memory

Batches = Callable[[np.random.Generator], Any]
"""Draws one batch; all its randomness comes from the generator, so that a resumed training sees the same batches."""


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast to train.

    Attributes
    ----------
    steps : int
        Batches in all.
    learning_rate : float
        Highest rate of AdamW: reached after 5 % of the steps, then falling to 0 as a cosine.
    weight_decay : float
        Of AdamW.
    clip : float
        Largest norm of the gradient.
    every : int
        Steps between two scores and two checkpoints.
    patience : int or None
        Stop after so many scores without a better one; None trains to the end.
    seed : int
        Of batches and dropout; that of the first weights is where the network is made.
    """

    steps: int = 2000
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    every: int = 200
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "every", "learning_rate", "clip"):
            check_positive(name, getattr(self, name), "")


class History(NamedTuple):
    """What a training went through.

    ``step`` (K,) are the steps after which it was looked at, ``loss`` (K,) the mean training loss since the look before,
    ``score`` (K,) that of ``validate`` (higher is better; NaN without), ``best_step`` the one whose weights were kept.
    """

    step: np.ndarray
    loss: np.ndarray
    score: np.ndarray
    best_step: int


@keep_freed_memory()
def fit(
    model: nn.Module,
    batches: Batches,
    loss: Callable[[nn.Module, Any], torch.Tensor],
    *,
    config: FitConfig | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> History:
    """Train ``model`` in place; leaves it in ``eval`` mode with the best weights, without ``validate`` the last ones.

    Parameters
    ----------
    model : Module
        The network.
    batches : callable
        ``batches(rng)`` draws one batch.
    loss : callable
        ``loss(model, batch)`` gives the number to make small.
    config : FitConfig, optional
        Length, rate, seed.
    validate : callable, optional
        ``validate(model)`` scores the network, higher is better.
    checkpoint : str or Path, optional
        File to go on from where it exists, and to write every ``config.every`` steps and when the user interrupts.
    progress : bool
        Show a bar.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        Where the loss is no longer finite, or the checkpoint is of another configuration.
    """
    config = config or FitConfig()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    state = _State(model, optimiser, config, Path(checkpoint) if checkpoint is not None else None)
    todo = range(state.step, config.steps)
    for step in tqdm(todo, initial=state.step, total=config.steps, disable=not progress, unit="step", desc="train"):
        if state.is_over():
            break
        # Seeded by the step: where a training was interrupted leaves no trace in what it sees.
        torch.manual_seed(config.seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(step / config.steps)
        model.train()
        try:
            value = loss(model, batches(np.random.default_rng([config.seed, step])))
            if not torch.isfinite(value):
                raise ValueError(
                    f"loss must be finite, got {value.item()} at step {step}; lower learning_rate or look at the data"
                )
            optimiser.zero_grad(set_to_none=True)
            value.backward()
        except KeyboardInterrupt:
            state.save()  # until here the step has changed no weight
            raise
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimiser.step()
        state.step = step + 1
        state.losses.append(float(value.detach()))
        if (step + 1) % config.every == 0 or step + 1 == config.steps:
            model.eval()
            score = math.nan if validate is None else float(validate(model))
            state.look(score)
    return state.finish()


def _schedule(done: float) -> float:
    """Share of the highest learning rate after a share of the steps."""
    return max(done / 0.05, 0.02) if done < 0.05 else 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))


class _State:
    """What a checkpoint holds."""

    def __init__(self, model: nn.Module, optimiser: torch.optim.Optimizer, config: FitConfig, path: Path | None) -> None:
        self.model, self.optimiser, self.config, self.path = model, optimiser, config, path
        self.step, self.best_step = 0, 0
        self.losses: list[float] = []
        self.rows: list[tuple[int, float, float]] = []
        self.best: dict[str, torch.Tensor] | None = None
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        if saved["config"] != vars(self.config):
            raise ValueError(f"checkpoint {path} is of another training ({saved['config']}); delete it or name another")
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.rows, self.best, self.best_step = (saved[name] for name in ("step", "rows", "best", "best_step"))
        self.losses = saved.get("losses", [])

    def look(self, score: float) -> None:
        """Note a score, keep the weights if they are the best, write the checkpoint."""
        best = max((row[2] for row in self.rows), default=-math.inf)
        self.rows.append((self.step, float(np.mean(self.losses)), score))
        self.losses = []
        if not score <= best:
            self.best_step = self.step
            if not math.isnan(score):
                self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        if self.path is not None:
            saved = {
                "config": vars(self.config), "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
                "step": self.step, "rows": self.rows, "best": self.best, "best_step": self.best_step, "losses": self.losses,
            }  # fmt: skip
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.path) as part:
                torch.save(saved, part)

    def is_over(self) -> bool:
        """Whether too many scores in a row were no better."""
        if self.config.patience is None:
            return False
        return sum(row[0] > self.best_step for row in self.rows) >= self.config.patience

    def finish(self) -> History:
        """Put the best weights back."""
        if self.best is not None:
            self.model.load_state_dict(self.best)
        self.model.eval()
        step, loss, score = np.array(self.rows, dtype=float).reshape(-1, 3).T
        return History(step.astype(int), loss, score, self.best_step)
