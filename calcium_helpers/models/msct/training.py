"""Train a network on movies of which only some events are labelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from calcium_helpers.models.msct.crops import CROP, Crops, Labelled, crop_batches, label_boxes
from calcium_helpers.models.msct.prior import estimate_prior
from calcium_helpers.models.msct.pu import RISKS, pu_dice, pu_risk
from calcium_helpers.training import FitConfig

PRIOR_BATCHES = 16


@dataclass(frozen=True)
class PUConfig:
    """What a network learns from, and how.

    Attributes
    ----------
    risk : {"plain", "unbiased", "non-negative"}
        How unlabelled voxels count, see `pu_risk`.
    prior : float
        Share of positives among the unlabelled voxels of the crops; "plain" has no use for it.
    dice : float
        Weight of the Dice loss beside the risk.
    unlabelled : float
        Crops from anywhere for each around a labelled event.
    batch : int
        Crops a step.
    crop : tuple of int
        Frames, rows and columns of a crop.
    fit : FitConfig
        Steps, rate, seed.
    """

    risk: str = "non-negative"
    prior: float = 0.0
    dice: float = 0.2
    unlabelled: float = 1.0
    batch: int = 16
    crop: tuple[int, int, int] = CROP
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=600, every=200, learning_rate=3e-3))

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop", tuple(self.crop))  # JSON knows lists only
        if self.risk not in RISKS:
            raise ValueError(f"risk must be one of {', '.join(RISKS)}, got {self.risk!r}")
        if not 0 <= self.prior < 1:
            raise ValueError(f"prior is a share and must lie in 0..1, got {self.prior}")
        if self.risk != "plain" and self.prior == 0:
            raise ValueError(f'risk "{self.risk}" needs a prior above 0: give one, or estimate it (measure_prior)')


def voxel_loss(config: PUConfig) -> Callable[[nn.Module, Crops], torch.Tensor]:
    """Make the loss of a network whose first output is the logit of being part of an event.

    Parameters
    ----------
    config : PUConfig

    Returns
    -------
    callable
        ``loss(model, crops)`` gives a scalar Tensor.
    """
    prior = 0.0 if config.risk == "plain" else config.prior

    def loss(model: nn.Module, crops: Crops) -> torch.Tensor:
        logits = model(crops.channels)[:, 0]
        labelled = (crops.label > 0).to(logits.dtype)
        value = pu_risk(logits, labelled, prior=prior, risk=config.risk).step
        return value + config.dice * pu_dice(logits, labelled, prior=prior) if config.dice else value

    return loss


def measure_prior(model: nn.Module, movies: Sequence[Labelled], config: PUConfig, *, seed: int = 0) -> float:
    """Estimate the prior of crops drawn as for training, see `estimate_prior`.

    Parameters
    ----------
    model : Module
        Trained with the risk "plain" on other movies.
    movies : sequence of Labelled
        Movies to validate on, labelled like those of the training.
    config : PUConfig
        How crops are drawn.
    seed : int

    Returns
    -------
    float
    """
    draw, rng = crop_batches(movies, n=config.batch, unlabelled=config.unlabelled, shape=config.crop), np.random.default_rng(seed)
    outputs: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    with torch.no_grad():
        for _ in range(PRIOR_BATCHES):
            crops = draw(rng)
            logits = model(crops.channels)[:, 0].numpy()
            known = crops.label.numpy() > 0
            outputs[0].append(logits[known])
            outputs[1].append(logits[~known])
    n_events = sum(len(label_boxes(movie.label)) for movie in movies)
    return estimate_prior(np.concatenate(outputs[0]), np.concatenate(outputs[1]), n_events=n_events)
