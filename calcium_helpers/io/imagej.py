"""Regions drawn in ImageJ: ``.roi``, and the ``.zip`` of its ROI manager."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from calcium_helpers.containers import Footprints
from calcium_helpers.io.errors import MovieFileError

logger = logging.getLogger(__name__)


def read_imagej(path: Path, shape: tuple[int, int]) -> Footprints:
    """Read rectangles, ovals, polygons, freehand and composite regions; their place in the file becomes their id.

    A pixel belongs to a region when its centre lies inside, as in ImageJ, where pixel (0, 0) reaches from 0 to 1. Which slice a
    region was drawn on does not matter.
    """
    try:
        from roifile import roiread
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("regions of ImageJ need roifile: pip install 'calcium_helpers[rois]'") from missing
    try:
        found = roiread(path)
    except Exception as error:  # whatever the parser of a damaged file raises
        raise MovieFileError(path, f"is no readable file of ImageJ ({error})", "Save it again from the ROI manager") from error
    rois = found if isinstance(found, list) else [found]
    rows, ids, left_out = [], [], []
    for number, roi in enumerate(rois):
        mask = _fill(roi, shape)
        if mask is None or not mask.any():
            what = f"{roi.roitype.name.lower()}" if mask is None else "no pixel of the frames"
            left_out.append(f"{roi.name or number} ({what})")
        else:
            rows.append(sparse.csr_matrix(mask.reshape(1, -1), dtype=np.float32))
            ids.append(number)
    if left_out:
        named = ", ".join(left_out[:10]) + (", ..." if len(left_out) > 10 else "")
        logger.warning("%s: %d of %d regions are left out: %s", path.name, len(left_out), len(rois), named)
    weights = sparse.vstack(rows) if rows else sparse.csr_matrix((0, shape[0] * shape[1]), dtype=np.float32)
    return Footprints(weights, shape, np.array(ids, dtype=np.int64))


def _fill(roi: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """Return the pixels of a region (H, W), None of what has no area."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.ARROW, ROI_SUBTYPE.IMAGE):
        return None
    if roi.roitype == ROI_TYPE.OVAL:
        y, x = (np.arange(n) + 0.5 for n in shape)
        (left, top), (right, bottom) = _box(roi)
        radii = np.maximum([(bottom - top) / 2, (right - left) / 2], 1e-9)
        return ((y[:, None] - (top + bottom) / 2) / radii[0]) ** 2 + ((x - (left + right) / 2) / radii[1]) ** 2 <= 1
    if roi.composite:
        try:
            return _fill_rings(roi.coordinates(multi=True), shape)
        except RuntimeError:  # curves
            return None
    if roi.roitype == ROI_TYPE.RECT:
        (left, top), (right, bottom) = _box(roi)
        return _fill_rings([np.array([(left, top), (right, top), (right, bottom), (left, bottom)])], shape)
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        return _fill_rings(roi.coordinates(multi=True), shape)
    return None


def _box(roi: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the corners (x, y) of a rectangle or oval, to parts of pixels where they are stored."""
    if roi.subpixelrect:
        return (roi.xd, roi.yd), (roi.xd + roi.widthd, roi.yd + roi.heightd)
    return (roi.left, roi.top), (roi.right, roi.bottom)


def _fill_rings(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centres lie inside an odd number of closed rings of points (x, y).

    Where a border runs through a centre, the pixel belongs to the region on its left, or below it: regions that share a border
    share no pixel.
    """
    height, width = shape
    centre = np.arange(height) + 0.5
    turns = np.zeros((height, width + 1), dtype=bool)
    for ring in (np.asarray(ring, dtype=np.float64) for ring in rings):
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            rows = np.flatnonzero((min(y0, y1) <= centre) & (centre < max(y0, y1)))
            crossing = x0 + (centre[rows] - y0) * (x1 - x0) / (y1 - y0 or 1)
            turns[rows, np.clip(np.floor(crossing + 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(turns, axis=1)[:, :width]
