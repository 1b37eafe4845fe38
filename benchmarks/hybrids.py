"""Hybrid movies: real frames, real shapes and real activity, so that only how they are put together is simulated.

Frames and shapes: the Neurofinder crop with its hand-labelled regions (two-photon), a miniscope recording with the units that
another program found in it (one-photon; its glow was removed and its noise smoothed before it was published). Activity: dF/F
of cells recorded with electrophysiology (Rupprecht et al. 2021, doi:10.1038/s41593-021-00895-5), denoised by deconvolution.
All cells together are mirrored and moved round the field at random, so that they overlap as the real ones do but lie
elsewhere. The real cells' activity is taken out (see ``simulate.hybrid``); their resting light stays. Neuropil does not follow
the new cells, as it would in a brain. Needs CALCIUM_DATA_DIR.
"""

from __future__ import annotations

import functools
import json
import math
import os
from pathlib import Path

import numpy as np
from deconvolution import FS, recordings
from scipy import ndimage

from calcium_helpers import io
from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.results import Simulation
from calcium_helpers.simulate import OFFSET, HybridConfig, hybrid

N_FRAMES = 1500
SETS = {"DS09": "GCaMP6f", "DS10": "GCaMP6f", "DS11": "GCaMP6f", "DS13": "GCaMP6s", "DS14": "GCaMP6s"}  # mouse V1
SHORTEST_S = 110.0
HIGHEST_DFF = 5.0  # 99th percentile: above it F0 was near 0, and dF/F says little
# dF/F in these sets is relative to light from which 0.7 of the surround was subtracted. The labelled regions are as bright as
# their surround (median 1.02 of it), so that 0.3 of their light is their own.
OWN_LIGHT = 0.3
MASK_OF_PEAK = 0.2  # the truth of a one-photon cell is where it is above this share of its peak
AREA_PX = (60, 400)  # units of the miniscope recording outside this are pieces or clumps of cells
SLIMMEST = 0.5  # least ratio of the short to the long axis: the reference cuts some cells into slices
LARGEST_OVERLAP = 0.4  # of its own area with one other unit
COUNTS = 16  # the miniscope movie's counts are small integers: finer ones keep rounding out of what is added

MOTION_2P = {"motion_px": 3.0, "field_px": 0.8}
MOTION_1P = {"motion_px": 3.0, "field_px": 0.4}


def hybrid_2p(seed: int) -> Simulation:
    """192 x 192 x 1500 at 7 Hz: about 70 labelled regions in the Neurofinder crop, motion of 3 px."""
    movie = io.load_movie(_data() / "2p_neurofinder_7hz.tif", fs=7.0, progress=False)
    movie = Movie(movie.frames() + np.uint16(OFFSET), fs=7.0)
    masks, mean = _regions(movie.shape[1:]), movie.frames().mean(axis=0) - OFFSET
    # A region's texture is that of the mean image; optics soften its rim, while the hand-drawn mask stays the truth.
    typical = np.array([np.median(mean[mask]) for mask in masks])[:, None, None]
    images = ndimage.gaussian_filter(masks * np.clip(mean / typical, 0.3, 2), (0, 0.8, 0.8))
    images = np.clip(
        images / np.array([np.percentile(i[m], 90) for i, m in zip(images, masks, strict=True)])[:, None, None], 0, 1
    )
    images[images < 0.02] = 0
    rng = np.random.default_rng(seed)
    kept, images, masks = _scatter(rng, images, masks)
    dff, spikes = _activity(rng, len(kept), N_FRAMES / movie.fs)
    footprints = Footprints.from_images(images)
    baseline = OWN_LIGHT * np.array([np.median(mean[mask]) for mask in masks])
    config = HybridConfig(offset=OFFSET, **MOTION_2P)
    made = hybrid(movie, footprints, dff, baseline=baseline, spikes=spikes, config=config, seed=seed)
    return made._replace(footprints=Footprints.from_images(images * masks))


def hybrid_1p(seed: int) -> Simulation:
    """187 x 188 x 1500 at 15 Hz: about 60 units of a miniscope recording, motion of 3 px.

    A unit's largest transient is as bright as the real unit's, in counts: 1 to 33 before the scale of 16, median 6.
    """
    reference = np.load(_data() / "1p_miniscope_reference.npz")
    movie, (y0, y1, x0, x1) = _registered(reference["shifts_yx"])
    images, course = reference["A"], reference["C"]
    peak = images.max(axis=(1, 2)) * (course.max(axis=1) - np.median(course, axis=1)) * COUNTS
    images = ndimage.gaussian_filter(images / images.max(axis=(1, 2), keepdims=True), (0, 1, 1))  # units end abruptly
    images /= images.max(axis=(1, 2), keepdims=True)
    masks = images > MASK_OF_PEAK
    good = _plausible(masks, (y0, y1, x0, x1))
    images, masks, peak = images[good, y0:y1, x0:x1], masks[good, y0:y1, x0:x1], peak[good]
    rng = np.random.default_rng(seed)
    kept, images, masks = _scatter(rng, images * (images > 0.02), masks)
    dff, spikes = _activity(rng, len(kept), N_FRAMES / movie.fs)
    config = HybridConfig(offset=OFFSET, shuffle_px=None, background_px=90, **MOTION_1P)
    made = hybrid(
        movie, Footprints.from_images(images), dff, baseline=peak[kept] / dff.values.max(axis=1), spikes=spikes, config=config,
        seed=seed,
    )  # fmt: skip
    return made._replace(footprints=Footprints.from_images(images * masks))


def _data() -> Path:
    if "CALCIUM_DATA_DIR" not in os.environ:
        raise ValueError("hybrid movies are made from real recordings: set CALCIUM_DATA_DIR to the folder that holds them")
    return Path(os.environ["CALCIUM_DATA_DIR"])


def _regions(shape: tuple[int, ...]) -> np.ndarray:
    """Hand-labelled regions of the Neurofinder crop, bool (N, H, W)."""
    regions = json.loads((_data() / "2p_neurofinder_7hz_regions.json").read_text())["regions"]
    masks = np.zeros((len(regions), *shape), dtype=bool)
    for mask, region in zip(masks, regions, strict=True):
        y, x = np.array(region["coordinates"]).T
        mask[y, x] = True
    return masks


def _registered(shifts: np.ndarray) -> tuple[Movie, tuple[int, int, int, int]]:
    """Return the miniscope movie, moved by its whole-pixel shifts, and where all frames have content."""
    frames = io.load_movie(_data() / "1p_miniscope.tif", fs=15.0, progress=False).frames()
    yx = np.rint(shifts).astype(int)
    moved = np.stack([np.roll(frame, tuple(step), axis=(0, 1)) for frame, step in zip(frames, yx, strict=True)])
    (y0, x0), (y1, x1) = np.maximum(yx.max(axis=0), 0), moved.shape[1:] + np.minimum(yx.min(axis=0), 0)
    inside = moved[:, y0:y1, x0:x1].astype(np.uint16) * np.uint16(COUNTS) + np.uint16(OFFSET)
    return Movie(inside, fs=15.0), (int(y0), int(y1), int(x0), int(x1))


def _plausible(masks: np.ndarray, valid: tuple[int, int, int, int]) -> np.ndarray:
    """Which units have the area and shape of a cell, lie inside and hardly overlap with one another."""
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    area = flat.sum(axis=1)
    overlap = flat @ flat.T
    np.fill_diagonal(overlap, 0)
    y0, y1, x0, x1 = valid
    whole = masks[:, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].sum(axis=(1, 2)) == area
    good = whole & (area >= AREA_PX[0]) & (area <= AREA_PX[1])
    axes = [
        np.sqrt(np.linalg.eigvalsh(np.cov(np.nonzero(mask)))) if fits else (0, 1)
        for mask, fits in zip(masks, good, strict=True)
    ]
    good &= np.array([short >= SLIMMEST * long for short, long in axes])
    return good & (overlap[:, good].max(axis=1) <= LARGEST_OVERLAP * area)


def _scatter(rng: np.random.Generator, images: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mirror all cells and move them round the field; return which are left whole, their images and their masks."""
    mirror = tuple(axis for axis in (1, 2) if rng.random() < 0.5)
    step = tuple(rng.integers(masks.shape[1:]))
    images, masks = (np.roll(np.flip(stack, mirror), step, axis=(1, 2)) for stack in (images, masks))
    # What was cut by the edge before stays cut; what now lies on both sides of it has no place.
    rows, columns = masks.any(axis=2), masks.any(axis=1)
    kept = np.flatnonzero(~((rows[:, 0] & rows[:, -1]) | (columns[:, 0] & columns[:, -1])))
    for image, mask in zip(images, masks, strict=True):
        image *= ndimage.binary_dilation(mask, iterations=4)  # nor has a rim that came out on the other side
    return kept, images[kept], masks[kept]


@functools.cache
def _pool() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Calcium (denoised, baseline taken off) and spikes at 25 Hz of all sweeps that are long and plausible."""
    sweeps = []
    for prefix, indicator in SETS.items():
        (folder,) = _data().glob(f"spikes/{prefix}-*")
        for _, dff, spikes in recordings(folder):
            if dff.n_frames < SHORTEST_S * FS or np.percentile(dff.values, 99) > HIGHEST_DFF:
                continue
            fit = deconvolve(dff, indicator=indicator)
            calcium = (fit.denoised.values - fit.baseline[:, None])[0]
            if calcium.max() > 0:
                sweeps.append((calcium, spikes.values[0]))
    return tuple(sweeps)


def _activity(rng: np.random.Generator, n: int, duration_s: float) -> tuple[Traces, Traces]:
    """dF/F and spikes of ``n`` sweeps, each from a random moment on; past its end a sweep starts again."""
    pool = _pool()
    length = math.ceil(duration_s * FS)
    chosen = [pool[i] for i in rng.permutation(len(pool))[:n]]
    starts = [rng.integers(len(calcium)) for calcium, _ in chosen]
    rows = [[np.roll(row, -start) for row in pair] for pair, start in zip(chosen, starts, strict=True)]
    dff, spikes = (np.array([np.resize(pair[which], length) for pair in rows]) for which in (0, 1))
    return Traces(dff, FS, "dff"), Traces(spikes, FS, "spikes")
