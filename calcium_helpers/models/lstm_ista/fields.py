"""What the network is trained on: simulated fields of all kinds, prepared as a recording is, and tiles cut from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from calcium_helpers.containers import Movie
from calcium_helpers.indicators import INDICATORS
from calcium_helpers.models.cnmf.prepare import Prepared, prepare
from calcium_helpers.models.lstm_ista.profiles import TrainConfig
from calcium_helpers.motion import apply_shifts
from calcium_helpers.results import Simulation
from calcium_helpers.simulate import TwoPhotonConfig, two_photon

SIDE_PX = 112  # of a simulated field, before its border is cut
N_BINS = 150
SEEN, UNSEEN = 6.0, 3.0  # peak SNR of a cell that must be found, and of one that cannot be


class Field(NamedTuple):
    """One whitened movie with its truth.

    ``movie`` (B, H, W) float16 in units of noise, resting at 0; ``profiles`` (K, H, W) float16, what a cell adds to it at a
    course of 1; ``masks`` (K, H, W) bool; ``courses`` (K, B) its calcium, dF/F, from rest; ``calcium`` (K, T) the same at
    the full rate.
    """

    movie: np.ndarray
    profiles: np.ndarray
    masks: np.ndarray
    courses: np.ndarray
    calcium: np.ndarray


class Batch(NamedTuple):
    """Tiles and their truth: K cells each, those that a tile lacks with ``weight`` 0.

    ``movie`` and ``clean`` (B, T, H, W); ``active`` (B, H, W), pixels of cells that are seen; ``masks`` (B, K, H, W);
    ``weight`` (B, K): 1 for a cell that is seen, 0 for a silent one, between in between, and below 0 for one that the edge
    of the tile cuts.
    """

    movie: torch.Tensor
    clean: torch.Tensor
    active: torch.Tensor
    masks: torch.Tensor
    weight: torch.Tensor


def draw_field(seed: int | Sequence[int]) -> Field:
    """Simulate a field with kinetics, density, brightness, neuropil, optics and motion drawn at random.

    Kinetics are those of the indicator table, varied; cells have radii of 4.6 to 9 px, lie from crowded to lonely, and are
    registered with an error of up to half a pixel.

    Parameters
    ----------
    seed : int or sequence of int

    Returns
    -------
    Field
    """
    rng = np.random.default_rng(seed)
    decay_bins = _between(rng, 1.5, 5.0)  # bins a decay: what users call a transient's duration need not be its decay
    config = _draw_config(rng, decay_bins)
    simulation = two_photon(config, seed=int(rng.integers(2**31)))
    movie = _register(rng, simulation)
    y0, y1, x0, x1 = simulation.shifts.valid
    inside = (slice(y0, y1), slice(x0, x1))
    movie = movie.replace(data=movie.frames()[(slice(None), *inside)])
    per_bin = config.n_frames // N_BINS
    prepared = prepare(movie, decay_s=2 * per_bin / config.fs, highpass_s=20.0)
    diameter = sum(config.radius_px) * _between(rng, 0.75, 1.3)
    rest = whiten_from_rest(prepared, diameter)
    return _with_truth(simulation, rest, prepared, inside)


def whiten_from_rest(prepared: Prepared, diameter_px: float) -> np.ndarray:
    """Whiten (see `Prepared.whiten`) and let every pixel's median be 0, which is where a cell at rest is."""
    whitened = prepared.whiten(diameter_px)
    for row in range(whitened.shape[1]):  # by rows: the sorted copy stays small
        whitened[:, row] -= np.median(whitened[:, row], axis=0)
    return whitened


def _draw_config(rng: np.random.Generator, decay_bins: float) -> TwoPhotonConfig:
    """Draw a recording."""
    indicator = list(INDICATORS.values())[rng.integers(len(INDICATORS))]
    decay_s = min(indicator.decay_s * _between(rng, 0.7, 1.5), 1.2)
    per_bin = int(rng.integers(2, 9))
    fs = per_bin * decay_bins / decay_s
    low = rng.uniform(4.6, 7.0)
    radius = (low, low + rng.uniform(0, min(3.5, 9.0 - low)))
    distance = sum(radius) * _between(rng, 0.45, 1.3)
    most = 0.45 * (SIDE_PX - 2 * radius[1]) ** 2 / distance**2  # denser than this, random places run out
    seconds = N_BINS * per_bin / fs
    low_rate = _between(rng, 1.5, 8.0) / seconds
    return TwoPhotonConfig(
        n_frames=N_BINS * per_bin, height=SIDE_PX, width=SIDE_PX, fs=fs, n_cells=int(most * rng.uniform(0.3, 1.0)),
        filled=float(rng.choice([0.0, 0.0, 0.3, 1.0])), min_distance_px=distance, radius_px=radius,
        baseline_photons=_between(rng, 0.5, 8.0), dff_per_spike=indicator.dff_per_spike * _between(rng, 0.6, 2.0),
        rise_s=min(indicator.rise_s, decay_s / 2), decay_s=decay_s, rate_hz=(low_rate, low_rate * _between(rng, 2, 15)),
        modulation=rng.uniform(0.8, 2.2), tissue_photons=_between(rng, 0.6, 4.0), neuropil=_between(rng, 0.03, 0.19),
        bleaching=rng.uniform(0, 0.12), motion_px=4.0, field_px=1.0, read_noise=rng.uniform(0.5, 1.4), gain=20.0,
    )  # fmt: skip


def _register(rng: np.random.Generator, simulation: Simulation) -> Movie:
    """Undo the motion, but for an error that changes from frame to frame and drifts."""
    yx = simulation.shifts.yx
    error = rng.normal(size=(len(yx), 2))
    slow = ndimage.gaussian_filter1d(rng.normal(size=(len(yx), 2)), 40, axis=0) * np.sqrt(40 * 3.5)
    error = error * rng.uniform(0, 0.25) + slow * rng.uniform(0, 0.25)
    shifts = simulation.shifts.replace(yx=(yx + error[:, None, None]).astype(np.float32))
    return apply_shifts(simulation.movie, shifts)


def _with_truth(simulation: Simulation, movie: np.ndarray, prepared: Prepared, inside: tuple[slice, slice]) -> Field:
    """Put movie and truth together; how bright each cell is comes from a fit of all courses to the movie."""
    images = simulation.footprints.weights.toarray().reshape(-1, *simulation.footprints.shape)
    images = images[(slice(None), *inside)] / prepared.noise
    n_bins, per_bin = len(movie), prepared.frames_per_bin
    calcium = simulation.calcium.values
    courses = calcium[:, : n_bins * per_bin].reshape(len(calcium), n_bins, per_bin).mean(axis=2)
    median = np.median(courses, axis=1, keepdims=True)
    courses, calcium = courses - median, calcium - median
    flat, centred = images.reshape(len(images), -1), courses - courses.mean(axis=1, keepdims=True)
    gram = (flat @ flat.T) * (centred @ centred.T)
    projection = np.einsum("kp,bp,kb->k", flat, movie.reshape(n_bins, -1), centred, optimize=True)
    brightness = np.linalg.solve(gram + 1e-3 * np.diag(np.diag(gram) + 1e-6), projection)
    profiles = images * np.maximum(brightness, 0)[:, None, None]
    return Field(
        movie.astype(np.float16), profiles.astype(np.float16), images > 0, courses.astype(np.float32),
        calcium.astype(np.float32),
    )  # fmt: skip


def tile_batches(fields: Sequence[Field], config: TrainConfig | None = None) -> Callable[[np.random.Generator], Batch]:
    """Make a function that draws batches of tiles, mirrored, turned and with noise added.

    Parameters
    ----------
    fields : sequence of Field
    config : TrainConfig, optional
        Size of a tile and of a batch.

    Returns
    -------
    callable
        ``draw(rng)`` gives a `Batch`.
    """
    config = config or TrainConfig()

    def draw(rng: np.random.Generator) -> Batch:
        tiles = [_cut(rng, fields[int(rng.integers(len(fields)))], config) for _ in range(config.batch)]
        most = max(1, max(len(tile["weight"]) for tile in tiles))
        padded = [
            {
                name: np.pad(value, [(0, most - len(value))] + [(0, 0)] * (value.ndim - 1))
                if name in ("masks", "weight")
                else value
                for name, value in tile.items()
            }
            for tile in tiles
        ]
        stacked = {name: np.stack([tile[name] for tile in padded]) for name in padded[0]}
        return Batch(**{name: torch.from_numpy(value) for name, value in stacked.items()})

    return draw


def _cut(rng: np.random.Generator, field: Field, config: TrainConfig) -> dict[str, np.ndarray]:
    """Cut one tile, vary it, and say which of its cells can be seen in it."""
    t, y, x = (int(rng.integers(max(n - m, 0) + 1)) for n, m in zip(
        field.movie.shape, (config.n_bins, config.tile_px, config.tile_px), strict=True))  # fmt: skip
    at = (slice(y, y + config.tile_px), slice(x, x + config.tile_px))
    time = slice(t, t + config.n_bins)
    present = field.masks[(slice(None), *at)].any(axis=(1, 2))
    movie = _fit_in(field.movie[(time, *at)].astype(np.float32), config)
    profiles = _fit_in(field.profiles[(present, *at)].astype(np.float32), config)
    masks = _fit_in(field.masks[(present, *at)], config)
    turn, mirror = int(rng.integers(4)), bool(rng.integers(2))
    movie, profiles, masks = (_turn(array, turn, mirror) for array in (movie, profiles, masks))
    courses = np.maximum(field.courses[present, time], 0)
    noise = max(rng.uniform(-1.0, 1.2), 0.0)
    scale = np.float32(1 / np.hypot(1, noise))
    movie = (movie + noise * rng.standard_normal(movie.shape, dtype=np.float32)) * scale
    profiles *= scale
    whole = np.sqrt((field.profiles[present].astype(np.float32) ** 2).sum(axis=(1, 2))) * scale
    share = np.sqrt((profiles**2).sum(axis=(1, 2))) / np.maximum(whole, 1e-6)
    snr = whole * share * (courses.max(axis=1, initial=0) - np.median(courses, axis=1) if courses.size else 0)
    seen = np.clip((snr - UNSEEN) / (SEEN - UNSEEN), 0, 1).astype(np.float32)
    return {
        "movie": movie,
        "clean": np.einsum("kt,khw->thw", courses, profiles, optimize=True),
        "active": (masks & (seen > 0.5)[:, None, None]).any(axis=0).astype(np.float32),
        "masks": masks.astype(np.float32),
        "weight": np.where(share > 0.5, seen, -seen).astype(np.float32),
    }


def _fit_in(array: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Fill up to the side of a tile where the field is smaller."""
    lack = [max(config.tile_px - n, 0) for n in array.shape[1:]]
    return np.pad(array, [(0, 0), (0, lack[0]), (0, lack[1])]) if any(lack) else array


def _turn(array: np.ndarray, quarter_turns: int, mirror: bool) -> np.ndarray:
    turned = np.rot90(array, quarter_turns, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirror else turned)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number, each octave as likely as the next."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
