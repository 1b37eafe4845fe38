"""Comparisons of conditions and responses to stimuli whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from calcium_helpers.containers import Traces
from calcium_helpers.stats.compare import compare
from calcium_helpers.stats.stimulus import align_to_stimuli

Case = tuple[float, Callable[[int], np.ndarray]]

FS_HZ, N_FRAMES, N_CELLS, N_RESPONDING, N_TRIALS = 10.0, 3000, 40, 10, 24
DECAY_S, NOISE, DIFFERENCE = 1.0, 0.1, 1.5
KERNEL = np.exp(-np.arange(40) / (DECAY_S * FS_HZ))
TRUE_STEP = 0.8 * KERNEL.mean()
"""Mean dF/F over the 4 s from a planted response of 0.8 on; before it there is none."""


def make_table(values: np.ndarray) -> pd.DataFrame:
    """Write values as the tidy table of one measure."""
    return pd.DataFrame({"roi": np.arange(len(values)), "measure": "rate", "unit": "1/min", "value": values})


def draw_groups(seed: int, sizes: tuple[int, int], *, paired: bool, skewed: bool, difference: float) -> pd.DataFrame:
    """Compare two samples whose means differ by ``difference``."""
    rng = np.random.default_rng(seed)

    def draw(n: int) -> np.ndarray:
        return rng.lognormal(0.5, 0.8, n) if skewed else rng.normal(3, 1, n)

    a, b = draw(sizes[0]), draw(sizes[1])
    if paired:
        b = a + (draw(sizes[0]) - draw(sizes[0])) / 2
    return compare(make_table(a), make_table(b + difference), paired=paired)


def covers(seed: int, sizes: tuple[int, int], **kind: bool) -> np.ndarray:
    """Whether the interval of the difference holds it."""
    table = draw_groups(seed, sizes, difference=DIFFERENCE, **kind)
    return ((table["low"] <= DIFFERENCE) & (table["high"] >= DIFFERENCE)).to_numpy()


def differs(seed: int, sizes: tuple[int, int], *, difference: float = 0.0, **kind: bool) -> np.ndarray:
    """Whether p is below 0.05; several trials of a seed."""
    return np.array([draw_groups(1000 * seed + i, sizes, difference=difference, **kind)["p"][0] < 0.05 for i in range(10)])


def make_recording(seed: int, *, train: str, drift: bool = False, n_responding: int = 0) -> tuple[Traces, pd.DataFrame]:
    """Cells with spontaneous events that ignore the stimulus, but for the first ones."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(N_FRAMES) / FS_HZ
    onsets_s = 5 + 12 * np.arange(N_TRIALS) if train == "regular" else 5 + np.cumsum(6 + rng.exponential(5.5, N_TRIALS))
    onsets_s = onsets_s[onsets_s < 295]
    spikes = rng.poisson(0.05 / FS_HZ, (N_CELLS, N_FRAMES)) * 0.5 * rng.lognormal(0, 0.5, (N_CELLS, N_FRAMES))
    spikes[:n_responding, np.rint(onsets_s * FS_HZ).astype(int)] += 0.8 * rng.gamma(4, 1 / 4, (n_responding, len(onsets_s)))
    values = lfilter([1], [1, -np.exp(-1 / (DECAY_S * FS_HZ))], spikes, axis=1) + rng.normal(0, NOISE, spikes.shape)
    if drift:
        period_s, phase = rng.uniform(40, 300, (N_CELLS, 1)), rng.uniform(0, 2 * np.pi, (N_CELLS, 1))
        values += 0.3 * np.sin(2 * np.pi * times_s / period_s + phase) - 0.5 * times_s / times_s[-1]
    return Traces(values, FS_HZ, "dff"), pd.DataFrame({"onset_s": onsets_s})


def respond(seed: int, **kind: object) -> pd.DataFrame:
    """Return the table of responses."""
    return align_to_stimuli(*make_recording(seed, **kind), n_shuffles=400, seed=seed).responses


def response_covers(seed: int, **kind: object) -> np.ndarray:
    """Whether the interval of each responding cell's response holds the true one."""
    table = respond(seed, n_responding=N_RESPONDING, **kind)[:N_RESPONDING]
    return ((table["low"] <= TRUE_STEP) & (table["high"] >= TRUE_STEP)).to_numpy()


def responds(seed: int, **kind: object) -> np.ndarray:
    """Whether p of each cell is below 0.05."""
    return (respond(seed, **kind)["p"] < 0.05).to_numpy()


def any_response(seed: int, **kind: object) -> np.ndarray:
    """Whether any of the cells is said to respond; several recordings of a seed."""
    return np.array([respond(1000 * seed + i, **kind)["significant"].any() for i in range(4)])


def false_share(seed: int, **kind: object) -> np.ndarray:
    """Of the responses called significant where some cells respond, whether each is false."""
    table = respond(seed, n_responding=N_RESPONDING, **kind)
    return table.index[table["significant"]].to_numpy() >= N_RESPONDING


def found(seed: int, **kind: object) -> np.ndarray:
    """Whether each responding cell is found."""
    return respond(seed, n_responding=N_RESPONDING, **kind)["significant"].to_numpy()[:N_RESPONDING]


GROUPS = {
    "two groups of 40 and 60 cells": {"sizes": (40, 60), "paired": False, "skewed": True},
    "30 pairs of cells": {"sizes": (30, 30), "paired": True, "skewed": True},
    "two groups of 4 recordings": {"sizes": (4, 4), "paired": False, "skewed": False},
    "8 pairs of recordings": {"sizes": (8, 8), "paired": True, "skewed": False},
}
TRAINS = {
    "random train": {"train": "random"},
    "regular train": {"train": "regular"},
    "random train, slow drifts": {"train": "random", "drift": True},
    "regular train, slow drifts": {"train": "regular", "drift": True},
}

INTERVALS: dict[str, Case] = {
    **{f"difference, {name}": (0.95, partial(covers, **kind)) for name, kind in GROUPS.items()},
    **{f"response, {name}": (0.95, partial(response_covers, **kind)) for name, kind in TRAINS.items()},
}
FALSE_POSITIVES: dict[str, Case] = {
    **{f"comparison p < 0.05, {name}": (0.05, partial(differs, **kind)) for name, kind in GROUPS.items()},
    **{f"response p < 0.05, {name}": (0.05, partial(responds, **kind)) for name, kind in TRAINS.items()},
    **{f"any response at q < 0.05, {name}": (0.05, partial(any_response, **kind)) for name, kind in TRAINS.items()},
    **{f"false among responses, {name}": (0.05, partial(false_share, **kind)) for name, kind in TRAINS.items()},
}
RECOVERED: dict[str, Case] = {
    **{f"response, {name}": (0.9, partial(found, **kind)) for name, kind in TRAINS.items()},
    "difference, 30 pairs of cells": (0.9, partial(differs, difference=DIFFERENCE, sizes=(30, 30), paired=True, skewed=True)),
}
