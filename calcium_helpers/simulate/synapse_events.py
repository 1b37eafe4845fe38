"""Simulated transients: which sites fire when, and the light that each event adds to the frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from calcium_helpers.indicators import Indicator
from calcium_helpers.simulate.dendrites import Anatomy
from calcium_helpers.simulate.synapse_config import SynapseConfig

NEIGHBOUR_UM = 2.0  # a touching event in space comes from a site within this distance
LEAK = (0.1, 0.7)  # brightness of the shaft relative to the head while a synapse is active
RISE_S = {"synapse": (0.03, 0.1), "dendrite": (0.15, 0.4)}
DENDRITE_SIZE = 0.7  # events on dendrites are wider and need less to be as visible
DISTRACTOR_SIZE = (1.5, 4.0)
NEGLIGIBLE = 0.01  # light below this share of the peak is left out


class Site(NamedTuple):
    """Where events come from: centre (y, x) on the canvas, kind, the light it adds (peak about 1) in a window, kinetics."""

    y: float
    x: float
    kind: str
    window: tuple[slice, slice]
    light: np.ndarray
    rise_s: float
    decay_s: float


class Light(NamedTuple):
    """Light ``image * course[t - t0]`` that an event adds in ``window``; ``amplitude`` is its peak, photons."""

    site: int
    t0: int
    course: np.ndarray
    window: tuple[slice, slice]
    image: np.ndarray
    amplitude: float

    def at(self, frame: int) -> np.ndarray:
        """Return the light in a frame."""
        return self.image * self.course[frame - self.t0]


def draw_sites(rng: np.random.Generator, anatomy: Anatomy, config: SynapseConfig, margin: int) -> list[Site]:
    """Draw a site on each spine whose centre is in the frame, and sites on the shafts, in random order."""
    low, high = np.full(2, margin + 2.0), np.array([config.height, config.width]) + margin - 3.0

    def inside(point: np.ndarray) -> bool:
        return bool((point >= low).all() and (point <= high).all())

    spines = [i for i in rng.permutation(len(anatomy.spines)) if inside(anatomy.spines[i, :2])]
    sites = [_synapse(rng, anatomy, int(i), config) for i in spines]
    share = min(config.on_dendrite, 0.9)
    n_shaft = int(np.ceil(max(len(sites), 5) * share / (1 - share))) if share else 0
    spots = [(k, at) for k, path in enumerate(anatomy.paths) for at, point in enumerate(path.points) if inside(point)]
    for i in rng.permutation(len(spots))[:n_shaft]:
        sites += [_spot(rng, anatomy, spots[i], config)]
    return [sites[i] for i in rng.permutation(len(sites))]


def draw_events(rng: np.random.Generator, sites: list[Site], config: SynapseConfig) -> list[Light]:
    """Draw about ``n_events`` events at the sites, sorted by time; some as touching pairs."""
    events: list[Light] = []
    wanted = rng.poisson(config.n_events) if sites else 0
    last = max(config.n_frames / config.fs - 0.3, 0.0)
    points = np.array([(site.y, site.x) for site in sites]).reshape(-1, 2)
    for number, site in enumerate(sites):
        if len(events) >= wanted:
            break
        n = 2 + rng.poisson(1.0) if rng.random() < config.recurrent else 1
        for _ in range(n):
            onset = rng.uniform(0, last)
            if any(event.site == number and abs(event.t0 / config.fs - onset) < 2 * site.decay_s for event in events):
                continue  # pairs in time are drawn below, on purpose
            events.append(_fire(rng, sites, number, onset, config))
            if rng.random() < config.touching / (2 - config.touching):  # each adds a second event
                events.append(_partner(rng, sites, points, events[-1], onset, config))
    return sorted((event for event in events if event.t0 < config.n_frames), key=lambda event: event.t0)


def draw_distractors(rng: np.random.Generator, anatomy: Anatomy, config: SynapseConfig) -> list[tuple[int, Light]]:
    """Draw transients of whole dendrites, as (tree, light)."""
    found = []
    for _ in range(rng.poisson(config.distractors_per_min * config.n_frames / config.fs / 60)):
        tree = int(rng.integers(config.n_dendrites))
        light = _blur(anatomy.tree(tree), config)
        window = (slice(0, light.shape[0]), slice(0, light.shape[1]))
        light *= _log_uniform(rng, DISTRACTOR_SIZE) / max(float(light.max()), 1e-9)
        site = Site(0, 0, "distractor", window, light, rng.uniform(0.2, 0.4), rng.uniform(0.6, 1.5))
        found.append((tree, _fire(rng, [site], 0, rng.uniform(0, config.n_frames / config.fs), config)))
    return found


def _synapse(rng: np.random.Generator, anatomy: Anatomy, spine: int, config: SynapseConfig) -> Site:
    """Make the site of a spine: its head, and a little of the shaft beneath it."""
    y, x, radius = anatomy.spines[spine]
    path, _ = anatomy.home[spine]
    spread = _log_uniform(rng, config.spread_um) / config.pixel_um
    window = _around(y, x, 3 * spread + 2 * radius + 4, anatomy.shaft.shape[1:])
    rows, columns = np.ogrid[window]
    reach = np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / (radius + spread) ** 2)
    head = np.zeros(anatomy.shaft.shape[1:], np.float32)
    for where, part in (anatomy.heads[spine], anatomy.necks[spine]):
        head[where] = np.maximum(head[where], part)
    shaft = anatomy.shaft[path][window]
    light = head[window] / (2 * radius) + _log_uniform(rng, LEAK) * shaft / max(float(shaft.max()), 1.0)
    kinetics = _log_uniform(rng, RISE_S["synapse"]), _log_uniform(rng, config.decay_s)
    return Site(float(y), float(x), "synapse", window, _normalised(light * reach, config), *kinetics)


def _spot(rng: np.random.Generator, anatomy: Anatomy, spot: tuple[int, int], config: SynapseConfig) -> Site:
    """Make a site on a shaft, at a point of a path: light along it."""
    path, at = spot
    y, x = anatomy.paths[path].points[at]
    length = _log_uniform(rng, config.length_um) / config.pixel_um
    window = _around(y, x, 3 * length + 6, anatomy.shaft.shape[1:])
    along = anatomy.along[path][window] - at
    light = anatomy.shaft[path][window] * np.exp(-0.5 * (along / length) ** 2)
    kinetics = _log_uniform(rng, RISE_S["dendrite"]), _log_uniform(rng, config.dendrite_decay_s)
    return Site(float(y), float(x), "dendrite", window, DENDRITE_SIZE * _normalised(light, config), *kinetics)


def _fire(rng: np.random.Generator, sites: list[Site], number: int, onset_s: float, config: SynapseConfig) -> Light:
    """Let a site fire once; events of a site differ little in time and much in size."""
    site = sites[number]
    rise, decay = site.rise_s, site.decay_s * np.exp(0.1 * rng.standard_normal())
    indicator = Indicator("event", rise, max(decay, 1.2 * rise), 1.0, "configuration")
    t0 = int(onset_s * config.fs)
    frames = np.arange(t0, min(config.n_frames, t0 + int(np.ceil((2 * rise + 6 * decay) * config.fs)) + 1))
    course = indicator.response((frames + 1) / config.fs - onset_s).astype(np.float32)  # light at the end of each frame
    size = config.amplitude * np.exp(config.amplitude_log_sd * rng.standard_normal()) * config.photons
    image = np.float32(size) * site.light
    return Light(number, t0, course, site.window, image, float(image.max()))


def _partner(
    rng: np.random.Generator, sites: list[Site], points: np.ndarray, event: Light, onset_s: float, config: SynapseConfig
) -> Light:
    """Draw an event that touches another one: a neighbour at about the same time, or the same site once more."""
    site = sites[event.site]
    distance = np.hypot(*(points - (site.y, site.x)).T)
    distance[event.site] = np.inf
    near = int(np.argmin(distance))
    if distance[near] < NEIGHBOUR_UM / config.pixel_um and rng.random() < 0.5:
        return _fire(rng, sites, near, max(onset_s + rng.uniform(-0.3, 0.3), 0), config)
    return _fire(rng, sites, event.site, onset_s + max(rng.uniform(0.6, 1.2) * site.decay_s, 0.3), config)


def _normalised(light: np.ndarray, config: SynapseConfig) -> np.ndarray:
    """Blur what glows and scale its peak to 1."""
    light = _blur(light, config)
    light[light < NEGLIGIBLE * light.max()] = 0
    return np.asarray(light / max(float(light.max()), 1e-9), dtype=np.float32)


def _blur(image: np.ndarray, config: SynapseConfig) -> np.ndarray:
    """See through the microscope."""
    return np.asarray(ndimage.gaussian_filter(image, config.psf_um / config.pixel_um, mode="constant"))


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _around(y: float, x: float, half: float, canvas: tuple[int, ...]) -> tuple[slice, slice]:
    """Cut a square out of the canvas."""
    return (
        slice(max(int(y - half), 0), min(int(y + half) + 2, canvas[0])),
        slice(max(int(x - half), 0), min(int(x + half) + 2, canvas[1])),
    )
