"""What motion correction may be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MotionConfig:
    """Parameters of motion correction; the defaults suit two-photon movies of 0.5-2 um a pixel."""

    piecewise: bool = True
    """Refine the rigid shift on a grid of blocks; False keeps one shift a frame."""
    max_shift_px: float | None = None
    """Largest rigid shift, px; None means a tenth of the shorter side, at least 10."""
    max_deviation_px: float = 4.0
    """Largest deviation of a block from the rigid shift, px."""
    block_px: int = 48
    """Distance between block centres, px; each block looks at twice this width."""
    smooth_px: float = 1.5
    """Low-pass (sd of a Gaussian) before correlating, px: more for dimmer movies."""
    highpass_px: float | None = None
    """High-pass (sd of a box whose mean is subtracted) before correlating, px: takes the glow out of one-photon movies."""
    bidiphase: bool = True
    """Estimate and correct the offset between forward and backward lines (bidirectional scanning)."""
    n_template_frames: int = 300
    """Frames, evenly spaced, from which the template is made."""

    def __post_init__(self) -> None:
        for name in ("max_shift_px", "max_deviation_px", "block_px", "smooth_px", "highpass_px", "n_template_frames"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")

    def shift_limit_px(self, shape: tuple[int, int]) -> float:
        """Largest rigid shift for frames of ``shape`` (H, W), px: never more than a third of the shorter side."""
        limit = max(10.0, min(shape) / 10) if self.max_shift_px is None else self.max_shift_px
        return min(limit, min(shape) / 3)

    def grid_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Blocks a side (gy, gx) for frames of ``shape`` (H, W)."""
        return max(1, round(shape[0] / self.block_px)), max(1, round(shape[1] / self.block_px))


ONE_PHOTON = MotionConfig(highpass_px=3.0, bidiphase=False)
TWO_PHOTON = MotionConfig()
