"""How many positives hide among what is not labelled."""

from __future__ import annotations

import numpy as np

CONFIDENCE = 0.1  # of the bound: it holds with one minus this probability


def estimate_prior(labelled: np.ndarray, unlabelled: np.ndarray, *, n_events: int | None = None) -> float:
    """Estimate the share of positives among unlabelled voxels by best bin estimation.

    After Garg et al. 2021 (arXiv:2111.00980). Above a threshold on a network's output lies a share of the labelled voxels and
    one of the unlabelled. If what lies there is positive, the ratio of the two is the prior; it is an upper bound where some
    negatives lie there too. The threshold is the one at which the ratio and its uncertainty are smallest. The network must have
    learned from other voxels than these.

    Parameters
    ----------
    labelled : ndarray
        Outputs at labelled voxels, any increasing function of the probability.
    unlabelled : ndarray
        Outputs at unlabelled voxels, sampled as those that the prior is wanted for.
    n_events : int, optional
        Events that the labelled voxels are of: voxels of one event are no independent samples.

    Returns
    -------
    float
        Share in 0..1.

    Raises
    ------
    ValueError
        Where one of them is empty.
    """
    for name, values in (("labelled", labelled), ("unlabelled", unlabelled)):
        if not np.size(values):
            raise ValueError(f"{name} must hold at least one voxel, got none")
    p, u = (np.sort(np.ravel(values)) for values in (labelled, unlabelled))
    thresholds = np.unique(np.quantile(p, np.linspace(0, 0.95, 200)))
    above_p = 1 - np.searchsorted(p, thresholds, side="left") / len(p)
    above_u = 1 - np.searchsorted(u, thresholds, side="left") / len(u)
    ratio = above_u / above_p
    unsure_p, unsure_u = (np.sqrt(np.log(4 / CONFIDENCE) / (2 * n)) for n in (n_events or len(p), len(u)))
    bound = ratio + (unsure_u + ratio * unsure_p) / above_p
    return float(np.clip(ratio[np.argmin(bound)], 0, 1))
