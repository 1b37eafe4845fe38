"""How well found events, small volumes of T x H x W, agree with true ones: matched by place or by overlap, ranked by score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from calcium_helpers.containers import Events
from calcium_helpers.containers._base import check_positive
from calcium_helpers.metrics.matching import Matching, best_matching, overlapping, within

RADIUS = (5.0, 5.0, 5.0)
"""Frames, pixels, pixels: half a second and 0.8 um at 10 Hz and 0.16 um a pixel."""


class PrecisionRecall(NamedTuple):
    """Precision and recall among the detections with a score of at least each ``threshold``, highest first, shape (K,)."""

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    n_true: int

    @property
    def average_precision(self) -> float:
        """Mean over true events of the precision when each is found, 0 if it is not; as `average_precision`."""
        if not self.n_true:
            return float(not len(self.threshold))
        return float(np.diff(self.recall, prepend=0) @ self.precision)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall at each threshold, shape (K,)."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)


def match_events(found: Events, true: Events, *, radius: Sequence[float] = RADIUS) -> Matching:
    """Match found to true events one to one by the distance of their centres, scaled per axis.

    As many pairs as possible are matched, and of those matchings the one of least total distance is taken.

    Parameters
    ----------
    found, true : Events
        N and M events with masks.
    radius : sequence of 3 floats
        Half axes (frames, pixels, pixels) of the ellipsoid around a centre that the other centre must lie in.

    Returns
    -------
    Matching
        ``scores`` are distances as a share of the radius, 0 to 1.

    Raises
    ------
    ValueError
        For events without masks or a radius that is not three positive numbers.
    """
    rows, cols, distance = _near(found, true, radius)
    matching = best_matching(rows, cols, 1 - distance, (len(found), len(true)))
    return matching._replace(scores=1 - matching.scores)


def match_volumes(found_label: np.ndarray, true_label: np.ndarray, *, iou: float = 0.5) -> Matching:
    """Match found to true volumes one to one by their overlap.

    Among the pairs with intersection over union >= ``iou`` as many as possible are matched, and of those matchings the one of
    greatest total overlap is taken.

    Parameters
    ----------
    found_label, true_label : ndarray of int, shape (T, H, W)
        0 where there is nothing, else the id of the volume.
    iou : float
        Least intersection over union of a match, in (0, 1].

    Returns
    -------
    Matching
        Rows count the ids that occur, in increasing order; ``scores`` are intersections over union.

    Raises
    ------
    ValueError
        For labels of different shape or negative, and for ``iou`` out of range.
    """
    found_label, true_label = np.asarray(found_label), np.asarray(true_label)
    if found_label.shape != true_label.shape:
        raise ValueError(f"found_label and true_label must have one shape, got {found_label.shape} and {true_label.shape}")
    voxels = []
    for name, label in (("found_label", found_label), ("true_label", true_label)):
        if label.size and label.min() < 0:
            raise ValueError(f"{name} must hold 0 and ids above it, got {label.min()}")
        places = np.flatnonzero(label)
        voxels.append((np.unique(label.ravel()[places], return_inverse=True)[1], places))
    n_found, n_true = (int(rows.max(initial=-1)) + 1 for rows, _ in voxels)
    return best_matching(*_overlaps(voxels[0], voxels[1], (n_found, n_true), iou), (n_found, n_true))


def detection_curve(
    found: Events, true: Events, *, radius: Sequence[float] = RADIUS, iou: float | None = None
) -> PrecisionRecall:
    """Precision and recall of events ranked by their score.

    Which events count as true is settled from the highest score down: an event counts if it and all that counted before can be
    matched one to one with true events. So at every threshold as many are matched as can be, and of two finds of one event the
    one with the higher score counts.

    Parameters
    ----------
    found : Events
        N events with masks and a column ``score``.
    true : Events
        M events with masks.
    radius : sequence of 3 floats
        As in `match_events`.
    iou : float, optional
        Least intersection over union of a match; then the radius does not count.

    Returns
    -------
    PrecisionRecall

    Raises
    ------
    ValueError
        For events without masks or score, and for parameters out of range.
    """
    if "score" not in found.table:
        raise ValueError(f"found needs a column score, got {list(found.table.columns)}")
    if iou is None:
        rows, cols, _ = _near(found, true, radius)
    else:
        rows, cols, _ = _overlaps(_voxels(found), _voxels(true), (len(found), len(true)), iou)
    scores = found.table["score"].to_numpy(dtype=float)
    # Sets of events that can be matched are a matroid: of its largest, that of greatest weight is the one built from above.
    weight = np.empty(len(found))
    weight[np.argsort(scores, kind="stable")] = np.arange(1, len(found) + 1) / max(len(found), 1)
    is_true = np.zeros(len(found), dtype=bool)
    is_true[best_matching(rows, cols, weight[rows], (len(found), len(true))).pairs[:, 0]] = True
    return precision_recall(scores, is_true, len(true))


def precision_recall(scores: np.ndarray, is_true: np.ndarray, n_true: int) -> PrecisionRecall:
    """Precision and recall at each score that occurs; detections of equal score are let in together.

    Parameters
    ----------
    scores : ndarray, shape (N,)
        Higher is surer.
    is_true : ndarray of bool, shape (N,)
        Whether a detection is matched to a true event of its own.
    n_true : int
        True events, found or not.

    Returns
    -------
    PrecisionRecall
        With nothing to find, recall is 1 (as in `Matching`).

    Raises
    ------
    ValueError
        For arrays that do not fit, NaN among the scores, or more true detections than ``n_true``.
    """
    scores, is_true = np.asarray(scores, dtype=float), np.asarray(is_true, dtype=bool)
    if scores.ndim != 1 or scores.shape != is_true.shape or np.isnan(scores).any():
        raise ValueError(f"scores (not NaN) and is_true must be (N,), got shapes {scores.shape} and {is_true.shape}")
    if is_true.sum() > n_true:
        raise ValueError(f"n_true must be at least the {is_true.sum()} that is_true counts, got {n_true}")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.diff(ranked, append=np.nan) != 0)  # of each group of equal scores
    hits = np.cumsum(is_true[order])[last]
    recall = hits / n_true if n_true else np.ones(len(last))
    return PrecisionRecall(ranked[last], hits / (last + 1), recall, int(n_true))


def average_precision(scores: np.ndarray, is_true: np.ndarray, n_true: int) -> float:
    """Average precision of a ranked detection; see `PrecisionRecall.average_precision`.

    Precision is not interpolated, and equal scores are let in together, as in scikit-learn; unlike there, true events that
    were never found count.

    Parameters
    ----------
    scores, is_true, n_true
        As in `precision_recall`.

    Returns
    -------
    float
        0 to 1; with nothing to find 0 where something was found, else 1.

    Examples
    --------
    >>> average_precision([0.9, 0.8, 0.7], [True, False, True], n_true=2)
    0.8333333333333333
    """
    return precision_recall(scores, is_true, n_true).average_precision


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks: twice the voxels of both over the sum of their voxels (Dice 1945, doi:10.2307/1932409).

    Parameters
    ----------
    a, b : ndarray
        Masks of one shape; what is not 0 counts.

    Returns
    -------
    float
        0 to 1; 1 where both are empty.
    """
    a, b = np.asarray(a) != 0, np.asarray(b) != 0
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {a.shape} and {b.shape}")
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def by_kind(matching: Matching, kinds: Sequence[str] | np.ndarray | pd.Series) -> pd.DataFrame:
    """Count for each kind of true event how many were found.

    Parameters
    ----------
    matching : Matching
        Of found and true events.
    kinds : sequence, shape (n_truth,)
        Kind of each true event, such as "synapse" and "dendrite"; what is found has no kind, so there is no precision.

    Returns
    -------
    DataFrame
        ``kind, n_true, n_found, recall``, by name.
    """
    kinds = np.asarray(kinds)
    if kinds.shape != (matching.n_truth,):
        raise ValueError(f"kinds must be one for each of {matching.n_truth} true events, got shape {kinds.shape}")
    hit = np.isin(np.arange(len(kinds)), matching.pairs[:, 1])
    table = pd.DataFrame({"kind": kinds, "hit": hit}).groupby("kind")["hit"].agg(n_true="size", n_found="sum", recall="mean")
    return table.reset_index()


def centres(events: Events) -> np.ndarray:
    """Centres (frame, y, x) of the events' masks, shape (N, 3); every voxel counts the same."""
    rows, places = _places(events)
    n = np.bincount(rows, minlength=len(events))
    return np.column_stack([np.bincount(rows, axis, len(events)) / n for axis in places.T]).reshape(-1, 3)


def _places(events: Events) -> tuple[np.ndarray, np.ndarray]:
    """Return all voxels of all masks: the event's row (V,), and frame, y, x (V, 3)."""
    if events.masks is None:
        raise ValueError("events must have masks; make them with transients.events_from_label")
    found = [np.argwhere(mask) + np.array((t0, y0, x0)) for t0, y0, x0, mask in events.masks]
    sizes = np.array([len(places) for places in found], dtype=int)
    if not sizes.all():
        raise ValueError(f"masks must not be empty, got none in the events {np.flatnonzero(sizes == 0)[:5].tolist()}")
    return np.repeat(np.arange(len(found)), sizes), np.concatenate([np.zeros((0, 3), dtype=int), *found])


def _voxels(events: Events) -> tuple[np.ndarray, np.ndarray]:
    """Return all voxels of all masks: the event's row and one number for the place."""
    rows, places = _places(events)
    return rows, (places[:, 0] << 42) + (places[:, 1] << 21) + places[:, 2]


def _near(found: Events, true: Events, radius: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs with centres within the ellipsoid, and their distance as a share of it."""
    if len(radius) != 3:
        raise ValueError(f"radius must be three numbers (frames, pixels, pixels), got {radius!r}")
    for value in radius:
        check_positive("radius", value, "frames or pixels")
    return within(centres(found) / radius, centres(true) / radius, 1.0)


def _overlaps(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], shape: tuple[int, int], iou: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs of volumes, given as voxels (row, place), that overlap enough."""
    if not 0 < iou <= 1:
        raise ValueError(f"iou must lie in (0, 1], got {iou}")
    # Only places that occur are columns: a movie has far more.
    columns, place = np.unique(np.concatenate([a[1], b[1]]), return_inverse=True)
    parts = zip((a[0], b[0]), np.split(place, [len(a[1])]), shape, strict=True)
    masks = [sparse.csr_matrix((np.ones(len(rows)), (rows, cols)), shape=(n, len(columns))) for rows, cols, n in parts]
    return overlapping(masks[0], masks[1], iou)
