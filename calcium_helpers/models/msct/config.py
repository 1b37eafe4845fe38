"""What a network for transients learns from, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from calcium_helpers.models.msct.pu import RISKS
from calcium_helpers.training import FitConfig


@dataclass(frozen=True)
class PUConfig:
    """What a network learns from, and how.

    Attributes
    ----------
    risk : {"plain", "unbiased", "non-negative"}
        How unlabelled voxels count, see `pu_risk`.
    prior : float or None
        Share of positives among the unlabelled voxels of the crops. None estimates it, by a first training that takes what is
        unlabelled for negative (see `estimate_prior`); "plain" has no use for it.
    dice : float
        Weight of the Dice loss beside the risk; the StarDist network has no use for it.
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
    prior: float | None = None
    dice: float = 1.0
    unlabelled: float = 1.0
    batch: int = 16
    crop: tuple[int, int, int] = (16, 32, 32)
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=600, every=100, learning_rate=1e-2))

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop", tuple(self.crop))  # JSON knows lists only
        if self.risk not in RISKS:
            raise ValueError(f"risk must be one of {', '.join(RISKS)}, got {self.risk!r}")
        if self.prior is not None and not 0 <= self.prior < 1:
            raise ValueError(f"prior is a share and must lie in 0..1, got {self.prior}")
        if len(self.crop) != 3 or min(self.crop) < 1 or self.batch < 1:
            raise ValueError(f"crop must be three sides and batch a number, all at least 1, got {self.crop} and {self.batch}")
        if self.unlabelled < 0 or self.dice < 0:
            raise ValueError(f"unlabelled and dice must be 0 or more, got {self.unlabelled} and {self.dice}")

    @property
    def known_prior(self) -> float:
        """The prior that the loss works with; 0 takes what is unlabelled for negative."""
        return 0.0 if self.risk == "plain" else self.prior or 0.0
