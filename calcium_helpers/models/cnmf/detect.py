"""``detect``: from a motion-corrected movie to cells, in the order seeds, refinement, merging, traces, acceptance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.memory import scratch_array
from calcium_helpers.models.cnmf import refine
from calcium_helpers.models.cnmf.config import CNMFConfig
from calcium_helpers.models.cnmf.demix import demix
from calcium_helpers.models.cnmf.prepare import Prepared, prepare, valid_mask
from calcium_helpers.models.cnmf.seeds import find_seeds, plausible_area
from calcium_helpers.results import Detection

START_DIAMETER_PX = 10.0  # with which the diameter is estimated
ROUND = 0.85  # compactness that speaks for a cell whatever its trace
BACKGROUND_CELLS = 3.0  # bumps of the background stand this many cell diameters apart


def detect(
    movie: Movie,
    *,
    config: CNMFConfig | None = None,
    valid: tuple[int, int, int, int] | None = None,
    bad_frames: np.ndarray | None = None,
    progress: bool = False,
) -> Detection:
    """Find cells and their traces by constrained non-negative matrix factorisation, in two- and one-photon movies.

    In the spirit of Pnevmatikakis et al. 2016 (doi:10.1016/j.neuron.2015.11.037): seeds from local correlation times
    peak-to-noise ratio, footprints and traces refined by alternating non-negative least squares, merging, a low-rank
    background, and a quality check of every component.

    Parameters
    ----------
    movie : Movie
        Motion-corrected.
    config : CNMFConfig, optional
        Defaults suit somata.
    valid : tuple of int, optional
        Rectangle (y0, y1, x0, x1) that cells must lie in, as in ``Shifts.valid``; the whole frame where not given.
    bad_frames : ndarray of int, optional
        Frames that detection must not look at.
    progress : bool
        Show progress bars.

    Returns
    -------
    Detection
        ``traces`` are demixed, in counts (kind "raw"). ``scores`` has ``accepted, reason, snr, contrast, consistency,
        compactness`` and ``area_px``; ``extras`` has ``diameter_px``.

    Raises
    ------
    ValueError
        When ``bad_frames`` leaves no frame.
    """
    config = config or CNMFConfig()
    inside = valid_mask(movie, valid)
    prepared = prepare(movie, decay_s=config.decay_s, highpass_s=config.highpass_s, bad_frames=bad_frames, progress=progress)
    diameter = config.diameter_px or estimate_diameter(prepared, inside, threshold=config.seed_threshold)
    whitened = prepared.whiten(diameter)
    components, counts = _find_components(whitened, inside, diameter, config, progress)
    scores = _score(whitened, components, diameter, config)
    footprints = Footprints(components.footprints, movie.shape[1:])
    spacing = BACKGROUND_CELLS * diameter
    demixed = demix(movie, footprints, prepared.mean, prepared.noise, spacing_px=spacing, progress=progress)
    traces = Traces(demixed.traces, movie.fs, "raw")
    funnel = _funnel(counts, scores)
    return Detection(footprints, traces, (demixed.spatial, demixed.temporal), scores, funnel, {"diameter_px": float(diameter)})


def _find_components(
    whitened: np.ndarray, inside: np.ndarray, diameter_px: float, config: CNMFConfig, progress: bool
) -> tuple[refine.Components, np.ndarray]:
    """Search and refine, twice: what the first round fitted badly hides cells beside it, which its residual shows.

    The counts are of places tried, seeds, and seeds that were not parts of another cell.
    """
    shape, most = (inside.shape[0], inside.shape[1]), plausible_area(diameter_px)[1]
    components = refine.from_seeds([], shape, len(whitened))
    residual = scratch_array(whitened.shape)
    counts = np.zeros(3, dtype=int)
    for number in range(config.n_searches):
        threshold = config.seed_threshold if number == 0 else np.inf  # what cells leave is no background to compare with
        refine.subtract(whitened, components, out=residual)
        seeds, n_tried = find_seeds(residual, inside, diameter_px=diameter_px, threshold=threshold, progress=progress)
        both = refine.join(components, refine.from_seeds(seeds, shape, len(whitened)))
        merged = refine.merge(whitened, both, correlation=config.merge_correlation)
        counts += n_tried, len(seeds), len(merged.traces) - len(components.traces)
        refined = refine.refine(whitened, merged, n_iterations=config.n_iterations, most_px=most)
        components = refine.merge(whitened, refined, correlation=config.merge_correlation)
    return components, counts


def estimate_diameter(prepared: Prepared, inside: np.ndarray, *, threshold: float) -> float:
    """Median diameter, px, of the circles with the areas of the 40 strongest cells in the middle of the field.

    10 px where there are fewer than three.
    """
    diameter = START_DIAMETER_PX
    centre = tuple(slice(max(n // 2 - 128, 0), n // 2 + 128) for n in inside.shape)
    for _ in range(4):
        part = prepared.crop(centre).whiten(diameter)
        seeds, _ = find_seeds(part, inside[centre], diameter_px=diameter, threshold=2 * threshold, max_seeds=40)
        if len(seeds) < 3:
            break
        areas = [np.count_nonzero(seed.footprint) for seed in seeds]
        last, diameter = diameter, float(np.clip(2 * np.sqrt(np.median(areas) / np.pi), 4, min(inside.shape) / 4 + 4))
        if last / 1.5 < diameter < 1.5 * last:  # nearer than that, another round would only merge neighbours
            break
    return diameter


def _score(whitened: np.ndarray, components: refine.Components, diameter_px: float, config: CNMFConfig) -> pd.DataFrame:
    """Score every component and say whether it is a cell, and if not, why."""
    snr, contrast = peak_snr(components.traces)
    scores = pd.DataFrame(
        {
            "snr": snr,
            "contrast": contrast,
            "consistency": refine.estimate_consistency(whitened, components),
            "compactness": compactness(components.footprints, whitened.shape[1:]),
            "area_px": np.diff(components.footprints.indptr),
        },
        index=pd.RangeIndex(len(snr), name="id"),
    )
    return decide(scores, judge(scores, config, diameter_px))


def judge(scores: pd.DataFrame, config: CNMFConfig, diameter_px: float) -> np.ndarray:
    """Say of each component why it is no cell, shape (N,); empty where it is one."""
    least, most = plausible_area(diameter_px)
    reason = np.full(len(scores), "", dtype=object)
    reason[(scores["area_px"] < least) | (scores["area_px"] > most)] = "size"
    reason[scores["compactness"] < config.min_compactness] = "not compact"
    dull = (scores["contrast"] < config.min_contrast) & (scores["compactness"] < ROUND)
    reason[dull] = "rises and falls like background"
    reason[scores["consistency"] < config.min_consistency] = "not found again in both halves"
    reason[scores["snr"] < config.min_snr] = "low SNR"
    return keep_best(reason, scores["snr"], config.max_cells)


def keep_best(reason: np.ndarray, rank: pd.Series, max_cells: int | None) -> np.ndarray:
    """Leave at most ``max_cells`` components without a reason against them, those of the highest rank."""
    if max_cells is not None:
        ranked = np.argsort(-rank.to_numpy(), kind="stable")
        reason[ranked[reason[ranked] == ""][max_cells:]] = "beyond max_cells"
    return reason


def decide(scores: pd.DataFrame, reason: np.ndarray) -> pd.DataFrame:
    """Write into scores what speaks against each component, and that those without are cells."""
    verdict = pd.DataFrame({"accepted": reason == "", "reason": reason.astype(str)}, index=scores.index)
    return pd.concat([verdict, scores], axis=1)


def peak_snr(traces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the three highest bins above the median, over the noise and over the spread below the median, both (N,).

    The noise comes from differences of bins. Transients lift a trace far above the median; background goes down as far as up.
    """
    if traces.shape[1] < 2:
        return np.zeros(len(traces)), np.zeros(len(traces))
    noise = np.maximum(1.4826 * np.median(np.abs(np.diff(traces, axis=1)), axis=1) / np.sqrt(2), 1e-6)
    above = traces - np.median(traces, axis=1, keepdims=True)
    below = np.sqrt((np.minimum(above, 0) ** 2).sum(axis=1) / np.maximum((above < 0).sum(axis=1), 1))
    peak = np.sort(above, axis=1)[:, -3:].mean(axis=1)
    return peak / noise, peak / np.maximum(below, 1e-6)


def compactness(footprints: sparse.csr_matrix, shape: tuple[int, ...]) -> np.ndarray:
    """Area of each footprint (N, H*W) over that of the disc with the same moment of inertia, shape (N,): 1 for a disc."""
    result = np.ones(footprints.shape[0])
    for row, (start, stop) in enumerate(zip(footprints.indptr[:-1], footprints.indptr[1:], strict=True)):
        y, x = np.divmod(footprints.indices[start:stop], shape[1])
        result[row] = (stop - start) / (2 * np.pi * (y.var() + x.var() + 1 / 6))  # 1 / 6: a pixel's own extent
    return result


def _funnel(counts: np.ndarray, scores: pd.DataFrame) -> pd.DataFrame:
    """Count what went where, from the places looked at to the cells kept."""
    n_tried, n_seeds, n_merged = counts.tolist()
    rows = [
        ("places tried", n_tried, "local correlation x peak-to-noise above the background"),
        ("seeded", n_seeds, f"{n_tried - n_seeds} had no footprint of plausible size"),
        ("merged", n_merged, f"{n_seeds - n_merged} were parts of another cell"),
        ("refined", len(scores), f"{n_merged - len(scores)} vanished or merged in the refinement"),
    ]
    why = ", ".join(f"{n} {reason}" for reason, n in scores.loc[~scores["accepted"], "reason"].value_counts().items())
    rows.append(("kept", int(scores["accepted"].sum()), why or "all passed the quality check"))
    return pd.DataFrame(rows, columns=["stage", "n", "why"])
