"""What the networks are trained to make small."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from calcium_helpers.models.msct.config import PUConfig
from calcium_helpers.models.msct.crops import Crops
from calcium_helpers.models.msct.pu import pu_dice, pu_risk
from calcium_helpers.transients.polyhedra import Rays, distances_at, edge_probability

FAR_WEIGHT = 0.1  # of a voxel's error in distance against the risk of its probability

Loss = Callable[[Callable[[torch.Tensor], torch.Tensor], Crops], torch.Tensor]


def voxel_loss(config: PUConfig) -> Loss:
    """Make the loss of a network whose output is the logit of being part of an event.

    Parameters
    ----------
    config : PUConfig

    Returns
    -------
    callable
        ``loss(model, crops)`` gives a scalar Tensor.
    """
    prior = config.known_prior

    def loss(model: Callable[[torch.Tensor], torch.Tensor], crops: Crops) -> torch.Tensor:
        logits = model(crops.channels)[:, 0]
        labelled = (crops.label > 0).to(logits.dtype)
        value = pu_risk(logits, labelled, prior=prior, risk=config.risk).step
        return value + config.dice * pu_dice(logits, labelled, prior=prior) if config.dice else value

    return loss


def stardist_loss(config: PUConfig, rays: Rays) -> Loss:
    """Make the loss of a StarDist network: a risk of centrality, and the error of distances where events are labelled.

    Parameters
    ----------
    config : PUConfig
    rays : Rays
        Of the network.

    Returns
    -------
    callable
        ``loss(model, crops)`` gives a scalar Tensor.
    """

    def loss(model: Callable[[torch.Tensor], torch.Tensor], crops: Crops) -> torch.Tensor:
        seen = model(crops.channels)
        labels = crops.label.cpu().numpy()
        central = torch.from_numpy(np.stack([edge_probability(label, anisotropy=rays.extents) for label in labels]))
        central = central.to(seen.device)
        value = pu_risk(seen[:, 0], central, prior=config.known_prior, risk=config.risk).step
        b, t, y, x = torch.nonzero(central, as_tuple=True)
        if not len(b):
            return value
        true = np.concatenate([distances_at(label, np.argwhere(label), rays) for label in labels if label.any()])
        error = (F.softplus(seen[b, 1:, t, y, x]) - torch.from_numpy(true).to(seen.device)).abs().mean(dim=1)
        weight = central[b, t, y, x]
        # In proportion to the events there are, as the risk is.
        return value + FAR_WEIGHT * (error * weight).sum() / weight.sum() * len(b) / central.numel()

    return loss
