"""Which neighbours on two aligned days are the same cell: a mixture of same and different ones, and the best assignment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from calcium_helpers.containers import Footprints

LEAST_SIMILARITY = 0.02
# Same cells before any data: centres 0.1 diameters apart, similarity 0.85; and the least alike that they may typically be.
PRIOR_MEAN, PRIOR_SD, PRIOR_WEIGHT = np.array([-1.9, 1.73]), np.array([0.5, 0.8]), 3
WORST_MEAN = np.array([-1.6, 1.1])  # 0.15 diameters, 0.75
LEAST_SD = 0.1
ROUNDS = 100


class Model(NamedTuple):
    """``share`` of same cells among best pairs, their Gaussian, and the pairs by chance with the width of their kernels."""

    share: float
    mean: np.ndarray
    covariance: np.ndarray
    by_chance: np.ndarray
    width: np.ndarray


def find_pairs(a: Footprints, b: Footprints) -> pd.DataFrame:
    """List all pairs that overlap: ``id_a, id_b, distance_px`` of the centres, ``similarity`` (cosine of the weights)."""
    similar = sparse.coo_matrix(_unit(a) @ _unit(b).T)
    keep = similar.data > LEAST_SIMILARITY
    row, col = similar.row[keep], similar.col[keep]
    distance = np.hypot(*(a.centroids[row] - b.centroids[col]).T)
    similarity = similar.data[keep].astype(float)
    return pd.DataFrame({"id_a": a.ids[row], "id_b": b.ids[col], "distance_px": distance, "similarity": similarity})


def best_pairs(pairs: pd.DataFrame) -> np.ndarray:
    """Say of each pair whether both cells have no one more similar."""
    most_a, most_b = (pairs.groupby(name)["similarity"].transform("max") for name in ("id_a", "id_b"))
    return ((pairs["similarity"] >= most_a) & (pairs["similarity"] >= most_b)).to_numpy(dtype=bool)


def measure(pairs: pd.DataFrame, diameter_px: float) -> np.ndarray:
    """Return what is about Gaussian among same cells: log of the distance, logit of the similarity, (N, 2)."""
    similarity = pairs["similarity"].clip(LEAST_SIMILARITY, 0.99)
    return np.column_stack([np.log(pairs["distance_px"] / diameter_px + 0.05), np.log(similarity / (1 - similarity))])


def fit_model(seen: np.ndarray, by_chance: np.ndarray) -> Model:
    """Fit the mixture to best pairs (N, 2), given best pairs of different cells (M, 2), by expectation maximisation."""
    sd = by_chance.std(axis=0) if len(by_chance) > 2 else PRIOR_SD
    width = np.maximum(sd * max(len(by_chance), 1) ** (-1 / 6), LEAST_SD)  # Scott's rule
    model = Model(0.5, PRIOR_MEAN, np.diag(PRIOR_SD**2), by_chance, width)
    different = _density_by_chance(seen, model)
    same = (seen[:, 1] > 1).astype(float)
    for _ in range(ROUNDS):
        n = same.sum() + PRIOR_WEIGHT
        mean = (same @ seen + PRIOR_WEIGHT * PRIOR_MEAN) / n
        mean = np.array([min(mean[0], WORST_MEAN[0]), max(mean[1], WORST_MEAN[1])])
        off, prior = seen - mean, np.diag(PRIOR_SD**2) + np.outer(PRIOR_MEAN - mean, PRIOR_MEAN - mean)
        covariance = ((same[:, None] * off).T @ off + PRIOR_WEIGHT * prior) / n + np.eye(2) * LEAST_SD**2
        # As wide as chance itself, it could stand for different cells.
        narrower = np.minimum(1, PRIOR_SD / np.sqrt(np.diag(covariance)))
        share = (same.sum() + 0.5) / (len(seen) + 1)
        model = Model(share, mean, covariance * np.outer(narrower, narrower), by_chance, width)
        likely = share * _density_same(seen, model)
        same = likely / (likely + (1 - share) * different)
    return model


def probability(features: np.ndarray, model: Model) -> np.ndarray:
    """Probability that a pair is the same cell; no lower for pairs that are more alike than same cells usually are."""
    features = np.column_stack([np.maximum(features[:, 0], model.mean[0]), np.minimum(features[:, 1], model.mean[1])])
    same = model.share * _density_same(features, model)
    return same / (same + (1 - model.share) * _density_by_chance(features, model))


def assign(pairs: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Choose pairs one to one, of probability >= ``threshold``, such that their odds together are greatest; by ``id_a``."""
    likely = pairs[pairs["probability"] >= threshold]
    (ids_a, row), (ids_b, col) = (np.unique(likely[name], return_inverse=True) for name in ("id_a", "id_b"))
    gain, place = np.zeros((len(ids_a), len(ids_b))), np.full((len(ids_a), len(ids_b)), -1)
    odds = likely["probability"].clip(upper=1 - 1e-9)
    gain[row, col] = np.log(odds / (1 - odds)) - np.log(threshold / (1 - threshold)) + 1e-9
    place[row, col] = np.arange(len(likely))
    chosen = place[linear_sum_assignment(gain, maximize=True)]
    return likely.iloc[chosen[chosen >= 0]].sort_values("id_a", ignore_index=True)


def _unit(footprints: Footprints) -> sparse.csr_matrix:
    """Weights of length 1 a cell."""
    length = np.sqrt(np.asarray(footprints.weights.multiply(footprints.weights).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / length) @ footprints.weights)


def _density_same(features: np.ndarray, model: Model) -> np.ndarray:
    """Gaussian density, (N,)."""
    off = features - model.mean
    scale = 2 * np.pi * np.sqrt(np.linalg.det(model.covariance))
    return np.exp(-0.5 * np.einsum("ni,ij,nj->n", off, np.linalg.inv(model.covariance), off)) / scale


def _density_by_chance(features: np.ndarray, model: Model) -> np.ndarray:
    """Kernel density of the pairs by chance, and one more pair that may lie anywhere, (N,)."""
    total = np.full(len(features), 1 / 36)  # the range of the features: 4.1 x 8.5
    for point in model.by_chance:
        off = (features - point) / model.width
        total += np.exp(-0.5 * (off * off).sum(axis=1)) / (2 * np.pi * model.width.prod())
    return total / (len(model.by_chance) + 1)
