"""``detect``: from a motion-corrected one-photon movie to cells, by coordinates that learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.models.cnmf.config import CNMFConfig
from calcium_helpers.models.cnmf.demix import demix
from calcium_helpers.models.cnmf.detect import BACKGROUND_CELLS, decide, estimate_diameter, keep_best
from calcium_helpers.models.cnmf.prepare import prepare, valid_mask
from calcium_helpers.models.one_photon.config import CoordinatesConfig
from calcium_helpers.models.one_photon.view import View, look
from calcium_helpers.results import Detection

if TYPE_CHECKING:
    from calcium_helpers.models.one_photon.blobs import Coordinates
    from calcium_helpers.models.one_photon.search import Search

FAINT = 0.1
"""A footprint ends where it falls below this share of its peak."""


def detect(
    movie: Movie,
    *,
    config: CoordinatesConfig | None = None,
    valid: tuple[int, int, int, int] | None = None,
    bad_frames: np.ndarray | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: bool = False,
) -> Detection:
    """Find cells and their traces in a one-photon movie by coordinates that learn to sit on active cells.

    After the idea of Teng, Putti, Schneider, Lippert & Stober: the coordinates of cells are themselves what gradient
    descent learns, from the movie alone. Here they have sizes and shapes, see the movie without its glow, start coarse and
    end fine, and their number adapts: they are merged, dropped, split and added until nothing changes.

    Parameters
    ----------
    movie : Movie
        Motion-corrected.
    config : CoordinatesConfig, optional
        Defaults suit somata in head-mounted microscopes.
    valid : tuple of int, optional
        Rectangle (y0, y1, x0, x1) that cells must lie in, as in ``Shifts.valid``; the whole frame where not given.
    bad_frames : ndarray of int, optional
        Frames that detection must not look at.
    device : str
        "cpu" or "cuda".
    seed : int
        Of random starts; equal seeds give equal results.
    progress : bool
        Show progress bars.

    Returns
    -------
    Detection
        ``traces`` are demixed, in counts (kind "raw"). ``scores`` has ``accepted, reason, confidence, snr, contrast,
        consistency, likeness, compactness, size`` (see ``quality.measure``) and ``area_px``. ``extras`` has ``diameter_px``,
        and of the S steps and M coordinates that ever were ``path`` (S, M, 2), px, NaN where one does not exist, ``path_stage``
        (S names), ``path_ids`` (M,), the component that each became or -1, and ``explained`` (S,), the share of the variance
        explained.

    Raises
    ------
    ValueError
        When ``bad_frames`` leaves no frame.
    """
    from calcium_helpers.models.one_photon.search import Search  # torch takes seconds to load

    config = config or CoordinatesConfig()
    inside = valid_mask(movie, valid)
    prepared = prepare(movie, decay_s=config.decay_s, highpass_s=config.highpass_s, bad_frames=bad_frames, progress=progress)
    diameter = config.diameter_px or estimate_diameter(prepared, inside, threshold=CNMFConfig.seed_threshold)
    mean, noise = prepared.mean, prepared.noise
    search = Search(look(prepared, inside, diameter_px=diameter), config, device=device, seed=seed)
    del prepared  # as large as the binned movie
    scores = _score(search, progress)
    footprints = draw_footprints(search.coordinates, search.view, (movie.shape[1], movie.shape[2]))
    scores["area_px"] = footprints.area_px
    scores = decide(scores, judge(scores, config))
    demixed = demix(movie, footprints, mean, noise, spacing_px=BACKGROUND_CELLS * diameter, progress=progress)
    traces = Traces(demixed.traces, movie.fs, "raw")
    extras = search.path.as_extras()
    extras["path"] = search.view.to_frame(extras["path"])
    funnel = _funnel(search.counts, scores)
    background = (demixed.spatial, demixed.temporal)
    return Detection(footprints, traces, background, scores, funnel, {"diameter_px": float(diameter), **extras})


def _score(search: Search, progress: bool) -> pd.DataFrame:
    """Run the search and measure what speaks for each coordinate."""
    from calcium_helpers.models.one_photon.quality import confidence, measure

    with threadpool_limits(1):  # windows are small: more threads wait for each other
        fit = search.run(progress=progress)
        measured = measure(search.fine, search.coordinates, fit)
    measured.insert(0, "confidence", confidence(measured))
    return measured


def draw_footprints(coordinates: Coordinates, view: View, shape: tuple[int, int]) -> Footprints:
    """Draw the learned blobs in the movie's own pixels."""
    import torch

    from calcium_helpers.models.one_photon.blobs import Scene, render, window_corners, window_shape
    from calcium_helpers.models.one_photon.learn import as_rows

    with torch.no_grad():
        blobs = coordinates.rescale(view.factor).cpu()
        scene = Scene(torch.zeros(shape), torch.ones(shape), blobs.diameter_px, 1)
        window = window_shape(blobs.diameter_px, 0.0, scene)
        corners = window_corners(blobs.yx, window, scene)
        images = render(blobs, corners, window)
    rows = as_rows(np.where(images < FAINT, 0, images), corners.numpy(), shape)
    rows.eliminate_zeros()
    return Footprints(rows, shape)


def judge(scores: pd.DataFrame, config: CoordinatesConfig, _: float | None = None) -> np.ndarray:
    """Say of each component why it is no cell, shape (N,); empty where it is one."""
    reason = np.full(len(scores), "", dtype=object)
    reason[scores["confidence"] < config.min_confidence] = f"confidence below {config.min_confidence:g}"
    return keep_best(reason, scores["confidence"], config.max_cells)


def _funnel(counts: dict[str, int], scores: pd.DataFrame) -> pd.DataFrame:
    """Count what became of the coordinates."""
    ever = counts["started"] + counts["added"] + counts["split"]
    accepted = int(scores["accepted"].sum())
    rows = [
        ("started", counts["started"], "coordinates at the start"),
        ("learned", ever, f"{counts['added']} added where something was left, {counts['split']} long ones split"),
        ("on cells of their own", ever - counts["merged"], f"{counts['merged']} sat on another's cell"),
        ("kept", len(scores), f"{counts['dropped']} showed nothing that looks like a cell"),
        ("accepted", accepted, f"{len(scores) - accepted} below the least confidence or beyond max_cells"),
    ]
    return pd.DataFrame(rows, columns=["stage", "n", "why"])
