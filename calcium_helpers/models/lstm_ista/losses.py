"""What training makes small: slots are first matched to cells, so that it does not matter which slot draws which cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F

from calcium_helpers.models.lstm_ista.fields import Batch
from calcium_helpers.models.lstm_ista.network import LSTMISTA, SPACING, WINDOW, Output
from calcium_helpers.models.lstm_ista.profiles import LossWeights

FAR_PX = 2.5 * SPACING  # a slot does not take a cell whose centre is further away
FOCUS = 2.0  # how much less what is nearly right counts in the presence of slots
FAR_COST = 1e3


class Matched(NamedTuple):
    """Pairs, (P,) each: tile, slot, cell."""

    tile: torch.Tensor
    slot: torch.Tensor
    cell: torch.Tensor


def match_slots(output: Output, batch: Batch, *, by_footprint: bool = True) -> Matched:
    """Match slots to the cells of each tile one to one at the least total cost (Hungarian method).

    The cost is the distance of centres in spacings of the slots plus, by footprint, one minus Dice, and one minus presence.

    Parameters
    ----------
    output : Output
        Of the network.
    batch : Batch
        Cells of weight 0 are left out.
    by_footprint : bool
        Otherwise each cell takes the slot nearest to its centre, whatever it drew.

    Returns
    -------
    Matched
    """
    with torch.no_grad():
        found = []
        for tile in range(len(batch.masks)):
            cells = torch.nonzero(batch.weight[tile].abs() > 0.05)[:, 0]
            if len(cells):
                slots, which = _assign(output, batch.masks[tile, cells], tile, by_footprint)
                found.append(torch.stack([torch.full_like(slots, tile), slots, cells[which]]))
        pairs = torch.cat(found, dim=1) if found else torch.zeros((3, 0), dtype=torch.long, device=batch.masks.device)
    return Matched(*pairs)


def _assign(output: Output, masks: torch.Tensor, tile: int, by_footprint: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots and cells of one tile that belong together."""
    cost = matching_cost(output, masks, tile, by_footprint=by_footprint)
    slots, cells = linear_sum_assignment(cost.cpu().numpy())
    near = cost[slots, cells].cpu().numpy() < FAR_COST
    return tuple(torch.from_numpy(np.asarray(index)[near]).to(masks.device) for index in (slots, cells))  # type: ignore[return-value]


def matching_cost(output: Output, masks: torch.Tensor, tile: int, *, by_footprint: bool = True) -> torch.Tensor:
    """Compute what each slot of one tile costs for each cell.

    Parameters
    ----------
    output : Output
        Of the network.
    masks : Tensor, shape (K, H, W)
        Cells of the tile.
    tile : int
        Which of the batch.
    by_footprint : bool
        As for `match_slots`.

    Returns
    -------
    Tensor, shape (S, K)
        ``FAR_COST`` where slot and cell lie too far apart.
    """
    yx = torch.stack(torch.meshgrid(*(torch.arange(n, device=masks.device) for n in masks.shape[1:]), indexing="ij"))
    centres = (masks[:, None] * yx).sum(dim=(2, 3)) / masks.sum(dim=(1, 2)).clamp(min=1)[:, None]
    distance = torch.cdist(output.corners + (WINDOW - 1) / 2, centres)
    cost = distance / SPACING
    if by_footprint:
        drawn = torch.sigmoid(output.footprints[tile]).flatten(1)
        true = windows_of(masks, output.corners).flatten(2)  # (K, S, P)
        dice = 2 * torch.einsum("sp,ksp->sk", drawn, true) / (drawn.sum(1)[:, None] + true.sum(2).T).clamp(min=1)
        cost = cost + 2 * (1 - dice) + 1 - torch.sigmoid(output.presence[tile])[:, None]
    return cost.masked_fill(distance > FAR_PX, FAR_COST)


def windows_of(images: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """Cut windows (K, S, WINDOW, WINDOW) out of images (K, H, W); outside there is nothing."""
    padded = F.pad(images, (WINDOW,) * 4)
    at = torch.arange(WINDOW, device=images.device)
    y, x = (corners[:, axis, None] + WINDOW + at for axis in (0, 1))
    return padded[:, y[:, :, None], x[:, None, :]]


def lstm_ista_loss(weights: LossWeights | None = None, *, matching: bool = True) -> Callable[[nn.Module, Batch], torch.Tensor]:
    """Make the loss of ``training.fit``.

    Parameters
    ----------
    weights : LossWeights, optional
    matching : bool
        As ``by_footprint`` of `match_slots`.

    Returns
    -------
    callable
        ``loss(model, batch)`` gives a scalar Tensor.
    """
    weights = weights or LossWeights()

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        parts = loss_parts(model, batch, matching=matching)  # type: ignore[arg-type]
        return torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()

    return loss


def loss_parts(model: LSTMISTA, batch: Batch, *, matching: bool = True) -> dict[str, torch.Tensor]:
    """Compute each part of the loss.

    Parameters
    ----------
    model : LSTMISTA
    batch : Batch
    matching : bool
        As ``by_footprint`` of `match_slots`.

    Returns
    -------
    dict of str to Tensor
        Scalars by their names in `LossWeights`.
    """
    output = model(batch.movie)
    pairs = match_slots(output, batch, by_footprint=matching)
    pixels, level = windows_of_pairs(batch, output, pairs), batch.weight[pairs.tile, pairs.cell]
    drawn = output.footprints[pairs.tile, pairs.slot]
    power = batch.clean.square().mean(dim=(1, 2, 3))
    return {
        "denoising": ((output.denoised - batch.clean).square().mean(dim=(1, 2, 3)) / (power + 0.02)).mean(),
        "symmetry": output.symmetry,
        "attention": _overlap_loss(output.attention, batch.active).mean(),
        "presence": _presence_loss(output, pairs, level),
        "footprints": _mean(_overlap_loss(drawn, pixels), level.clamp(min=0)),
    }


def windows_of_pairs(batch: Batch, output: Output, pairs: Matched) -> torch.Tensor:
    """Cut the true masks of matched cells as their slots see them, (P, WINDOW, WINDOW)."""
    masks = F.pad(batch.masks, (WINDOW,) * 4)[pairs.tile, pairs.cell]
    at = torch.arange(WINDOW, device=masks.device)
    y, x = (output.corners[pairs.slot][:, axis, None] + WINDOW + at for axis in (0, 1))
    return masks[torch.arange(len(masks), device=masks.device)[:, None, None], y[:, :, None], x[:, None, :]]


def _presence_loss(output: Output, pairs: Matched, level: torch.Tensor) -> torch.Tensor:
    """Focal cross-entropy of all slots: cells that are hardly seen, and those cut by the tile's edge, do not count."""
    target, counts = torch.zeros_like(output.presence), torch.ones_like(output.presence)
    target[pairs.tile, pairs.slot] = (level > 0.5).to(target.dtype)
    counts[pairs.tile, pairs.slot] = torch.where(level > 0, (2 * level - 1).abs(), 0)
    entropy = F.binary_cross_entropy_with_logits(output.presence, target, reduction="none")
    wrong = (torch.sigmoid(output.presence).detach() - target).abs()
    return (entropy * wrong**FOCUS * counts).sum() / (target * counts).sum().clamp(min=1)


def _overlap_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus one minus Dice of each image (P, h, w)."""
    entropy = F.binary_cross_entropy_with_logits(logits, true, reduction="none").mean(dim=(1, 2))
    drawn = torch.sigmoid(logits)
    dice = (2 * (drawn * true).sum(dim=(1, 2)) + 1) / (drawn.sum(dim=(1, 2)) + true.sum(dim=(1, 2)) + 1)
    return entropy + 1 - dice


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
