"""Risks of learning from positive and unlabelled voxels.

An annotator who finds a quarter of the events leaves three quarters of them among the voxels without a label. Taking these
for negative teaches a network to call events nothing. With the share of positives among the unlabelled known (the class
prior), the mean loss of the true negatives follows from that of the unlabelled and of the labelled: du Plessis et al. 2015
(unbiased), kept from falling below 0, which a flexible network would otherwise exploit, by Kiryo et al. 2017
(arXiv:1703.00593). Both assume that the labelled events are like the others.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F

RISKS = ("plain", "unbiased", "non-negative")


class Risk(NamedTuple):
    """``value``, the estimated risk, and ``step``, what to go down on: they differ where the estimate fell below 0."""

    value: torch.Tensor
    step: torch.Tensor


def pu_risk(logits: torch.Tensor, labelled: torch.Tensor, *, prior: float, risk: str = "non-negative") -> Risk:
    """Estimate the mean logistic loss over voxels of which only some positives are known.

    Parameters
    ----------
    logits : Tensor
        Of any shape.
    labelled : Tensor
        Of the same shape: how much a voxel is labelled, 0 for unlabelled ones, 1 or a probability for labelled ones.
    prior : float
        Share of positives among the unlabelled voxels, as these were sampled.
    risk : {"plain", "unbiased", "non-negative"}
        "plain" takes what is unlabelled for negative, and ``prior`` for 0.

    Returns
    -------
    Risk
        With the gradient of Kiryo et al.: where the estimate for negatives is below 0, the step goes back up on it.

    Raises
    ------
    ValueError
        For another ``risk``, or a prior that is no share.
    """
    if risk not in RISKS:
        raise ValueError(f"risk must be one of {', '.join(RISKS)}, got {risk!r}")
    if not 0 <= prior < 1:
        raise ValueError(f"prior is the share of positives among unlabelled voxels and must lie in 0..1, got {prior}")
    if risk == "plain":
        prior = 0.0
    known = labelled > 0
    n, n_known = known.numel(), known.sum()
    n_unknown = n - n_known
    share = n_unknown / n
    if not n_known:
        negative = share * F.softplus(logits).mean()  # nothing to correct it with
        return Risk(negative, negative)
    target = labelled[known]
    seen = logits[known]
    as_positive = (F.softplus(seen) - target * seen).mean()
    as_negative = F.softplus(seen).mean()
    unknown = (F.softplus(logits) * ~known).sum() / n_unknown.clamp(min=1)
    positive = (1 - share + prior * share) * as_positive
    negative = share * (unknown - prior * as_negative)
    value = positive + (negative.clamp(min=0) if risk == "non-negative" else negative)
    if risk == "non-negative" and negative < 0:
        return Risk(value, -negative)
    return Risk(value, positive + negative)


def pu_dice(logits: torch.Tensor, labelled: torch.Tensor, *, prior: float) -> torch.Tensor:
    """One minus soft Dice with all positives, of which the labelled ones are a sample.

    Parameters
    ----------
    logits, labelled, prior
        As in `pu_risk`; a prior of 0 gives the ordinary Dice.

    Returns
    -------
    Tensor
        Scalar; 0 where nothing is labelled.
    """
    known = (labelled > 0).to(logits.dtype)
    n_known = known.sum()
    n_positive = n_known + prior * (known.numel() - n_known)
    drawn = torch.sigmoid(logits)
    common = (drawn * known).sum() * n_positive / n_known.clamp(min=1)
    dice = (2 * common + 1) / (drawn.sum() + n_positive + 1)
    return torch.where(n_known > 0, 1 - dice.clamp(max=1), torch.zeros_like(dice))


def true_risk(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Compute the mean logistic loss where every voxel is known: what the risks above estimate.

    Parameters
    ----------
    logits : Tensor
    positive : Tensor
        Of the same shape, bool.

    Returns
    -------
    Tensor
        Scalar.
    """
    return F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype))
