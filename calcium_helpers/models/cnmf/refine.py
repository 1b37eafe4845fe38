"""Refine seeds together: non-negative factorisation by HALS in windows around cells, merging, and a check on halves.

HALS (hierarchical alternating least squares, Cichocki & Phan 2009, doi:10.1587/transfun.E92.A.708) updates one footprint
at a time in closed form; here all cells that reach into a window are solved together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from calcium_helpers.models.cnmf.seeds import Seed, shape_footprint

GROW_PX = 3  # a footprint may grow by this much a round
HALF_BLOCK_BINS = 4  # bins a block when the recording is split into interleaved halves


class Components(NamedTuple):
    """Footprints (N, H*W) of unit norm and traces (N, B) in units of noise."""

    footprints: sparse.csr_matrix
    traces: np.ndarray

    def select(self, rows: np.ndarray) -> Components:
        """Keep the given rows."""
        return Components(self.footprints[rows], self.traces[rows])


class _Window(NamedTuple):
    """The surroundings of one component: data (B, P), all components that reach in, and where this one is among them."""

    row: int
    shape: tuple[int, int]
    corner: tuple[int, int]
    data: np.ndarray
    near: np.ndarray
    weights: np.ndarray
    own: int


def from_seeds(seeds: list[Seed], shape: tuple[int, int], n_bins: int) -> Components:
    """Place the seeds' windows into the frame."""
    footprints = _stack([_place(seed.footprint, seed.corner, shape) for seed in seeds], shape)
    return Components(footprints, np.stack([seed.trace for seed in seeds]) if seeds else np.zeros((0, n_bins), np.float32))


def join(first: Components, second: Components) -> Components:
    """Put the components of both together."""
    footprints = sparse.vstack([first.footprints, second.footprints]).tocsr()
    return Components(footprints, np.concatenate([first.traces, second.traces]))


def subtract(whitened: np.ndarray, components: Components, *, out: np.ndarray) -> None:
    """Write to ``out`` (B, H, W) what the components leave of the whitened movie."""
    spatial, traces = components.footprints.T.tocsr(), components.traces
    for frame, rest, activity in zip(whitened, out, traces.T, strict=True):
        rest[:] = frame - (spatial @ np.maximum(activity, 0)).reshape(frame.shape)


def refine(whitened: np.ndarray, components: Components, *, n_iterations: int, most_px: float) -> Components:
    """Alternate updates of all footprints (at most ``most_px`` large) and all traces on the whitened movie (B, H, W)."""
    for _ in range(n_iterations):
        components = update_traces(whitened, components.footprints)
        components = update_footprints(whitened, components, most_px=most_px)
    return update_traces(whitened, components.footprints)


def update_traces(whitened: np.ndarray, footprints: sparse.csr_matrix) -> Components:
    """Fit all traces at once by least squares (they may fall below zero: noise does)."""
    flat = whitened.reshape(len(whitened), -1)
    if not footprints.shape[0]:
        return Components(footprints, np.zeros((0, len(flat)), np.float32))
    rows = (slice(start, stop) for start, stop in zip(footprints.indptr[:-1], footprints.indptr[1:], strict=True))
    projection = np.stack([flat[:, footprints.indices[row]] @ footprints.data[row] for row in rows]).astype(np.float64)
    overlap = (footprints @ footprints.T).toarray().astype(np.float64)
    overlap[np.diag_indices_from(overlap)] *= 1.001  # two near-equal footprints must not blow each other up
    return Components(footprints, np.linalg.solve(overlap, projection).astype(np.float32))


def update_footprints(whitened: np.ndarray, components: Components, *, most_px: float) -> Components:
    """Fit each footprint anew, together with those that reach into its window; components that vanish are left out."""
    active = np.maximum(components.traces, 0)
    rows, kept = [], []
    for window in _windows(whitened, components):
        traces = active[window.near]
        gram = traces @ traces.T
        weights = hals(gram, traces @ window.data, window.weights, n_sweeps=5)
        noise = 1 / np.sqrt(max(float(gram[window.own, window.own]), 1e-9))
        shaped = shape_footprint(weights[window.own].reshape(window.shape), None, noise=noise, most_px=most_px)
        if shaped is not None:
            rows.append(_place(shaped / np.linalg.norm(shaped), window.corner, whitened.shape[1:]))
            kept.append(window.row)
    return Components(_stack(rows, whitened.shape[1:]), components.traces[kept])


def hals(gram: np.ndarray, projection: np.ndarray, start: np.ndarray, *, n_sweeps: int) -> np.ndarray:
    """Minimise ``x' gram x / 2 - x' projection`` over non-negative x (N, P) by sweeps over its rows."""
    x = np.array(start, dtype=np.float32)
    for _ in range(n_sweeps):
        for row in range(len(x)):
            step = (projection[row] - gram[row] @ x) / max(float(gram[row, row]), 1e-9)
            x[row] = np.maximum(x[row] + step, 0)
    return x


def merge(whitened: np.ndarray, components: Components, *, correlation: float) -> Components:
    """Join overlapping components whose traces correlate above ``correlation``; their footprints are added up."""
    n = len(components.traces)
    if n < 2:
        return components
    overlap = (components.footprints @ components.footprints.T).toarray() > 0.1
    n_groups, label = csgraph.connected_components(overlap & (np.corrcoef(components.traces) > correlation), directed=False)
    if n_groups == n:
        return components
    strength = np.linalg.norm(components.traces, axis=1)
    joined = sparse.csr_matrix((strength, (label, np.arange(n))), shape=(n_groups, n)) @ components.footprints
    norms = sparse.linalg.norm(joined, axis=1)
    return update_traces(whitened, sparse.csr_matrix(sparse.diags(1 / norms) @ joined, dtype=np.float32))


def estimate_consistency(whitened: np.ndarray, components: Components) -> np.ndarray:
    """Correlation, shape (N,), of the footprints that two interleaved halves of the recording give by themselves.

    Each half regresses the pixels around a cell on its trace after the other cells are subtracted. Noise that was taken
    for a cell in one half does not come back in the other.
    """
    half = (np.arange(len(whitened)) // HALF_BLOCK_BINS) % 2
    result = np.zeros(len(components.traces))
    for window in _windows(whitened, components):
        others = np.delete(np.arange(len(window.near)), window.own)
        data = window.data - components.traces[window.near[others]].T @ window.weights[others]
        trace = components.traces[window.row]
        drive = np.where(trace > np.percentile(trace, 75), trace, 0)
        images = [((drive * (half == part)) @ data).reshape(window.shape) for part in (0, 1)]
        first, second = (ndimage.gaussian_filter(image, 1.0).reshape(-1) for image in images)
        if first.std() > 0 and second.std() > 0:
            result[window.row] = np.corrcoef(first, second)[0, 1]
    return result


def _windows(whitened: np.ndarray, components: Components) -> Iterator[_Window]:
    """Yield the window around each component, ``GROW_PX`` wider than its footprint on each side."""
    frame = whitened.shape[1:]
    columns = components.footprints.tocsc()
    index = np.arange(frame[0] * frame[1]).reshape(frame)
    for row in range(len(components.traces)):
        y, x = np.divmod(components.footprints[row].indices, frame[1])
        top, left = max(int(y.min()) - GROW_PX, 0), max(int(x.min()) - GROW_PX, 0)
        place = np.s_[top : int(y.max()) + GROW_PX + 1, left : int(x.max()) + GROW_PX + 1]
        local = columns[:, index[place].reshape(-1)].tocsr()
        near = np.flatnonzero(np.diff(local.indptr))
        data = whitened[(slice(None), *place)].reshape(len(whitened), -1)
        own = int(np.searchsorted(near, row))
        yield _Window(row, index[place].shape, (top, left), data, near, local[near].toarray(), own)


def _place(image: np.ndarray, corner: tuple[int, int], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Put a window's image into an empty frame, as one sparse row."""
    y, x = np.nonzero(image)
    columns = (y + corner[0]) * shape[1] + x + corner[1]
    return sparse.csr_matrix((image[y, x], (np.zeros(len(y), int), columns)), shape=(1, shape[0] * shape[1]), dtype=np.float32)


def _stack(rows: list[sparse.csr_matrix], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Stack sparse rows, none included."""
    return sparse.vstack(rows).tocsr() if rows else sparse.csr_matrix((0, shape[0] * shape[1]), dtype=np.float32)
