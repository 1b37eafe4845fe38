"""From a prepared movie to scored components: passes of the network, footprints on the frame, measures of quality."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.memory import scratch_array
from calcium_helpers.models.cnmf import refine
from calcium_helpers.models.cnmf.detect import compactness, peak_snr
from calcium_helpers.models.cnmf.prepare import Prepared
from calcium_helpers.models.lstm_ista.config import LSTMISTAConfig
from calcium_helpers.models.lstm_ista.fields import whiten_from_rest
from calcium_helpers.models.lstm_ista.network import LSTMISTA
from calcium_helpers.models.lstm_ista.slots import Slots, join_slots, one_a_cell
from calcium_helpers.models.lstm_ista.tiles import find_slots

USUAL_PX = 13.0
"""Diameter, px, of the cells that the network was trained on, in the mean."""


class Searched(NamedTuple):
    """``footprints`` (N, H*W) and their ``scores``; ``counts`` of slots and of what became of them; ``attention`` (H, W)."""

    footprints: sparse.csr_matrix
    scores: pd.DataFrame
    counts: list[int]
    attention: np.ndarray


def search(
    model: LSTMISTA, prepared: Prepared, inside: np.ndarray, diameter_px: float, config: LSTMISTAConfig, *, device: str,
    batch_size: int, progress: bool,
) -> Searched:  # fmt: skip
    """Find components in a prepared movie, which is changed."""
    factor = max(1, int(diameter_px / USUAL_PX + 0.4))
    factor = min(factor, *inside.shape)
    rest = whiten_from_rest(pool(prepared, factor), diameter_px / factor)
    shape = (rest.shape[1], rest.shape[2])
    slots, counts = join_slots([], shape), [0, 0]
    attention = np.zeros(shape, dtype=np.float32)
    residual = rest
    for number in range(config.n_passes):
        if number:
            residual = scratch_array(rest.shape)
            refine.subtract(rest, _components(rest, slots), out=residual)
        found = find_slots(
            model, residual, max_bins=config.max_bins, reduction=config.reduction, device=device, batch_size=batch_size,
            progress=progress,
        )  # fmt: skip
        attention = np.maximum(attention, found.attention)
        new = found.slots.select(_are_inside(found.slots, inside, factor))
        counts[0] += len(new.presence)
        new = new.select(one_a_cell(new, residual))
        slots = join_slots([slots, new], shape)
        slots = slots.select(one_a_cell(slots, rest))
    counts[1] = len(slots.presence)
    scores = _measure(rest, slots)
    footprints = unpool(slots.footprints, factor, inside.shape)
    scores["area_px"] = np.diff(footprints.indptr)
    return Searched(footprints, scores, counts, np.kron(attention, np.ones((factor, factor), np.float32)))


def _components(rest: np.ndarray, slots: Slots) -> refine.Components:
    """Footprints of unit norm, and their traces by least squares."""
    norms = np.sqrt(np.asarray(slots.footprints.multiply(slots.footprints).sum(axis=1)).reshape(-1))
    return refine.update_traces(rest, sparse.csr_matrix(sparse.diags(1 / np.maximum(norms, 1e-9)) @ slots.footprints))


def _measure(rest: np.ndarray, slots: Slots) -> pd.DataFrame:
    """Measure what speaks for each component: one row each."""
    components = _components(rest, slots)
    snr, contrast = peak_snr(components.traces)
    return pd.DataFrame(
        {
            "confidence": slots.presence,
            "snr": snr,
            "contrast": contrast,
            "consistency": refine.estimate_consistency(rest, components),
            "compactness": compactness(components.footprints, rest.shape[1:]),
        },
        index=pd.RangeIndex(len(snr), name="id"),
    )


def _are_inside(slots: Slots, inside: np.ndarray, factor: int) -> np.ndarray:
    """Whether the centre of each footprint lies where cells may be."""
    width = inside.shape[1] // factor
    total = np.maximum(np.asarray(slots.footprints.sum(axis=1)).reshape(-1), 1e-9)
    y, x = np.divmod(np.arange(slots.footprints.shape[1]), width)
    centres = [np.asarray(slots.footprints @ axis).reshape(-1) / total for axis in (y, x)]
    yx = [((np.rint(c) + 0.5) * factor).astype(int) for c in centres]
    return inside[np.minimum(yx[0], inside.shape[0] - 1), np.minimum(yx[1], inside.shape[1] - 1)]


def pool(prepared: Prepared, factor: int) -> Prepared:
    """Average ``factor`` x ``factor`` pixels: large cells get the size that the network knows."""
    if factor == 1:
        return prepared
    height, width = (n // factor for n in prepared.mean.shape)

    def blocks(image: np.ndarray) -> np.ndarray:
        cut = image[..., : height * factor, : width * factor]
        return cut.reshape(*image.shape[:-2], height, factor, width, factor).mean(axis=(-3, -1))

    binned = scratch_array((len(prepared.binned), height, width))
    for frame, pooled in zip(prepared.binned, binned, strict=True):
        pooled[:] = blocks(frame)
    noise = np.sqrt(blocks(prepared.noise**2)) / factor
    return Prepared(binned, blocks(prepared.mean), noise.astype(np.float32), prepared.frames_per_bin)


def unpool(footprints: sparse.csr_matrix, factor: int, shape: tuple[int, ...]) -> sparse.csr_matrix:
    """Draw pooled footprints in the frame's own pixels."""
    if factor == 1:
        return footprints
    height, width = (n // factor for n in shape)
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    used = (y < height * factor) & (x < width * factor)
    source = (y[used] // factor) * width + x[used] // factor
    columns = np.flatnonzero(used)
    spread = sparse.csr_matrix(
        (np.ones(len(columns), np.float32), (source, columns)), shape=(height * width, shape[0] * shape[1])
    )
    return sparse.csr_matrix(footprints @ spread)
