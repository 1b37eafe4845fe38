"""What a training takes: losses, data, length, and usual ones by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from calcium_helpers.containers._base import check_positive
from calcium_helpers.models.lstm_ista.config import NetworkConfig
from calcium_helpers.training import FitConfig


@dataclass(frozen=True)
class LossWeights:
    """What each part of the loss counts.

    Attributes
    ----------
    denoising : float
        Squared error of the denoised movie, relative to the power of the true one.
    symmetry : float
        How far the inverse transform is from undoing the transform.
    attention : float
        Cross-entropy and Dice of the pixels that belong to active cells.
    presence : float
        Cross-entropy of the slots' presence.
    footprints : float
        Cross-entropy and Dice of the footprints of matched slots.
    traces : float
        One minus correlation of the clean traces; this and the next are of the trace head alone.
    amplitude : float
        Squared error of the clean traces, relative to their power.
    """

    denoising: float = 1.0
    symmetry: float = 0.01
    attention: float = 0.5
    presence: float = 1.0
    footprints: float = 1.0
    traces: float = 1.0
    amplitude: float = 0.2


@dataclass(frozen=True)
class TrainConfig:
    """What a network is trained on, and for how long.

    Attributes
    ----------
    fit : FitConfig
        Steps, rate, seed.
    network : NetworkConfig
    weights : LossWeights
    n_fields : int
        Simulated fields that tiles are cut from; as many tenths again to validate.
    n_bins, tile_px : int
        Frames and side of a tile.
    batch : int
        Tiles a step.
    head_steps : int
        Steps of the trace head, which is trained by itself afterwards.
    matching : bool
        Slots are matched to cells by what they drew; otherwise each cell takes the slot nearest to its centre.
    """

    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=5600, every=400, learning_rate=3e-3, patience=8))
    network: NetworkConfig = field(default_factory=NetworkConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    n_fields: int = 300
    n_bins: int = 100
    tile_px: int = 32
    batch: int = 2
    head_steps: int = 3000
    matching: bool = True

    def __post_init__(self) -> None:
        for name in ("n_fields", "n_bins", "tile_px", "batch", "head_steps"):
            check_positive(name, getattr(self, name), "")


PROFILES = {
    "cpu": TrainConfig(),
    "gpu": TrainConfig(
        fit=FitConfig(steps=40_000, every=1000, learning_rate=2e-3, patience=8), n_fields=2000, n_bins=160, tile_px=64,
        batch=16, network=NetworkConfig(n_blocks=5, filters=16, hidden=24, head=24),
    ),
}  # fmt: skip
"""Trainings by name: about an hour on two cores, or for a GPU with over 20 GB."""
