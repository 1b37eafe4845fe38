"""What the network and the detection may be told."""

from __future__ import annotations

from dataclasses import dataclass

from calcium_helpers.containers._base import check_positive


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
