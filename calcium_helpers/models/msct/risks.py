"""What the risks of `pu_risk` do, seen on a classifier so small that it can be followed, and what their prior should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.models.msct.crops import Labelled, crop_batches
from calcium_helpers.models.msct.pu import RISKS, pu_risk, true_risk

FAR = 3.0  # noise sds: what is fed to the classifier is about as large as this
RATE = 1e-3


class Pieces(NamedTuple):
    """Cubes of a movie around voxels, ``values`` (N, side ** 3), and whether the voxel is ``positive`` (N,)."""

    values: torch.Tensor
    positive: torch.Tensor


class RiskCourse(NamedTuple):
    """A training step by step, each (steps,).

    ``estimate`` is the risk as estimated on what is learned from, ``true`` the risk on other voxels of which all is known,
    ``hidden`` the mean probability given to the positives without a label.
    """

    estimate: np.ndarray
    true: np.ndarray
    hidden: np.ndarray


def draw_pieces(movie: Labelled, n_positive: int, n_negative: int, *, side: int = 5, seed: int = 0) -> Pieces:
    """Draw cubes around voxels in events, which come first, and around others.

    Parameters
    ----------
    movie : Labelled
        With all events labelled.
    n_positive, n_negative : int
        How many of each; fewer where there are not so many.
    side : int
        Of a cube, frames and pixels; odd.
    seed : int

    Returns
    -------
    Pieces
        Deviations from rest in units of the noise, by 3.
    """
    rng, half = np.random.default_rng(seed), side // 2
    inside = movie.label[(slice(half, -half or None),) * 3] > 0
    cubes = sliding_window_view(movie.channels[1], (side,) * 3)
    places = [rng.permutation(np.argwhere(kind))[:n] for kind, n in ((inside, n_positive), (~inside, n_negative))]
    values = cubes[tuple(np.concatenate(places).T)].reshape(-1, side**3) / FAR
    return Pieces(torch.from_numpy(values.astype(np.float32)), torch.arange(len(values)) < len(places[0]))


def follow_risks(
    pieces: Pieces, n_labelled: int, fresh: Pieces, *, steps: int = 300, hidden: int = 64, seed: int = 0
) -> dict[str, RiskCourse]:
    """Train a classifier of one hidden layer under each risk, on few voxels: it can learn them by heart.

    Parameters
    ----------
    pieces : Pieces
        What is learned from; the risks get the true prior.
    n_labelled : int
        The first so many positives are labelled; of the others the risks know nothing.
    fresh : Pieces
        On which the true risk is measured: of another movie, with the same share of positives.
    steps : int
        All pieces at once in each.
    hidden : int
        Units.
    seed : int
        Of the first weights.

    Returns
    -------
    dict of str to RiskCourse
        By risk: "plain", "unbiased", "non-negative".

    Raises
    ------
    ValueError
        Where none or all of the positives are labelled.
    """
    x, positive = pieces
    if not 0 < n_labelled < int(positive.sum()):
        raise ValueError(f"n_labelled must be at least 1 and fewer than the {int(positive.sum())} positives, got {n_labelled}")
    labelled = (torch.arange(len(x)) < n_labelled).float()
    unknown = positive & (labelled == 0)
    prior = float(unknown.sum()) / (len(x) - n_labelled)
    courses = {}
    for risk in RISKS:
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Flatten(0))
        optimiser = torch.optim.Adam(net.parameters(), RATE)
        rows = []
        for _ in range(steps):
            logits = net(x)
            estimate = pu_risk(logits, labelled, prior=prior, risk=risk)
            with torch.no_grad():
                other = true_risk(net(fresh.values), fresh.positive)
                rows.append([float(estimate.value), float(other), float(torch.sigmoid(logits[unknown]).mean())])
            optimiser.zero_grad()
            estimate.step.backward()
            optimiser.step()
        courses[risk] = RiskCourse(*np.array(rows).reshape(-1, 3).T)
    return courses


def hidden_share(
    movies: Sequence[Labelled], truth: Sequence[np.ndarray], config: PUConfig, *, n_batches: int = 24, seed: int = 0
) -> float:
    """Measure the true prior: the share of positives among the unlabelled voxels of crops drawn as for training.

    Parameters
    ----------
    movies : sequence of Labelled
        Labelled in part.
    truth : sequence of ndarray, shape (T, H, W)
        Of the same movies: above 0 in all events.
    config : PUConfig
        How crops are drawn.
    n_batches : int
        Looked at.
    seed : int

    Returns
    -------
    float
    """
    # The truth goes along as a channel; where crops are drawn is told by the first one, the light at rest.
    seen = [
        movie._replace(channels=np.stack([movie.channels[0], full > 0]).astype(np.float32))
        for movie, full in zip(movies, truth, strict=True)
    ]
    draw, rng = crop_batches(seen, config), np.random.default_rng(seed)
    batches = [draw(rng) for _ in range(n_batches)]
    return float(torch.cat([crops.channels[:, 1][crops.label == 0] for crops in batches]).mean())
