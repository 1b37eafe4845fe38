"""What a run may be told: one dataclass, with the steps' own configurations inside."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from calcium_helpers.containers._base import check_positive
from calcium_helpers.denoise import DenoiseConfig
from calcium_helpers.indicators import get_indicator
from calcium_helpers.models.cnmf import CNMFConfig
from calcium_helpers.models.lstm_ista import LSTMISTAConfig
from calcium_helpers.models.one_photon import CoordinatesConfig
from calcium_helpers.motion import ONE_PHOTON, TWO_PHOTON, MotionConfig
from calcium_helpers.pipeline.detectors import DETECTORS, field_of

# Checked before a run begins, not when hours later a step comes to them.
CHOICES = {
    "f0": ("cell", "all"), "baseline": ("percentile", "maximin"), "polarity": (1, -1), "deconvolution": ("ar1", "ar2"),
    "spikes": ("oasis", "net"), "detector": (*DETECTORS, "rois"),
}  # fmt: skip


@dataclass(frozen=True)
class PipelineConfig:
    """Parameters of a run; ``PipelineConfig.for_modality("2p")`` gives the defaults of a modality."""

    modality: Literal["2p", "1p"]
    """Two-photon or one-photon; asked for, never guessed."""
    motion: MotionConfig | None = TWO_PHOTON
    """Motion correction; None skips it."""
    detector: str = "cnmf"
    """A name from ``DETECTORS``; "rois" where regions are given in its place."""
    cnmf: CNMFConfig = field(default_factory=CNMFConfig)
    """Parameters of the detector ``cnmf``."""
    coordinates: CoordinatesConfig = field(default_factory=CoordinatesConfig)
    """Parameters of the detector ``coordinates``, which is for one-photon movies."""
    lstm_ista: LSTMISTAConfig = field(default_factory=LSTMISTAConfig)
    """Parameters of the detector ``lstm-ista``, which is for two-photon movies."""
    seed: int = 0
    """Of a detector that draws random numbers."""
    denoise: DenoiseConfig | None = None
    """Denoising; None skips it. Traces are taken from the denoised movie; cells are looked for in the movie as it is, since
    the detector's thresholds are made for its noise."""
    offset: float = 0.0
    """Counts that mean no light (the camera's or digitiser's offset): dF/F is relative to the light above it."""
    neuropil: float | Literal["fit"] = 0.7
    """Share of the surrounding neuropil taken out of each cell, 0..1, or fitted cell by cell: a fit near 1 leaves little
    light to divide by, and dF/F grows large."""
    unmix: bool = True
    """Tell the light of overlapping cells apart."""
    f0: Literal["cell", "all"] = "cell"
    """What dF/F is relative to: the resting light of the cell itself, or, as in one-photon movies, all light in its place."""
    baseline: Literal["percentile", "maximin"] = "percentile"
    """Baseline F0 of dF/F."""
    baseline_window_s: float = 60.0
    """Window of the baseline, s."""
    polarity: Literal[1, -1] = 1
    """-1 for indicators that dim when calcium rises."""
    deconvolution: Literal["ar1", "ar2"] = "ar2"
    """Model of calcium for spike inference."""
    spikes: Literal["oasis", "net"] = "oasis"
    """Spikes from deconvolution, in dF/F a frame, or from a network trained on electrophysiology, in Hz. Events and denoised
    traces come from deconvolution either way. It is the default since it works with any rate, indicator and noise, and says in
    the traces' own unit what explains them; the network is right more often where it was trained, and its delay is none."""
    indicator: str | None = None
    """Take rise and decay from the indicator table; None finds them from the traces."""
    false_positives_per_min: float = 0.1
    """Events a minute that noise alone may set off in each trace."""

    def __post_init__(self) -> None:
        if self.modality not in ("2p", "1p"):
            raise ValueError(f'modality must be "2p" or "1p", got {self.modality!r}')
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")
        if self.detector in DETECTORS and self.modality not in DETECTORS[self.detector].modalities:
            raise ValueError(
                f'detector="{self.detector}" is not made for modality="{self.modality}": say '
                f'modality="{DETECTORS[self.detector].modalities[0]}" if that is what the movie is, or take detector="cnmf"'
            )
        if self.neuropil != "fit" and not (isinstance(self.neuropil, int | float) and 0 <= self.neuropil <= 1):
            raise ValueError(f'neuropil must be "fit" or a share in 0..1, got {self.neuropil!r}')
        if not isinstance(self.offset, int | float) or not math.isfinite(self.offset):
            raise ValueError(f"offset must be a finite number of counts, got {self.offset!r}")
        check_positive("baseline_window_s", self.baseline_window_s, "seconds")
        check_positive("false_positives_per_min", self.false_positives_per_min, "events a minute")
        if self.indicator is not None:
            get_indicator(self.indicator)

    @classmethod
    def for_modality(cls, modality: str, **changes: Any) -> PipelineConfig:
        """Return the defaults of "2p" or "1p", with the named fields changed."""
        one_photon = {"motion": ONE_PHOTON, "neuropil": "fit", "f0": "all"}
        defaults = one_photon if modality == "1p" else {"motion": TWO_PHOTON}
        return cls(**{"modality": modality, **defaults, **changes})

    @property
    def detector_config(self) -> Any:
        """Parameters of the detector that runs."""
        return getattr(self, field_of(self.detector))

    def as_dict(self) -> dict[str, Any]:
        """Return all parameters as nested plain types, without those of detectors that do not run."""
        others = {field_of(name) for name in DETECTORS if name != self.detector}
        return {name: value for name, value in asdict(self).items() if name not in others}
