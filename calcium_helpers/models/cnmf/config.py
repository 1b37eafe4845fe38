"""What the matrix factorisation may be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CNMFConfig:
    """Parameters of ``cnmf.detect``; the defaults suit somata."""

    diameter_px: float | None = None
    """Diameter of a cell, px; None estimates it from the strongest cells."""
    decay_s: float = 0.5
    """About how long a transient lasts, s: frames are averaged over half of it to find cells."""
    highpass_s: float = 20.0
    """Changes slower than this (sd of a Gaussian) are taken for drift and bleaching when looking for cells, s."""
    max_cells: int | None = None
    """Keep at most this many accepted cells, the best by SNR; None for no limit."""
    min_snr: float = 4.5
    """Smallest signal-to-noise ratio of an accepted cell."""
    min_consistency: float = 0.6
    """Smallest correlation of the footprints found in two interleaved halves of the recording."""
    min_compactness: float = 0.6
    """Smallest compactness of the footprint: 1 for a disc, 0.8 for an ellipse twice as long as wide."""
    min_contrast: float = 3.5
    """How far a trace must rise above its median, in units of its spread below; only a round footprint makes up for less."""
    merge_correlation: float = 0.8
    """Overlapping components whose traces correlate more are one cell."""
    seed_threshold: float = 4.0
    """How far the seed score must stand above the background's, in robust standard deviations."""
    n_searches: int = 2
    """Rounds of searching and refining, the later ones in what the earlier ones leave."""
    n_iterations: int = 3
    """Rounds of alternating updates of footprints and traces."""

    def __post_init__(self) -> None:
        for name in ("diameter_px", "decay_s", "highpass_s", "max_cells", "n_searches", "n_iterations"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not -1 <= self.min_consistency <= 1 or not -1 <= self.merge_correlation <= 1:
            raise ValueError(
                "min_consistency and merge_correlation are correlations and must lie in -1..1, "
                f"got {self.min_consistency} and {self.merge_correlation}"
            )
