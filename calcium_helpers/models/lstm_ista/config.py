"""What the network, its training and the detection may be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from calcium_helpers.containers._base import check_positive
from calcium_helpers.training import FitConfig


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network.

    Attributes
    ----------
    n_blocks : int
        Unrolled iterations of shrinkage; 0 leaves the frames as they are.
    filters : int
        Filters of each block's transforms.
    hidden : int
        Channels of the recurrent layer, which works at half the resolution.
    recurrent : bool
        Whether time is carried by the recurrent layer at all.
    looks : int
        Ways in which each slot attends to time.
    head : int
        Channels of the head that draws footprints.
    calibration : tuple of float
        Slope and offset that turn the logits of presence into those of a probability, fitted after the training.
    """

    n_blocks: int = 4
    filters: int = 8
    hidden: int = 16
    recurrent: bool = True
    looks: int = 4
    head: int = 16
    calibration: tuple[float, float] = (1.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "calibration", tuple(self.calibration))  # JSON knows lists only
        for name in ("filters", "hidden", "looks", "head"):
            check_positive(name, getattr(self, name), "")
        if self.n_blocks < 0:
            raise ValueError(f"n_blocks must be 0 or more, got {self.n_blocks}")


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
        fit=FitConfig(steps=40_000, every=1000, learning_rate=2e-3, patience=8), n_fields=2000, n_bins=160, tile_px=64, batch=16,
        network=NetworkConfig(n_blocks=5, filters=16, hidden=24, head=24),
    ),
}  # fmt: skip
"""Trainings by name: about an hour on two cores, or for a GPU with over 20 GB."""


@dataclass(frozen=True)
class LSTMISTAConfig:
    """Parameters of ``lstm_ista.detect``; nothing needs to be set for somata."""

    diameter_px: float | None = None
    """Diameter of a cell, px; None estimates it from the strongest cells."""
    decay_s: float = 0.5
    """About how long a transient lasts, s: frames are averaged over half of it for the network."""
    highpass_s: float = 20.0
    """Changes slower than this (sd of a Gaussian) are taken for drift and bleaching when looking for cells, s."""
    max_cells: int | None = None
    """Keep at most this many accepted cells, the most certain ones; None for no limit."""
    min_confidence: float = 0.5
    """Least probability of being a cell, as the network sees it."""
    min_snr: float = 4.0
    """Smallest signal-to-noise ratio of an accepted cell, as in `CNMFConfig`."""
    max_bins: int = 200
    """Bins that the network sees of a tile at once."""
    reduction: str = "active"
    """How a longer movie is reduced: "mean" averages neighbouring bins; "active" averages at most four, and of what is still
    more keeps those in which places of a tile are most active."""
    n_passes: int = 1
    """Passes of the network, the later ones over what the cells of the earlier ones leave."""
    weights: str | None = None
    """Folder of a network of your own; None takes the package's."""

    def __post_init__(self) -> None:
        for name in ("diameter_px", "decay_s", "highpass_s", "max_cells", "min_snr", "max_bins", "n_passes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence is a probability and must lie in 0..1, got {self.min_confidence}")
        if self.reduction not in ("active", "mean"):
            raise ValueError(f'reduction must be "active" or "mean", got {self.reduction!r}')
