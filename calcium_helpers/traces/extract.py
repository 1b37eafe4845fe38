"""Read the movie once and take the mean over each footprint."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from tqdm import tqdm

from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.memory import chunk_bytes, let_go
from calcium_helpers.traces.neuropil import neuropil_footprints

# Small enough for the gathered pixels to stay near the processor, large enough to read files in long runs.
_CHUNK_BYTES = 2**25


class Extraction(NamedTuple):
    """What one pass over a movie gives: the ``raw`` traces of the cells and of the ``neuropil`` around them."""

    raw: Traces
    neuropil: Traces


def extract_traces(movie: Movie, footprints: Footprints, *, progress: bool = False) -> Traces:
    """Weighted mean of the movie over each footprint, frame by frame.

    Parameters
    ----------
    movie : Movie
        Frames (T, H, W); may be lazy, it is read once in chunks of time.
    footprints : Footprints
        N cells of the same frame size; a pixel counts in proportion to its weight.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Traces
        Kind "raw", (N, T), in the movie's counts.

    Raises
    ------
    ValueError
        When the frame sizes differ, or the movie has NaN or infinity under a footprint (the message names the frame).
    """
    return Traces(_means(movie, footprints, progress), movie.fs, "raw", footprints.ids)


def extract_with_neuropil(
    movie: Movie, footprints: Footprints, *, inner_px: float = 2.0, min_pixels: int = 350, progress: bool = False
) -> Extraction:
    """Traces of the cells and of the tissue around each, in one pass over the movie.

    Parameters
    ----------
    movie, footprints, progress
        As for `extract_traces`.
    inner_px, min_pixels
        As for `neuropil_footprints`.

    Returns
    -------
    Extraction
        ``raw`` and ``neuropil``, each (N, T) in the movie's counts, with the ids of the footprints.

    Raises
    ------
    ValueError
        As `extract_traces` and `neuropil_footprints` do.
    """
    around = neuropil_footprints(footprints, inner_px=inner_px, min_pixels=min_pixels)
    n = len(footprints)
    both = Footprints(sparse.vstack([footprints.weights, around.weights]), footprints.shape)
    values = _means(movie, both, progress)
    return Extraction(
        Traces(values[:n], movie.fs, "raw", footprints.ids), Traces(values[n:], movie.fs, "neuropil", footprints.ids)
    )


def _means(movie: Movie, footprints: Footprints, progress: bool) -> np.ndarray:
    """Weighted means (N, T), float32."""
    n_frames, height, width = movie.shape
    if footprints.shape != (height, width):
        raise ValueError(f"footprints must fit the movie's frames of {(height, width)}, got shape {footprints.shape}")
    values = np.zeros((len(footprints), n_frames), dtype=np.float32)
    if not len(footprints):
        return values
    used, column = np.unique(footprints.weights.indices, return_inverse=True)
    row = np.repeat(np.arange(len(footprints)), footprints.area_px)
    total = np.asarray(footprints.weights.sum(axis=1)).reshape(-1)
    share = footprints.weights.data / total[row]
    weights = sparse.csr_matrix((share.astype(np.float32), (row, column)), shape=(len(footprints), len(used)))
    step = max(1, chunk_bytes(_CHUNK_BYTES) // (4 * height * width))
    for start in tqdm(range(0, n_frames, step), desc="extract", disable=not progress):
        frames = movie.frames(start, min(start + step, n_frames))
        pixels = frames.reshape(len(frames), -1)[:, used].astype(np.float32, copy=False)
        values[:, start : start + len(frames)] = weights @ np.ascontiguousarray(pixels.T)
        let_go(movie.data)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=0))
    if bad.size:
        raise ValueError(f"movie must be finite under the footprints, got NaN or infinity in frame {bad[0]}; mend or crop it")
    return values
