"""Movies of miniature synaptic calcium transients with truth: dendrites, spines, and small dim events on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from calcium_helpers.containers import Events, Movie
from calcium_helpers.simulate.dendrites import Anatomy, draw_anatomy
from calcium_helpers.simulate.motion import draw_rigid_motion
from calcium_helpers.simulate.render import MARGIN_PX, crop_margin, render_movie
from calcium_helpers.simulate.shapes import smooth_noise
from calcium_helpers.simulate.synapse_config import SynapseConfig
from calcium_helpers.simulate.synapse_events import Light, Site, draw_distractors, draw_events, draw_sites

FEWEST_FRAMES = 2
FEWEST_VOXELS = 12  # smaller remnants of events that others outshine, or that the movie cuts off, are no truth

__all__ = ["SynapseConfig", "SynapseSimulation", "synaptic_events"]


class SynapseSimulation(NamedTuple):
    """A simulated movie of synaptic transients and everything that is true of it.

    ``label`` (T, H, W), uint16, is 0 outside events and ``row + 1`` of ``events.table`` inside them. In the table ``roi`` is
    the site, ``onset_s`` the time of the first labelled frame, ``offset_s`` the end of the last one and ``amplitude`` the peak
    brightness in units of the median dendrite's; further columns are ``y_px, x_px`` of the site, ``kind`` ("synapse" or
    "dendrite"), ``touching`` (a voxel of another event beside one of its own, diagonals included), ``area_px`` (pixels that
    ever belong to it) and ``snr`` (peak of the mean trace of these pixels over its noise). ``structure`` (H, W) is the light
    at rest without the glow, photons; ``sites`` (site, y_px, x_px, kind, n_events) lists all that could fire;
    ``distractors`` (dendrite, onset_s, offset_s, amplitude) transients of whole dendrites, which are no events.
    """

    movie: Movie
    label: np.ndarray
    events: Events
    structure: np.ndarray
    sites: pd.DataFrame
    distractors: pd.DataFrame


def synaptic_events(config: SynapseConfig | None = None, *, seed: int) -> SynapseSimulation:
    """Simulate dendrites with spines and the small transients on them.

    An event is where and when its own light, without noise, exceeds ``mask_share`` of its peak; where two do, the stronger one
    has the voxel.

    Parameters
    ----------
    config : SynapseConfig, optional
        What the recording looks like.
    seed : int
        Equal seeds give equal movies.

    Returns
    -------
    SynapseSimulation
        A uint16 movie in counts and its truth; there may be no event in a short or small one.
    """
    config = config or SynapseConfig()
    streams = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(streams[0])
    canvas = (config.height + 2 * MARGIN_PX, config.width + 2 * MARGIN_PX)
    anatomy = draw_anatomy(rng, canvas, config)
    rest = _light_at_rest(anatomy, config)
    glow = config.glow_photons * np.clip(1 + 0.35 * smooth_noise(rng, canvas, 14.0), 0.2, None)
    sites = draw_sites(rng, anatomy, config, MARGIN_PX)
    events = draw_events(rng, sites, config)
    distractors = draw_distractors(rng, anatomy, config)
    label, kept = _draw_label(events, config)
    movie = _record(rng, streams[1], rest, glow, events + [light for _, light in distractors], config)
    history = (f"simulated movie of synaptic transients, seed {seed}",)
    return SynapseSimulation(
        Movie(movie, fs=config.fs, pixel_um=config.pixel_um, history=history),
        label,
        _tabulate(label, [events[i] for i in kept], sites, crop_margin(rest + glow), config),
        crop_margin(rest),
        _list_sites(sites, [events[i].site for i in kept]),
        pd.DataFrame(
            [
                (tree, light.t0 / config.fs, (light.t0 + len(light.course)) / config.fs, light.amplitude / config.photons)
                for tree, light in distractors
            ],
            columns=["dendrite", "onset_s", "offset_s", "amplitude"],
        ),
    )


def _light_at_rest(anatomy: Anatomy, config: SynapseConfig) -> np.ndarray:
    """Light (canvas) of resting dendrites, blurred, with the median of the shafts' middles at ``photons``."""
    image = sum(anatomy.tree(number) for number in range(config.n_dendrites))
    image = ndimage.gaussian_filter(image, config.psf_um / config.pixel_um)
    rows, columns = np.concatenate([path.points for path in anatomy.paths]).astype(int).T
    return np.asarray(image * (config.photons / np.median(image[rows, columns])), dtype=np.float32)


def _record(
    rng: np.random.Generator, seed: np.random.SeedSequence, rest: np.ndarray, glow: np.ndarray, lights: list[Light],
    config: SynapseConfig,
) -> np.ndarray:  # fmt: skip
    """Record the dendrites, their events and the glow through bleaching, drift and noise."""
    n = config.n_frames
    bleach = (1 - config.bleaching) ** np.linspace(0, 1, n)
    flicker = 1 + 0.05 * smooth_noise(rng, (n,), config.fs) if n > 1 else np.ones(1)
    drift = draw_rigid_motion(rng, n, config.fs, drift_px=config.drift_px, burst_px=0.0)

    def scene(frame: int) -> np.ndarray:
        image = rest + np.float32(flicker[frame]) * glow
        for light in lights:
            if 0 <= frame - light.t0 < len(light.course):
                image[light.window] += light.at(frame)
        return np.asarray(bleach[frame] * image, dtype=np.float32)

    size = (config.height, config.width)
    noise = {"read_noise": config.read_noise, "gain": config.gain}
    return render_movie(scene, drift[:, None, None], size, seed=seed, progress=False, **noise)


def _draw_label(events: list[Light], config: SynapseConfig) -> tuple[np.ndarray, list[int]]:
    """Label the voxels of events (T, H, W) by 1, 2, ... and return which events these are."""
    label = np.zeros((config.n_frames, config.height, config.width), np.uint16)
    canvas = (config.height + 2 * MARGIN_PX, config.width + 2 * MARGIN_PX)
    limits = [config.mask_share * event.image.max(initial=0) * event.course.max(initial=0) for event in events]
    for frame in range(config.n_frames):
        active = [i for i, event in enumerate(events) if 0 <= frame - event.t0 < len(event.course)]
        owner, strongest = np.zeros(canvas, np.uint16), np.zeros(canvas, np.float32)
        for i in active:
            light, window = events[i].at(frame), events[i].window
            own = (light > limits[i]) & (light > strongest[window])
            owner[window][own], strongest[window][own] = i + 1, light[own]
        if active:
            label[frame] = crop_margin(owner)
    order = np.zeros(len(events) + 1, np.uint16)
    first: dict[int, int] = {}
    for i, box in enumerate(ndimage.find_objects(label, max_label=len(events))):
        if box is None:
            continue
        own = label[box] == i + 1
        pieces, _ = ndimage.label(own, np.ones((3, 3, 3)))
        largest = pieces == np.argmax(np.bincount(pieces[own]))
        label[box][own & ~largest] = 0
        if np.count_nonzero(largest) >= FEWEST_VOXELS and np.count_nonzero(largest.any(axis=(1, 2))) >= FEWEST_FRAMES:
            first[i] = box[0].start + int(np.argmax(largest.any(axis=(1, 2))))
    kept = sorted(first, key=lambda i: first[i])
    order[np.array(kept, dtype=int) + 1] = np.arange(1, len(kept) + 1)
    return order[label], kept


def _tabulate(label: np.ndarray, lights: list[Light], sites: list[Site], rest: np.ndarray, config: SynapseConfig) -> Events:
    """Measure the events on their labels."""
    rows, masks = [], []
    for i, (light, box) in enumerate(zip(lights, ndimage.find_objects(label), strict=True)):
        mask, site = label[box] == i + 1, sites[light.site]
        area = mask.any(axis=0)
        window = tuple(slice(part.start + MARGIN_PX, part.stop + MARGIN_PX) for part in box[1:])
        image = np.zeros((config.height + 2 * MARGIN_PX, config.width + 2 * MARGIN_PX), np.float32)
        image[light.window] = light.image
        peak = int(np.argmax(light.course[box[0].start - light.t0 : box[0].stop - light.t0])) + box[0].start
        signal = image[window][area].mean() * light.course[peak - light.t0]
        noise = np.sqrt((rest[box[1:]][area] + config.read_noise**2).sum()) / area.sum()
        around = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
        grown = ndimage.binary_dilation(label[around] == i + 1, np.ones((3, 3, 3)))
        rows.append({
            "roi": light.site, "onset_s": box[0].start / config.fs, "peak_s": peak / config.fs,
            "offset_s": box[0].stop / config.fs, "amplitude": light.amplitude / config.photons,
            "y_px": site.y - MARGIN_PX, "x_px": site.x - MARGIN_PX, "kind": site.kind,
            "touching": bool((grown & (label[around] > 0) & (label[around] != i + 1)).any()),
            "area_px": int(area.sum()), "snr": float(signal / noise),
        })  # fmt: skip
        masks.append((box[0].start, box[1].start, box[2].start, mask))
    columns = ["roi", "onset_s", "peak_s", "offset_s", "amplitude", "y_px", "x_px", "kind", "touching", "area_px", "snr"]
    return Events(pd.DataFrame(rows, columns=columns), masks=tuple(masks))


def _list_sites(sites: list[Site], fired: list[int]) -> pd.DataFrame:
    """List where events can come from, and how many did."""
    table = pd.DataFrame([(i, s.y - MARGIN_PX, s.x - MARGIN_PX, s.kind) for i, s in enumerate(sites)])
    table = table.reindex(columns=range(4)).set_axis(["site", "y_px", "x_px", "kind"], axis=1)
    return table.assign(n_events=np.bincount(fired, minlength=len(sites))[: len(sites)])
