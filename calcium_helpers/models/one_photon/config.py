"""What the learnable coordinates may be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CoordinatesConfig:
    """Parameters of ``one_photon.detect``; the defaults suit somata in head-mounted microscopes."""

    diameter_px: float | None = None
    """Diameter of a cell, px; None estimates it from the strongest cells."""
    decay_s: float = 0.5
    """About how long a transient lasts, s: frames are averaged over half of it to find cells."""
    highpass_s: float = 20.0
    """Changes slower than this (sd of a Gaussian) are taken for drift and bleaching when looking for cells, s."""
    start: Literal["seeds", "random"] = "seeds"
    """Where coordinates start: on peaks of correlation times peak-to-noise ratio, or anywhere."""
    n_start: int | None = None
    """How many random coordinates to start with; None takes one for each square of 1.5 diameters."""
    blur_levels: tuple[float, ...] = (0.6, 0.3, 0.0)
    """Blur of the rendered coordinates, coarse to fine, in diameters: how far a coordinate sees. (0.0,) is fine only."""
    repulsion: float = 0.1
    """How strongly coordinates within a third of a diameter push each other away; 0 for not at all."""
    compactness: float = 0.02
    """How strongly blobs are held round and of the usual size, against what a dim cell's surroundings suggest."""
    n_rounds: int = 6
    """At most so many rounds of learning, each but the last followed by merging, dropping, splitting and adding; 1 keeps K."""
    min_confidence: float = 0.5
    """Least probability of being a cell that an accepted coordinate has."""
    max_cells: int | None = None
    """Keep at most this many accepted cells, the most confident; None for no limit."""

    def __post_init__(self) -> None:
        for name in ("diameter_px", "decay_s", "highpass_s", "n_start", "n_rounds", "max_cells"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if self.start not in ("seeds", "random"):
            raise ValueError(f'start must be "seeds" or "random", got {self.start!r}')
        if not self.blur_levels or min(self.blur_levels) < 0 or self.blur_levels[-1] != 0:
            raise ValueError(f"blur_levels must be at least 0 and end with 0, got {self.blur_levels}")
        for name in ("repulsion", "compactness"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence is a probability and must lie in 0..1, got {self.min_confidence}")
