"""How sure a coordinate is of its cell: what speaks for it, and a probability fitted on simulated movies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from calcium_helpers.models.cnmf.detect import peak_snr
from calcium_helpers.models.cnmf.refine import HALF_BLOCK_BINS
from calcium_helpers.models.one_photon.adapt import blob_radii, likeness
from calcium_helpers.models.one_photon.blobs import RADIUS, Coordinates
from calcium_helpers.models.one_photon.learn import Fit, Level, regress

ROUND = 0.75
"""Compactness above which all count the same: cells need not be discs."""
FITTED = Path(__file__).with_name("confidence.json")


def measure(level: Level, coordinates: Coordinates, fit: Fit) -> pd.DataFrame:
    """Measure what speaks for each coordinate: one row each.

    ``snr`` is the height of its strongest transients over the noise, ``contrast`` over the spread below the median,
    ``consistency`` the correlation of the images that two interleaved halves of the recording give, ``likeness`` that of the
    image with the blob, ``compactness`` 1 for a disc and 0.8 for an ellipse twice as long as wide, ``size`` its radius in
    units of a usual one.
    """
    snr, contrast = peak_snr(fit.traces)
    short, long = blob_radii(coordinates).T
    return pd.DataFrame(
        {
            "snr": snr,
            "contrast": contrast,
            "consistency": _consistency(level, coordinates, fit),
            "likeness": likeness(fit),
            "compactness": 2 * short * long / (short**2 + long**2),
            "size": np.sqrt(short * long) / (RADIUS * coordinates.diameter_px),
        },
        index=pd.RangeIndex(len(snr), name="id"),
    )


def _consistency(level: Level, coordinates: Coordinates, fit: Fit) -> np.ndarray:
    """Correlation (K,) within a diameter of the images that the two halves of the recording give by themselves."""
    half = (np.arange(fit.activity.shape[1]) // HALF_BLOCK_BINS) % 2
    shape = (fit.seen.shape[1], fit.seen.shape[2])
    if not len(coordinates) or half.max(initial=0) == 0:
        return np.zeros(len(coordinates))
    images = []
    for part in (half == 0, half == 1):
        activity = np.where(part, fit.activity - fit.activity[:, part].mean(axis=1, keepdims=True), 0)
        images.append(regress(level, fit.rows, fit.corners, shape, activity))
    y, x = (torch.arange(n, device=fit.corners.device)[None] + fit.corners[:, axis, None] for axis, n in enumerate(shape))
    place = coordinates.yx.detach()
    squared = (y - place[:, :1])[:, :, None] ** 2 + (x - place[:, 1:])[:, None] ** 2
    near = (squared <= coordinates.diameter_px**2).float()
    first, second = (near * (image - _total(near * image) / _total(near)) for image in images)
    power = (_total(first**2) * _total(second**2)).sqrt().clamp_min(1e-9)
    return (_total(first * second) / power)[:, 0, 0].cpu().numpy()


def _total(images: Tensor) -> Tensor:
    return images.sum(dim=(1, 2), keepdim=True)


def features(measured: pd.DataFrame) -> np.ndarray:
    """Turn measures into the numbers that the probability is a function of, (K, 4).

    Signal-to-noise ratio and consistency added nothing to these.
    """
    return np.column_stack(
        [
            np.log(np.maximum(measured["contrast"], 0.1)),
            np.arctanh(np.clip(measured["likeness"], -0.99, 0.99)),
            np.minimum(measured["compactness"], ROUND),
            np.abs(np.log(np.maximum(measured["size"], 0.1))),
        ]
    )


def confidence(measured: pd.DataFrame) -> np.ndarray:
    """Probability (K,) that each coordinate sits on a cell: logistic in the features, fitted by ``tools/fit_confidence.py``."""
    fitted = json.loads(FITTED.read_text(encoding="utf-8"))
    return 1 / (1 + np.exp(-np.clip(features(measured) @ fitted["weights"] + fitted["bias"], -30, 30)))
