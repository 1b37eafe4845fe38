"""Which found cell is which true one: one-to-one matching of footprints and of points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from calcium_helpers.containers import Footprints
from calcium_helpers.containers._base import check_positive


class Matching(NamedTuple):
    """Which found cell is which true cell, one to one.

    ``pairs`` (K, 2) holds rows (found, truth), sorted by truth; ``scores`` (K,) their IoU or, for points, their distance in
    pixels. With nothing found precision is 1, with nothing to find recall is 1.
    """

    pairs: np.ndarray
    scores: np.ndarray
    n_found: int
    n_truth: int

    @property
    def precision(self) -> float:
        """Share of the found cells that are true."""
        return len(self.pairs) / self.n_found if self.n_found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true cells that were found."""
        return len(self.pairs) / self.n_truth if self.n_truth else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 when nothing was to find and nothing was found."""
        total = self.n_found + self.n_truth
        return 2 * len(self.pairs) / total if total else 1.0


def match_footprints(
    found: Footprints, truth: Footprints, *, iou: float = 0.5, found_level: float = 0.2, truth_level: float = 0.0
) -> Matching:
    """Match found to true cells by the overlap of their masks.

    A mask holds the pixels above a fraction of the footprint's own peak: weights of a detector have faint skirts, a true
    mask counts in full. Among the pairs with intersection over union >= ``iou``, as many as possible are matched one to
    one, and of those matchings the one of greatest total IoU is taken (Hungarian method).

    Parameters
    ----------
    found, truth : Footprints
        N and M cells of the same field, shape (H, W).
    iou : float
        Least intersection over union of a match, in (0, 1].
    found_level, truth_level : float
        Fraction of its peak above which a pixel belongs to a found or a true mask, in [0, 1).

    Returns
    -------
    Matching

    Raises
    ------
    ValueError
        For fields of different shape or a level out of range.
    """
    if found.shape != truth.shape:
        raise ValueError(f"found and truth must show the same field, got shapes {found.shape} and {truth.shape}")
    if not 0 < iou <= 1:
        raise ValueError(f"iou must lie in (0, 1], got {iou}")
    a, b = _masks(found, found_level, "found_level"), _masks(truth, truth_level, "truth_level")
    return best_matching(*overlapping(a, b, iou), (len(found), len(truth)))


def match_points(found_yx: np.ndarray, truth_yx: np.ndarray, *, max_distance_px: float) -> Matching:
    """Match found to true points one to one within a distance.

    As many pairs as possible are matched, and of those matchings the one of least total distance is taken.

    Parameters
    ----------
    found_yx, truth_yx : ndarray, shape (N, 2) and (M, 2)
        Points (y, x), pixels.
    max_distance_px : float
        Greatest distance of a match, pixels.

    Returns
    -------
    Matching
        ``scores`` are distances in pixels.

    Raises
    ------
    ValueError
        For arrays that are not (N, 2) or a distance that is not positive.
    """
    check_positive("max_distance_px", max_distance_px, "pixels")
    points = [
        np.asarray(p, dtype=np.float64).reshape(-1, 2) if np.size(p) == 0 else np.asarray(p) for p in (found_yx, truth_yx)
    ]
    for name, values in zip(("found_yx", "truth_yx"), points, strict=True):
        if values.ndim != 2 or values.shape[1] != 2 or not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite points (N, 2), got shape {values.shape}")
    rows, cols, distance = within(points[0], points[1], max_distance_px)
    matching = best_matching(rows, cols, 1 - distance / max_distance_px, (len(points[0]), len(points[1])))
    return matching._replace(scores=(1 - matching.scores) * max_distance_px)


def within(a: np.ndarray, b: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of ``a`` (N, D) and of ``b`` (M, D) that are no further apart than ``distance``, and how far."""
    near = cKDTree(a).sparse_distance_matrix(cKDTree(b), distance, output_type="ndarray")
    return near["i"], near["j"], near["v"]


def overlapping(a: sparse.csr_matrix, b: sparse.csr_matrix, iou: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of the masks ``a`` (N, P) and ``b`` (M, P), of ones, with intersection over union >= ``iou`` > 0, and it."""
    common = (a @ b.T).tocoo()
    score = common.data / (np.diff(a.indptr)[common.row] + np.diff(b.indptr)[common.col] - common.data)
    keep = score >= iou
    return common.row[keep], common.col[keep], score[keep]


def best_matching(rows: np.ndarray, cols: np.ndarray, score: np.ndarray, shape: tuple[int, int]) -> Matching:
    """Match one to one among the possible pairs (rows of found, cols of truth): most pairs, then greatest total score."""
    return Matching(*_assign(rows, cols, score, shape), *shape)


def _masks(footprints: Footprints, level: float, name: str) -> sparse.csr_matrix:
    """Masks (N, H*W) of ones where a footprint exceeds ``level`` times its peak."""
    if not 0 <= level < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {level}")
    weights = footprints.weights
    peak = weights.max(axis=1).toarray().ravel() if len(footprints) else np.zeros(0)
    row = np.repeat(np.arange(len(footprints)), footprints.area_px)
    keep = weights.data > level * peak[row]
    return sparse.csr_matrix((np.ones(keep.sum()), (row[keep], weights.indices[keep])), shape=weights.shape)


def _assign(rows: np.ndarray, cols: np.ndarray, score: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Most pairs, then greatest total score (each in 0..1), solved cluster by cluster of pairs that compete."""
    n_rows, n_cols = shape
    graph = sparse.coo_matrix((np.ones(len(rows)), (rows, cols + n_rows)), shape=(n_rows + n_cols,) * 2)
    cluster = connected_components(graph, directed=False)[1][rows] if len(rows) else np.zeros(0, dtype=int)
    order = np.argsort(cluster, kind="stable")
    pairs, scores = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0)]
    for members in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        row_ids, r = np.unique(rows[members], return_inverse=True)
        col_ids, c = np.unique(cols[members], return_inverse=True)
        # One more pair outweighs any gain of score within the cluster.
        bonus = float(min(len(row_ids), len(col_ids)) + 1)
        value = np.zeros((len(row_ids), len(col_ids)))
        value[r, c] = score[members] + bonus
        best = linear_sum_assignment(value, maximize=True)
        real = value[best] > 0
        pairs.append(np.column_stack([row_ids[best[0]], col_ids[best[1]]])[real])
        scores.append(value[best][real] - bonus)
    all_pairs, all_scores = np.concatenate(pairs), np.concatenate(scores)
    by_truth = np.argsort(all_pairs[:, 1])
    return all_pairs[by_truth], all_scores[by_truth]
