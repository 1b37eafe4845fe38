"""What denoising may be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DenoiseConfig:
    """Parameters of denoising; the defaults suit calcium transients of somata and processes above 3 px, at any frame rate."""

    block_px: int = 24
    """Side of a block, px, somewhat more than a cell; blocks overlap by a third of it."""
    transient_s: float = 0.5
    """How long what is looked for lasts at least, s: components are looked for in means over half of it, and no time
    course is smoothed over longer."""
    window_s: float = 120.0
    """Frames decomposed together, s: longer windows find weaker cells and need more memory."""
    false_components: float = 0.05
    """Chance that a block of pure noise keeps any component."""
    false_details: float = 0.001
    """Chance that a detail of a time course is kept where there is noise alone; 1 leaves the courses as they are."""

    def __post_init__(self) -> None:
        if self.block_px < 6:
            raise ValueError(f"block_px must be at least 6, got {self.block_px}")
        for name in ("transient_s", "window_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("false_components", "false_details"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
