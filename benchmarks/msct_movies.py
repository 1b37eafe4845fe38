"""Movies of synaptic transients for ``msct.py``: to train on, to validate on, and to be scored in two columns.

"out of range" was fixed before any training that is scored, and is never changed: faster, finer pixels, a blurred and dimmer
camera, thicker dendrites, smaller heads, shorter events, more of them on the shaft, more touching, more whole-dendrite
transients, stronger bleaching and drift.
"""

from __future__ import annotations

import functools

import numpy as np

from calcium_helpers.containers import Events, Movie
from calcium_helpers.io.msct import Stream, events_of
from calcium_helpers.simulate import SynapseConfig, synaptic_events
from calcium_helpers.transients import normalise

SAME = "same simulator"
COLUMNS = {
    SAME: SynapseConfig(),
    "out of range": SynapseConfig(
        fs=20.0, pixel_um=0.11, n_dendrites=4, calibre_um=(1.2, 2.4), head_um=(0.3, 0.7), psf_um=0.25, photons=15.0,
        glow_photons=10.0, n_events=40.0, on_dendrite=0.5, touching=0.5, amplitude=0.35, amplitude_log_sd=0.7,
        decay_s=(0.08, 0.5), dendrite_decay_s=(0.3, 0.8), distractors_per_min=8.0, bleaching=0.3, drift_px=1.0, read_noise=3.0,
    ),
}  # fmt: skip
N_TRAIN, N_VALID, N_TEST = 40, 6, 8  # about 1000 events to train on, half of what is published of such recordings
TEST_SEED = 90_000  # movies that are scored; those of a training begin at 1000 times one more than its seed


@functools.lru_cache(maxsize=64)
def make(column: str, seed: int) -> tuple[Movie, np.ndarray, Events]:
    """Simulate a movie, normalised, with its label and events."""
    simulation = synaptic_events(COLUMNS[column], seed=seed)
    return normalise(simulation.movie), simulation.label, simulation.events


def streams(seed: int) -> tuple[list[Stream], list[Stream]]:
    """Fully labelled movies to train on and to validate on."""
    first = 1000 * (seed + 1)
    found = []
    for number in range(first, first + N_TRAIN + N_VALID):
        movie, label, _ = make(SAME, number)
        found.append(Stream(str(number), np.asarray(movie.data), label, events_of(label)))
    return found[:N_TRAIN], found[N_TRAIN:]


def scored(column: str) -> list[tuple[Movie, np.ndarray, Events]]:
    """Movies of a column that are scored."""
    return [make(column, TEST_SEED + number) for number in range(N_TEST)]
