"""What all simulated recordings have in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """Size, cells, kinetics, motion and camera; each modality has defaults of its own."""

    n_frames: int
    """Frames."""
    height: int
    """Rows, px."""
    width: int
    """Columns, px."""
    fs: float
    """Frame rate, Hz."""
    n_cells: int
    """Cells."""
    min_distance_px: float
    """Smallest distance between centres, px."""
    dff_per_spike: float
    """Median peak dF/F of one spike (log-sd 0.35), of the cell's own light."""
    rise_s: float
    """Time constant of the rise, s."""
    decay_s: float
    """Time constant of the decay, s."""
    rate_hz: tuple[float, float]
    """Range of mean spike rates, Hz (log-uniform)."""
    modulation: float = 1.5
    """Log-sd of the slow waxing and waning of each cell's rate: 0 is a steady Poisson process."""
    indicator: str | None = None
    """A name from the indicator table; replaces ``dff_per_spike, rise_s, decay_s``."""
    bleaching: float = 0.06
    """Fraction of brightness lost over the recording."""
    motion_px: float = 4.5
    """Largest rigid displacement, px."""
    field_px: float
    """Largest non-rigid displacement, px."""
    read_noise: float
    """Read noise, electrons."""
    gain: float
    """Counts an electron, on an offset of 100."""

    def __post_init__(self) -> None:
        for name in ("n_frames", "height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_cells < 0:
            raise ValueError(f"n_cells must be 0 or more, got {self.n_cells}")
        if not 0 < self.rate_hz[0] <= self.rate_hz[1]:
            raise ValueError(f"rate_hz must be (low, high) with 0 < low <= high, got {self.rate_hz}")
