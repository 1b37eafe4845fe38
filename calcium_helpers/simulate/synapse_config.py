"""What a simulated recording of miniature synaptic transients looks like."""

from __future__ import annotations

from dataclasses import dataclass, fields

from calcium_helpers.containers._base import check_positive

POSITIVE = {
    "fs": "Hz",
    "pixel_um": "micrometres",
    "psf_um": "micrometres",
    "photons": "photons",
    "amplitude": "photons",
    "gain": "counts",
}
"""Numbers that must be above 0, with their unit."""


@dataclass(frozen=True, kw_only=True)
class SynapseConfig:
    """Anatomy, events and camera; ranges are (low, high) and drawn log-uniformly.

    Events follow what is reported of miniature synaptic transients in cultured neurons (some tenths of a square micrometre to
    a few, some tenths of a second to a few).
    """

    n_frames: int = 300
    """Frames."""
    height: int = 128
    """Rows, px."""
    width: int = 128
    """Columns, px."""
    fs: float = 10.0
    """Frame rate, Hz."""
    pixel_um: float = 0.16
    """Side of a pixel, micrometres."""
    n_dendrites: int = 2
    """Dendrites that cross the field; about every second one branches."""
    calibre_um: tuple[float, float] = (0.6, 1.6)
    """Diameter of a dendrite, micrometres; a branch has 0.7 of it."""
    spines_per_um: float = 0.7
    """Spines a micrometre of dendrite."""
    head_um: tuple[float, float] = (0.4, 1.0)
    """Diameter of a spine's head, micrometres."""
    psf_um: float = 0.15
    """Standard deviation of the microscope's blur, micrometres."""
    photons: float = 30.0
    """Brightness of the dendrites in their median, photons a pixel and frame."""
    glow_photons: float = 6.0
    """Mean light from out of focus, photons a pixel and frame."""
    n_events: float = 24.0
    """Expected number of events; those of touching pairs count."""
    on_dendrite: float = 0.25
    """Share of the sites that lie on the shaft."""
    recurrent: float = 0.4
    """Share of the sites that fire more than once."""
    touching: float = 0.3
    """Share of the events that are drawn to touch another one, in space or in time."""
    amplitude: float = 0.25
    """Median peak brightness of an event, in units of ``photons``."""
    amplitude_log_sd: float = 0.55
    """Log-sd of the peak brightness."""
    spread_um: tuple[float, float] = (0.2, 1.2)
    """Reach (sd) of an event on a synapse from the head into the shaft, micrometres."""
    length_um: tuple[float, float] = (0.5, 1.6)
    """Reach (sd) of an event along the shaft, micrometres."""
    decay_s: tuple[float, float] = (0.15, 1.3)
    """Time constant of the decay on synapses, s."""
    dendrite_decay_s: tuple[float, float] = (0.5, 1.5)
    """The same on dendrites, s."""
    mask_share: float = 0.25
    """An event is where its own light exceeds this share of its peak."""
    distractors_per_min: float = 3.0
    """Transients of a whole dendrite, which are no events, per minute."""
    bleaching: float = 0.15
    """Fraction of brightness lost over the recording."""
    drift_px: float = 0.4
    """Largest drift that motion correction left, px; the truth stays where the event is without it."""
    read_noise: float = 1.5
    """Read noise, electrons."""
    gain: float = 8.0
    """Counts an electron, on an offset of 100."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("n_frames", "height", "width", "n_dendrites"):
                if not isinstance(value, int) or value < 1:
                    raise ValueError(f"{field.name} must be a whole number of at least 1, got {value!r}")
            elif field.name in POSITIVE:
                check_positive(field.name, value, POSITIVE[field.name])
            elif isinstance(value, tuple):
                if len(value) != 2 or not 0 < value[0] <= value[1]:
                    raise ValueError(f"{field.name} must be (low, high) with 0 < low <= high, got {value}")
            elif field.name in ("on_dendrite", "recurrent", "touching", "mask_share", "bleaching"):
                if not 0 <= value <= 1:
                    raise ValueError(f"{field.name} must be a share between 0 and 1, got {value}")
            elif not value >= 0:
                raise ValueError(f"{field.name} must be 0 or more, got {value}")
