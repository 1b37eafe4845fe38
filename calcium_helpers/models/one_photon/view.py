"""The movie as the coordinates see it: binned in time and space, without glow, in units of its noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calcium_helpers.background import subtract_glow
from calcium_helpers.memory import scratch_array
from calcium_helpers.models.cnmf.prepare import Prepared
from calcium_helpers.models.one_photon.wobble import Wobble

PIXELS_A_CELL = 5.0
"""Diameter that a cell keeps at least, pooled px: blobs are placed between pixels, so that more adds time only."""


class View(NamedTuple):
    """``whitened`` (B, h, w) with noise 1; ``share`` of the glow and ``noise`` of its pixels, ``inside`` where cells may be.

    ``wobble`` is the movement that registration left. All are pooled by ``factor``; ``diameter_px`` is a cell's in pooled
    pixels, and the glow's blur.
    """

    whitened: np.ndarray
    share: np.ndarray
    noise: np.ndarray
    inside: np.ndarray
    wobble: Wobble
    diameter_px: float
    factor: int

    def to_frame(self, yx: np.ndarray) -> np.ndarray:
        """Turn places in pooled pixels into places in the movie's."""
        return (yx + 0.5) * self.factor - 0.5


def look(prepared: Prepared, inside: np.ndarray, *, diameter_px: float) -> View:
    """Pool a prepared movie as far as the size of cells allows, take out its glow and divide by its noise."""
    factor = max(1, int(diameter_px / PIXELS_A_CELL))
    factor = min(factor, *inside.shape)
    mean, noise = pool(prepared.mean, factor), np.sqrt(pool(prepared.noise**2, factor)) / factor
    whitened = scratch_array((len(prepared.binned), *mean.shape))
    for frame, pooled in zip(prepared.binned, whitened, strict=True):
        pooled[:] = pool(frame, factor)
    diameter_px = diameter_px / factor
    share = subtract_glow(whitened, mean, sd_px=diameter_px).share
    scale = (np.sqrt(prepared.frames_per_bin) / noise).astype(np.float32)
    for frame in whitened:
        frame *= scale
    within = pool(inside.astype(np.float32), factor) > 0.999
    wobble = Wobble(mean, share, noise, within, diameter_px=diameter_px)
    wobble.subtract(whitened, whitened)
    return View(whitened, share, noise, within, wobble, diameter_px, factor)


def pool(image: np.ndarray, factor: int) -> np.ndarray:
    """Means of ``factor`` x ``factor`` pixels; what does not fill a block is left out."""
    height, width = (n // factor for n in image.shape)
    block = image[: height * factor, : width * factor]
    return block.reshape(height, factor, width, factor).mean(axis=(1, 3))
