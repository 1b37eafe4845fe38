"""Size and training of the generator of fluorescence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SpikeGanConfig:
    """What is saved with a model; the defaults were chosen on the sets DS09, DS14 and DS25."""

    fs: float = 25.0
    """Bins a second of spikes and fluorescence, Hz."""
    window: int = 200
    """Bins that the critic sees: 8 s."""
    history: int = 400
    """Bins of spikes and noise before the window, which still act in it; also the length of slow noise."""
    latent: int = 4
    """Numbers drawn once a trace, beside the statistics of the cell."""
    width: int = 24
    """Channels of the generator's small network."""
    critic_width: int = 24
    """Channels of the critic's first layer."""
    batch: int = 64
    """Windows a step."""
    critic_steps: int = 3
    """Steps of the critic before each of the generator."""
    penalty: float = 10.0
    """Weight of the gradient penalty."""
    generator_rate: float = 5e-4
    """Learning rate of the generator (Adam)."""
    critic_rate: float = 1e-3
    """Learning rate of the critic (Adam)."""
    average: float = 0.995
    """Share that the running mean of the generator's weights keeps a step; the mean is what generates."""
    steps: int = 600
    """Steps of the generator."""
    sets: tuple[str, ...] = ()
    """Data set and indicator, such as "DS09 GCaMP6f", of each cell that was learned from; `fit_gan` fills them in."""
    seed: int = 0
    """Of weights, batches and latents."""

    def __post_init__(self) -> None:
        for name in ("fs", "window", "history", "latent", "width", "critic_width", "batch", "critic_steps", "steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}")
        object.__setattr__(self, "sets", tuple(self.sets))  # a list where it comes from JSON
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be in [0, 1), got {self.average!r}")
