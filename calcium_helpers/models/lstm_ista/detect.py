"""``detect``: from a motion-corrected two-photon movie to cells with a trained network."""

from __future__ import annotations

import numpy as np
import pandas as pd

from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.models.cnmf.config import CNMFConfig
from calcium_helpers.models.cnmf.demix import demix
from calcium_helpers.models.cnmf.detect import BACKGROUND_CELLS, decide, estimate_diameter, keep_best
from calcium_helpers.models.cnmf.prepare import prepare, valid_mask
from calcium_helpers.models.lstm_ista.config import LSTMISTAConfig
from calcium_helpers.results import Detection

LEAST_CONSISTENCY = 0.3  # of the footprints that two halves of the recording give: what is less is noise


def detect(
    movie: Movie,
    *,
    config: LSTMISTAConfig | None = None,
    valid: tuple[int, int, int, int] | None = None,
    bad_frames: np.ndarray | None = None,
    device: str = "cpu",
    batch_size: int = 1,
    progress: bool = False,
) -> Detection:
    """Find cells and their traces with a network of unrolled sparse coding and recurrence, in two-photon movies.

    After the idea of Zhang et al. 2024 (doi:10.1038/s42256-024-00892-w). The movie is averaged over half a transient, drift,
    glow and the resting light are taken out, and it is divided by its noise. A longer movie is reduced to ``config.max_bins``
    bins a tile: up to four neighbours are averaged, then those with the strongest activity are taken. Slots that draw one
    cell are made one, traces at the full rate come from a least-squares fit of all cells and a background, and the
    network's trace head cleans them.

    Parameters
    ----------
    movie : Movie
        Motion-corrected.
    config : LSTMISTAConfig, optional
        Nothing needs to be set for somata.
    valid : tuple of int, optional
        Rectangle (y0, y1, x0, x1) that cells must lie in, as in ``Shifts.valid``; the whole frame where not given.
    bad_frames : ndarray of int, optional
        Frames that detection must not look at.
    device : str
        Where the network runs: "cpu", "cuda".
    batch_size : int
        Tiles at once: the result is the same.
    progress : bool
        Show progress bars.

    Returns
    -------
    Detection
        ``traces`` are demixed, in counts (kind "raw"). ``scores`` has ``accepted, reason, confidence, snr, contrast,
        consistency, compactness`` and ``area_px``. ``extras`` has ``diameter_px``, ``denoised_traces``, those that the trace
        head cleaned (kind "denoised", counts above rest), and ``attention`` (H, W), how probably a pixel is of an active cell.

    Raises
    ------
    ValueError
        When ``bad_frames`` leaves no frame.
    MovieFileError
        Where ``config.weights`` names no network.
    """
    from calcium_helpers.models.lstm_ista.clean import clean_traces  # torch takes seconds to load
    from calcium_helpers.models.lstm_ista.search import search
    from calcium_helpers.models.lstm_ista.training import load_lstm_ista

    config = config or LSTMISTAConfig()
    model = load_lstm_ista(config.weights)
    inside = valid_mask(movie, valid)
    prepared = prepare(movie, decay_s=config.decay_s, highpass_s=config.highpass_s, bad_frames=bad_frames, progress=progress)
    mean, noise = prepared.mean, prepared.noise
    diameter = config.diameter_px or estimate_diameter(prepared, inside, threshold=CNMFConfig.seed_threshold)
    found = search(model, prepared, inside, diameter, config, device=device, batch_size=batch_size, progress=progress)
    del prepared  # as large as the binned movie
    scores = decide(found.scores, judge(found.scores, config))
    footprints = Footprints(found.footprints, movie.shape[1:])
    demixed = demix(movie, footprints, mean, noise, spacing_px=BACKGROUND_CELLS * diameter, progress=progress)
    traces = Traces(demixed.traces, movie.fs, "raw")
    clean = clean_traces(model, traces, decay_s=config.decay_s, device=device)
    extras = {"diameter_px": float(diameter), "denoised_traces": clean, "attention": found.attention}
    return Detection(footprints, traces, (demixed.spatial, demixed.temporal), scores, _funnel(found.counts, scores), extras)


def judge(scores: pd.DataFrame, config: LSTMISTAConfig, _: float | None = None) -> np.ndarray:
    """Say of each component why it is no cell, shape (N,); empty where it is one."""
    reason = np.full(len(scores), "", dtype=object)
    reason[scores["consistency"] < LEAST_CONSISTENCY] = "not found again in both halves"
    reason[scores["snr"] < config.min_snr] = "low SNR"
    reason[scores["confidence"] < config.min_confidence] = f"confidence below {config.min_confidence:g}"
    return keep_best(reason, scores["confidence"], config.max_cells)


def _funnel(counts: list[int], scores: pd.DataFrame) -> pd.DataFrame:
    """Count what became of the slots."""
    n_slots, n_cells = counts
    accepted = int(scores["accepted"].sum())
    why = ", ".join(f"{n} {reason}" for reason, n in scores.loc[~scores["accepted"], "reason"].value_counts().items())
    rows = [
        ("slots", n_slots, "in which the network sees a cell with some probability"),
        ("components", n_cells, f"{n_slots - n_cells} drew what another slot drew with more certainty, or a part of it"),
        ("kept", accepted, why or "all passed the quality check"),
    ]
    return pd.DataFrame(rows, columns=["stage", "n", "why"])
