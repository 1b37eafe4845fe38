"""Simulated recordings of all sorts: what the networks of the package learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from calcium_helpers.containers import Events, Movie
from calcium_helpers.io.msct import Stream, events_of
from calcium_helpers.metrics.volumes import match_events
from calcium_helpers.models.msct.trained import find_transients, load_transient_net
from calcium_helpers.simulate.synapse_config import SynapseConfig
from calcium_helpers.simulate.synapses import synaptic_events
from calcium_helpers.transients.prepare import normalise

RANGES: dict[str, tuple[float, float]] = {
    "fs": (7.0, 20.0), "pixel_um": (0.1, 0.25), "psf_um": (0.12, 0.3), "photons": (12.0, 80.0), "amplitude": (0.15, 0.6),
    "amplitude_log_sd": (0.4, 0.7), "n_events": (8.0, 50.0), "on_dendrite": (0.15, 0.5), "touching": (0.1, 0.5),
    "spines_per_um": (0.3, 1.0), "distractors_per_min": (1.0, 8.0), "bleaching": (0.03, 0.4), "drift_px": (0.1, 1.0),
    "read_noise": (1.0, 4.0), "gain": (1.0, 10.0),
}  # fmt: skip
"""From where the settings of a simulation are drawn, log-uniformly."""
GLOW = (0.1, 0.5)  # light from out of focus, in units of the dendrites'
CALIBRE = (0.8, 1.5)  # factor of the dendrites' diameter
DENDRITES = (1, 4)


def draw_config(seed: int | Sequence[int]) -> SynapseConfig:
    """Draw the settings of a simulation.

    Parameters
    ----------
    seed : int or sequence of int

    Returns
    -------
    SynapseConfig
        With 300 frames of 128 x 128.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, Any] = {name: _log_uniform(rng, *ends) for name, ends in RANGES.items()}
    low, high = np.array(SynapseConfig().calibre_um) * _log_uniform(rng, *CALIBRE)
    return SynapseConfig(
        **drawn, glow_photons=drawn["photons"] * _log_uniform(rng, *GLOW), calibre_um=(float(low), float(high)),
        n_dendrites=int(rng.integers(DENDRITES[0], DENDRITES[1] + 1)),
    )  # fmt: skip


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_recording(seed: int | Sequence[int]) -> tuple[Movie, np.ndarray, Events]:
    """Simulate a recording of settings that are drawn, too.

    Parameters
    ----------
    seed : int or sequence of int

    Returns
    -------
    tuple
        The movie, normalised; its label (T, H, W); its events.
    """
    numbers = [seed] if isinstance(seed, int) else list(seed)
    simulation = synaptic_events(draw_config([*numbers, 1]), seed=int(np.random.SeedSequence(numbers).generate_state(1)[0]))
    return normalise(simulation.movie), simulation.label, simulation.events


def draw_stream(seed: int | Sequence[int]) -> Stream:
    """Simulate a recording with all labels, as `draw_recording` does, to train on."""
    movie, label, _ = draw_recording(seed)
    return Stream(str(seed), np.asarray(movie.data), label, events_of(label))


def measure_msct_unet(*, movies: int, seed: int) -> float:
    """Score the U-Net of the package on fresh recordings: what ``verify`` compares.

    Parameters
    ----------
    movies : int
        How many.
    seed : int

    Returns
    -------
    float
        Mean F1 of the events that are called.
    """
    return _mean_f1("msct-unet", movies, seed)


def measure_msct_stardist(*, movies: int, seed: int) -> float:
    """Score the StarDist network of the package, as `measure_msct_unet` does."""
    return _mean_f1("msct-stardist", movies, seed)


def _mean_f1(kind: str, n_movies: int, seed: int) -> float:
    network = load_transient_net(kind)
    recordings = (draw_recording([seed, number]) for number in range(n_movies))
    return float(np.mean([match_events(find_transients(movie, network), true).f1 for movie, _, true in recordings]))
