"""From a prepared movie to scored components: passes of the network, footprints on the frame, measures of quality."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.containers import Footprints
from calcium_helpers.memory import scratch_array
from calcium_helpers.models.cnmf import refine
from calcium_helpers.models.cnmf.detect import compactness, peak_snr
from calcium_helpers.models.cnmf.prepare import Prepared
from calcium_helpers.models.lstm_ista.config import LSTMISTAConfig
from calcium_helpers.models.lstm_ista.fields import whiten_from_rest
from calcium_helpers.models.lstm_ista.network import LSTMISTA
from calcium_helpers.models.lstm_ista.slots import Slots, join_slots, one_a_cell
from calcium_helpers.models.lstm_ista.tiles import find_slots
from calcium_helpers.models.lstm_ista.zoom import zoom_factor

FRAGMENT_ROUNDS = 2  # what is left out in one gives its signal to those that the next looks at


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
    rest = whiten_from_rest(prepared, diameter_px)
    shape = (rest.shape[1], rest.shape[2])
    slots, counts = join_slots([], shape), [0, 0]
    attention = np.zeros(shape, dtype=np.float32)
    residual = rest
    for number in range(config.n_passes):
        if number:
            residual = scratch_array(rest.shape)
            refine.subtract(rest, _components(rest, slots), out=residual)
        found = find_slots(
            model, residual, config, factor=zoom_factor(diameter_px), device=device, batch_size=batch_size, progress=progress
        )  # fmt: skip
        attention = np.maximum(attention, found.attention)
        new = found.slots.select(_are_inside(found.slots, inside))
        counts[0] += len(new.presence)
        new = new.select(one_a_cell(new, residual))
        slots = join_slots([slots, new], shape)
        slots = slots.select(one_a_cell(slots, rest))
        slots = _without_fragments(rest, slots, config.min_snr)
    counts[1] = len(slots.presence)
    scores = _measure(rest, slots)
    scores["area_px"] = np.diff(slots.footprints.indptr)
    return Searched(slots.footprints, scores, counts, attention)


def _components(rest: np.ndarray, slots: Slots) -> refine.Components:
    """Footprints of unit norm, and their traces by least squares."""
    norms = np.sqrt(np.asarray(slots.footprints.multiply(slots.footprints).sum(axis=1)).reshape(-1))
    return refine.update_traces(rest, sparse.csr_matrix(sparse.diags(1 / np.maximum(norms, 1e-9)) @ slots.footprints))


def _without_fragments(rest: np.ndarray, slots: Slots, min_snr: float) -> Slots:
    """Leave out what overlaps a surer footprint and has no signal of its own once all are fitted together."""
    for _ in range(FRAGMENT_ROUNDS):
        masks = slots.footprints.astype(bool).astype(np.float32)
        beside_surer = (masks @ masks.T).toarray() > 0
        beside_surer &= slots.presence[None, :] > slots.presence[:, None]
        weak = peak_snr(_components(rest, slots).traces)[0] < min_snr
        slots = slots.select(np.flatnonzero(~(weak & beside_surer.any(axis=1))))
    return slots


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


def _are_inside(slots: Slots, inside: np.ndarray) -> np.ndarray:
    """Whether the centre of each footprint lies where cells may be."""
    y, x = np.rint(Footprints(slots.footprints, inside.shape).centroids).astype(int).T
    return inside[y, x]
