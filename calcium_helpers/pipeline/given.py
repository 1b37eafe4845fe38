"""What a run may be given beside the movie, and what of it cannot be used."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from calcium_helpers.containers import Footprints, Movie
from calcium_helpers.motion import SMALLEST_SIDE_PX
from calcium_helpers.noise import estimate_snr
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.steps import Activity
from calcium_helpers.results import Detection, Simulation


class Given(NamedTuple):
    """What is known of a recording beside its movie; each may be left out.

    ``truth`` of a simulated movie: the summary then says how much of it was recovered. ``regions`` (in pixels of the
    motion-corrected movie) take the place of detection, all count as cells. On ``register_on``, another channel of the same
    frames, motion is estimated; the shifts are applied to the movie.
    """

    truth: Simulation | None = None
    regions: Footprints | None = None
    register_on: Movie | None = None

    def check(self, movie: Movie, config: PipelineConfig) -> None:
        """Raise where something does not belong to the movie."""
        if self.regions is not None and self.regions.shape != movie.shape[1:]:
            raise ValueError(f"regions must fit the movie's frames of {movie.shape[1:]} px, got {self.regions.shape}")
        if self.regions is not None and not len(self.regions):
            raise ValueError("regions must be at least one, got none: leave them out to have cells found")
        if self.register_on is None:
            return
        if config.motion is None:
            raise ValueError("register_on needs motion correction, got motion = None: leave one of them out")
        if self.register_on.shape != movie.shape:
            raise ValueError(
                f"register_on must have the movie's {movie.n_frames} frames of {movie.shape[1]} x {movie.shape[2]} px, got "
                f"{self.register_on.shape[0]} of {self.register_on.shape[1]} x {self.register_on.shape[2]}: "
                "two channels of one recording are expected"
            )


def corrects_motion(movie: Movie, config: PipelineConfig) -> bool:
    """Whether a run corrects motion: it was asked for, and the frames are large enough."""
    return config.motion is not None and min(movie.shape[1:]) >= SMALLEST_SIDE_PX


def take_regions(regions: Footprints, activity: Activity) -> Detection:
    """Return regions of the user as if a detector had found them: all of them are cells."""
    scores = pd.DataFrame(
        {"accepted": True, "reason": "", "snr": estimate_snr(activity.dff), "area_px": regions.area_px},
        index=pd.Index(regions.ids, name="id"),
    )
    why = "cells were not looked for: each region counts as one; its SNR is that of dF/F frame by frame"
    funnel = pd.DataFrame([("regions of the user", len(regions), why)], columns=["stage", "n", "why"])
    return Detection(regions, activity.raw, None, scores, funnel, {})
