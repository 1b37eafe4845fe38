"""From probabilities to events: connected voxels, and the cut between events that touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from calcium_helpers.memory import chunk_bytes, let_go
from calcium_helpers.movie import CHUNK_BYTES

MAX_BOX = 2**24
"""Connected voxels whose box is larger than this are looked at in parts of time; only far too low a threshold makes them."""

LEAST_SIGNAL = 0.01  # what is not above rest lies low, but is no hole
SIGNAL_SIGMA = (1.0, 1.5, 1.5)  # smoothing of the signal in T, H and W, voxels

NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


def connected_volumes(probability: Any, *, threshold: float = 0.5, min_size: Sequence[int] = (2, 3, 3)) -> np.ndarray:
    """Take each connected set of voxels above a threshold as one event; those that touch become one.

    Parameters
    ----------
    probability : array-like, shape (T, H, W)
        Probability of each voxel to belong to an event; read in chunks of frames, may be memory-mapped. NaN is no event.
    threshold : float
        A voxel belongs to an event above this, in [0, 1).
    min_size : sequence of int
        Least extent of an event in frames, rows and columns; smaller ones are left out.

    Returns
    -------
    ndarray of uint32, shape (T, H, W)
        0 outside events, 1, 2, ... inside (voxels are neighbours also across corners).

    Raises
    ------
    ValueError
        For an array that is not (T, H, W) or an argument out of range.
    """
    label, boxes = _components(probability, threshold, _check_size(min_size))
    return _numbered(label, ((box, (label[box] == number).astype(np.int32)) for number, box in boxes))


def split_volumes(
    probability: Any, *, threshold: float = 0.5, signal: Any = None, depth: float = 0.2,
    sigma: Sequence[float] = (1.0, 1.0, 1.0), min_size: Sequence[int] = (2, 3, 3),
) -> np.ndarray:  # fmt: skip
    """Cut connected voxels above a threshold into events by a seeded watershed, so that those that touch stay apart.

    The landscape is the smoothed probability times the distance to the edge, or times the smoothed signal: a network is as sure
    between two events as in them, but light falls and rises again. Its summits are the seeds, except where the way to
    a higher one does not lead down by the share ``depth``. The landscape of connected voxels depends on their surroundings
    alone: no part of the movie changes what is found elsewhere.

    Parameters
    ----------
    probability, threshold : array-like, float
        As in ``connected_volumes``.
    signal : array-like, shape (T, H, W), optional
        Light above rest, in any unit; read in chunks as the probability is. Finite.
    depth : float
        Two summits are two events when the pass between them is lower than this share of the lower one, in (0, 1): less
        cuts more.
    sigma : sequence of float
        Standard deviation of the smoothing in T, H and W, voxels.
    min_size : sequence of int
        Least extent of an event in frames, rows and columns. A smaller part goes to the events that it touches, a smaller
        event without a neighbour is left out.

    Returns
    -------
    ndarray of uint32, shape (T, H, W)
        0 outside events, 1, 2, ... inside.

    Raises
    ------
    ValueError
        For an array that is not (T, H, W) or an argument out of range.
    """
    size = _check_size(min_size)
    if not 0 < depth < 1:
        raise ValueError(f"depth must lie in (0, 1), got {depth}")
    if len(sigma) != 3 or not np.isfinite(sigma).all() or min(sigma) < 0:
        raise ValueError(f"sigma must be three widths (T, H, W) of at least 0 voxels, got {sigma!r}")
    label, boxes = _components(probability, threshold, size)

    def parts() -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        for number, whole in boxes:
            for box in _in_time(whole):
                mask = label[box] == number
                landscape = _smooth_around(probability, box, sigma)
                if signal is None:
                    landscape *= ndimage.gaussian_filter(_distance(mask), 0.5)
                else:
                    landscape *= np.maximum(_smooth_around(signal, box, SIGNAL_SIGMA), LEAST_SIGNAL)
                yield box, _split(mask, np.where(mask, landscape, 0), depth, size)

    return _numbered(label, parts())


def erase_seams(label: np.ndarray) -> np.ndarray:
    """Take the voxels that touch another event out of a label, as the target of a network whose events shall not merge.

    A network that learns plain masks calls the border between two events as certain as their inside, and then no watershed
    finds it. Voxels are neighbours also across corners.

    Parameters
    ----------
    label : ndarray of int, shape (T, H, W)
        0 outside events.

    Returns
    -------
    ndarray, shape (T, H, W)
        A copy in which those voxels are 0. An event that would vanish is kept whole.
    """
    highest = ndimage.maximum_filter(label, size=3, mode="nearest")
    most = np.iinfo(label.dtype).max
    lowest = ndimage.minimum_filter(np.where(label > 0, label, most), size=3, mode="nearest")
    erased = np.where((highest == lowest) & (label > 0), label, 0).astype(label.dtype)
    lost = np.setdiff1d(label, erased)
    return np.where(np.isin(label, lost), label, erased) if lost.size else erased


def _components(probability: Any, threshold: float, size: np.ndarray) -> tuple[np.ndarray, list[tuple[int, tuple[slice, ...]]]]:
    """Find the connected voxels above the threshold, int32, and the numbers and boxes of those that are not too small."""
    shape = tuple(probability.shape)
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"probability must be (T, H, W), each at least 1, got shape {shape}")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must lie in [0, 1), got {threshold}")
    above = np.empty(shape, dtype=bool)
    step = max(1, chunk_bytes(CHUNK_BYTES) // (4 * shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        np.greater(probability[start : start + step], threshold, out=above[start : start + step])
        let_go(probability)
    label = np.empty(shape, dtype=np.int32)
    ndimage.label(above, NEIGHBOURS, output=label)
    boxes = enumerate(ndimage.find_objects(label), start=1)
    return label, [(number, box) for number, box in boxes if _is_large(box, size)]


def _is_large(box: tuple[slice, ...], size: np.ndarray) -> bool:
    return all(part.stop - part.start >= least for part, least in zip(box, size, strict=True))


def _in_time(box: tuple[slice, ...]) -> list[tuple[slice, ...]]:
    """Cut a box into parts of time that are not too large."""
    time, *plane = box
    step = max(1, MAX_BOX // int(np.prod([part.stop - part.start for part in plane])))
    return [(slice(a, min(a + step, time.stop)), *plane) for a in range(time.start, time.stop, step)]


def _smooth_around(values: Any, box: tuple[slice, ...], sigma: Sequence[float]) -> np.ndarray:
    """Smooth what is in a box, as of the whole movie."""
    reach = [int(np.ceil(4 * width)) for width in sigma]  # beyond, the smoothing weighs nothing
    wider = tuple(slice(max(part.start - r, 0), part.stop + r) for part, r in zip(box, reach, strict=True))
    time, *plane = wider
    around = np.nan_to_num(np.asarray(values[time])[:, *plane], nan=0.0).astype(np.float32)
    inner = tuple(slice(part.start - wide.start, part.stop - wide.start) for part, wide in zip(box, wider, strict=True))
    return np.asarray(ndimage.gaussian_filter(around, sigma, truncate=4)[inner])


def _distance(mask: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1])


def _split(mask: np.ndarray, landscape: np.ndarray, depth: float, size: np.ndarray) -> np.ndarray:
    """Flood the mask from the summits of the landscape; summits whose part is too small are given up one after another."""
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    # Lowered by the share and then raised as far as the landscape allows, a summit without a deep enough pass is flat no more.
    raised = reconstruction(landscape * (1 - depth), landscape)
    seeds, _ = ndimage.label(local_maxima(raised) & mask, NEIGHBOURS)
    while True:
        parts = watershed(-landscape, seeds, connectivity=NEIGHBOURS, mask=mask)
        boxes = enumerate(ndimage.find_objects(parts), start=1)
        small = [number for number, box in boxes if box is not None and not _is_large(box, size)]
        if not small:
            return parts
        voxels = np.bincount(parts.ravel(), minlength=max(small) + 1)
        seeds[seeds == min(small, key=lambda number: voxels[number])] = 0
        if not seeds.any():
            return np.zeros_like(parts)


def _numbered(label: np.ndarray, parts: Iterator[tuple[tuple[slice, ...], np.ndarray]]) -> np.ndarray:
    """Write parts of boxes into the label in place, numbered on and on; what no part covers becomes 0."""
    count = 0
    for box, part in parts:
        numbers = np.unique(part[part > 0])
        # Below zero until all are written: no new number is taken for one that is still to come.
        new = np.zeros(part.max() + 1, dtype=np.int32)
        new[numbers] = -(count + 1 + np.arange(len(numbers)))
        label[box][part > 0] = new[part[part > 0]]
        count += len(numbers)
    np.minimum(label, 0, out=label)
    return np.negative(label, out=label).view(np.uint32)


def _check_size(min_size: Sequence[int]) -> np.ndarray:
    size = np.asarray(min_size)
    if size.shape != (3,) or not np.issubdtype(size.dtype, np.integer) or size.min() < 1:
        raise ValueError(f"min_size must be three whole numbers (frames, rows, columns) of at least 1, got {min_size!r}")
    return size
