"""Known answers of `stats.correlation`, `stats.clusters`, `stats.synchrony` and `stats.distance`: cells alone and together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from sklearn.metrics import adjusted_rand_score

from calcium_helpers.containers import Events, Footprints, Traces
from calcium_helpers.stats import (
    Correlation,
    cluster_cells,
    correlate,
    correlate_events,
    correlation_by_distance,
    find_synchrony,
)

Case = tuple[float, Callable[[int], np.ndarray]]

FS = 10.0
DURATION_S = 200.0
N_FRAMES = 2000
N_CELLS = 40
ALPHA = 0.05
SIDE_PX = 100


def draw_calcium(rng: np.random.Generator, n: int, *, rate_hz: float = 0.2, decay_s: float = 0.7) -> np.ndarray:
    """Calcium of Poisson spikes, standard deviation 1."""
    calcium = lfilter([1], [1, -np.exp(-1 / (decay_s * FS))], rng.poisson(rate_hz / FS, (n, N_FRAMES)), axis=1)
    return calcium / np.maximum(calcium.std(axis=1, keepdims=True), 1e-9)


def draw_unlike(rng: np.random.Generator, n: int = N_CELLS, *, drift: float = 0.0) -> np.ndarray:
    """Independent cells: 0.005 to 1 spikes/s, decay 0.1 to 5 s, each with noise, gain, offset and slow drift of its own."""
    rate, decay = np.exp(rng.uniform(np.log([[0.005], [0.1]]), np.log([[1], [5]]), (2, n)))
    values = np.stack([draw_calcium(rng, 1, rate_hz=r, decay_s=d)[0] for r, d in zip(rate, decay, strict=True)])
    walk = gaussian_filter1d(np.cumsum(rng.standard_normal((n, N_FRAMES)), axis=1) / np.sqrt(N_FRAMES), 30 * FS, axis=1)
    values += drift * (walk + rng.uniform(0, 2, (n, 1)) * np.exp(-3 * np.arange(N_FRAMES) / N_FRAMES))
    values += rng.uniform(0.1, 1, (n, 1)) * rng.standard_normal((n, N_FRAMES))
    return values * rng.uniform(0.1, 10, (n, 1)) + rng.uniform(-5, 5, (n, 1))


def draw_onsets(rng: np.random.Generator, n: int = N_CELLS, *, rate_hz: tuple[float, float] = (0.02, 0.5)) -> list[np.ndarray]:
    """Onsets of independent cells, Poisson, those of every third in pairs a second or so apart."""
    rates = np.exp(rng.uniform(*np.log(rate_hz), n))
    onsets = [rng.uniform(0, DURATION_S, rng.poisson(rate * DURATION_S)) for rate in rates]
    for cell in range(0, n, 3):
        again = onsets[cell] + rng.exponential(1, len(onsets[cell]))
        onsets[cell] = np.append(onsets[cell], again[again < DURATION_S])
    return onsets


def as_events(onsets: list[np.ndarray]) -> Events:
    """Events of one list of onsets a cell."""
    onset = np.concatenate(onsets)
    roi = np.repeat(np.arange(len(onsets)), [len(own) for own in onsets])
    return Events(pd.DataFrame({"roi": roi, "onset_s": onset, "peak_s": onset, "offset_s": onset, "amplitude": 1.0}))


def correlate_onsets(onsets: list[np.ndarray], seed: int) -> Correlation:
    return correlate_events(as_events(onsets), ids=np.arange(len(onsets)), duration_s=DURATION_S, n_shuffles=100, seed=seed)


def any_pair(seed: int, *, drift: float = 0.0, max_lag_s: float = 0.0) -> np.ndarray:
    """Say whether any pair of independent cells is significant: all discoveries are then false."""
    values = draw_unlike(np.random.default_rng(seed), N_CELLS if not max_lag_s else 15, drift=drift)
    found = correlate(Traces(values, FS, "dff"), max_lag_s=max_lag_s, n_shuffles=100, seed=seed)
    return np.array([found.significant.any()])


def pairs_below(seed: int, *, drift: float = 0.0) -> np.ndarray:
    """Say which pairs of independent cells have p < 0.05."""
    found = correlate(Traces(draw_unlike(np.random.default_rng(seed), drift=drift), FS, "dff"), n_shuffles=100, seed=seed)
    return found.p[np.triu_indices(N_CELLS, 1)] < ALPHA


def any_pair_of_events(seed: int) -> np.ndarray:
    return np.array([correlate_onsets(draw_onsets(np.random.default_rng(seed)), seed).significant.any()])


def any_synchrony(seed: int, *, n: int = N_CELLS, rate_hz: tuple[float, float] = (0.02, 0.5)) -> np.ndarray:
    events = as_events(draw_onsets(np.random.default_rng(seed), n, rate_hz=rate_hz))
    found = find_synchrony(events, ids=np.arange(n), duration_s=DURATION_S, n_shuffles=199, alpha=ALPHA, seed=seed)
    return np.array([len(found.table) > 0])


def any_split(seed: int, *, kind: str) -> np.ndarray:
    """Say whether cells without groups, independent or along a continuum of one dimension, are split."""
    rng = np.random.default_rng(seed)
    shared, own = draw_calcium(rng, 2), 0.5 * draw_calcium(rng, N_CELLS)
    part = rng.uniform(0, 1, (N_CELLS, 1))
    values = {
        "independent": 0 * part * shared[:1],
        "graded": 1.5 * part * shared[:1],
        "skewed": np.exp(0.8 * rng.standard_normal((N_CELLS, 1)) - 0.5) * shared[:1],
        "mixed": part * shared[:1] + (1 - part) * shared[1:],
        "delayed": np.stack([np.roll(shared[0], round(30 * delay)) for delay in part[:, 0]]),
    }[kind]
    traces = Traces(values + own + 0.7 * rng.standard_normal(own.shape), FS, "dff")
    return np.array([cluster_cells(traces, max_clusters=4 if kind == "delayed" else 3, seed=seed).n_clusters > 1])


def found_pairs(seed: int, *, events: bool) -> np.ndarray:
    """Say which of four planted pairs among independent cells are significant."""
    rng = np.random.default_rng(seed)
    pairs = np.arange(8).reshape(4, 2)
    if events:
        onsets = draw_onsets(rng, rate_hz=(0.02, 0.1))
        for pair in pairs:
            together = rng.uniform(1, DURATION_S - 1, 15)
            for cell in pair:
                onsets[cell] = np.append(onsets[cell], together + 0.1 * rng.standard_normal(15).clip(-3, 3))
        found = correlate_onsets(onsets, seed)
    else:
        values = draw_unlike(rng)
        for pair, shared in zip(pairs, draw_calcium(rng, len(pairs)), strict=True):
            values[pair] += values[pair].std(axis=1, keepdims=True) * shared
        found = correlate(Traces(values, FS, "dff"), n_shuffles=100, seed=seed)
    return found.significant[pairs[:, 0], pairs[:, 1]]


def false_share(seed: int) -> np.ndarray:
    """Say of each significant pair, among groups of four and independent cells, whether it is false."""
    rng = np.random.default_rng(seed)
    values = draw_unlike(rng)
    group = np.append(np.repeat(np.arange(4), 4), -1 - np.arange(N_CELLS - 16))
    values[:16] += values[:16].std(axis=1, keepdims=True) * draw_calcium(rng, 4)[group[:16]]
    found = correlate(Traces(values, FS, "dff"), n_shuffles=100, seed=seed)
    i, j = np.nonzero(np.triu(found.significant))
    return group[i] != group[j]


def found_lag(seed: int) -> np.ndarray:
    """Say whether the delay of one cell behind another is found to within a frame."""
    rng = np.random.default_rng(seed)
    shared = draw_calcium(rng, 1)[0]
    delay = int(rng.integers(-10, 11))
    values = np.stack([shared, np.roll(shared, delay), *draw_calcium(rng, 8)]) + 0.5 * rng.standard_normal((10, N_FRAMES))
    found = correlate(Traces(values, FS, "dff"), max_lag_s=1.2, n_shuffles=20, seed=seed)
    return np.array([abs(found.lag_s[0, 1] - delay / FS) < 1.5 / FS])


def found_groups(seed: int) -> np.ndarray:
    """Say whether three planted groups, and the cells of none, are recovered with an adjusted Rand index above 0.9."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), 12)
    values = np.vstack([draw_calcium(rng, 3), np.zeros((1, N_FRAMES))])[truth] + 0.5 * draw_calcium(rng, len(truth))
    values += rng.uniform(0.5, 2, (len(truth), 1)) * rng.standard_normal(values.shape)
    return np.array(
        [adjusted_rand_score(truth, cluster_cells(Traces(values, FS, "dff"), max_clusters=4, seed=seed).labels) > 0.9]
    )


def found_synchrony(seed: int) -> np.ndarray:
    """Say which of three planted events of a third of the cells are found."""
    rng = np.random.default_rng(seed)
    onsets = draw_onsets(rng, rate_hz=(0.02, 0.1))
    times = np.array([30.0, 90.0, 160.0]) + rng.uniform(-10, 10, 3)
    for time in times:
        for cell in rng.choice(N_CELLS, N_CELLS // 3, replace=False):
            onsets[cell] = np.append(onsets[cell], time + 0.1 * rng.standard_normal())
    found = find_synchrony(as_events(onsets), ids=np.arange(N_CELLS), duration_s=DURATION_S, n_shuffles=199, seed=seed)
    peaks = found.table["peak_s"].to_numpy()
    return np.array([(np.abs(peaks - time) < 0.5).any() for time in times])


def correlate_field(rng: np.random.Generator, n: int, *, cells_differ: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw true correlations (N, N) of cells in a field, which fall with distance, and their places (N, 2) in px."""
    yx = rng.integers(0, SIDE_PX, (n, 2))
    distance = np.linalg.norm(yx[:, None] - yx[None], axis=-1)
    loading = rng.uniform(0.2, 1, n) if cells_differ else np.full(n, 0.6)
    return np.outer(loading, loading) * np.exp(-distance / 40), yx


def distance_covered(seed: int, *, cells_differ: bool) -> np.ndarray:
    """Say which intervals hold the mean correlation of all cells like these at the same distances."""
    rng = np.random.default_rng(seed)
    r, yx = correlate_field(rng, 60, cells_differ=cells_differ)
    noise = np.triu(0.1 * rng.standard_normal(r.shape), 1)
    blank = np.zeros(r.shape)
    nothing = Correlation(r + noise + noise.T, blank, blank, blank, blank, blank, blank > 0, np.arange(60), "given", ALPHA)
    images = np.zeros((60, SIDE_PX, SIDE_PX), dtype=bool)
    images[np.arange(60), yx[:, 0], yx[:, 1]] = True
    table = correlation_by_distance(nothing, Footprints.from_images(images), n_bins=6)
    mean_square = 0.36  # of loadings, of two different cells: the square of their mean
    distance = np.linalg.norm(yx[:, None] - yx[None], axis=-1)
    bins = np.minimum((distance / distance.max() * 6).astype(int), 5) + 10 * np.eye(60, dtype=int)
    truth = np.array([mean_square * np.exp(-distance[bins == k] / 40).mean() for k in np.unique(bins[bins < 6])])
    return (table["low"].to_numpy() <= truth) & (truth <= table["high"].to_numpy())


INTERVALS: dict[str, Case] = {
    "correlation by distance, cells alike": (0.95, partial(distance_covered, cells_differ=False)),
    "correlation by distance, cells differ": (0.95, partial(distance_covered, cells_differ=True)),
}

FALSE_POSITIVES: dict[str, Case] = {
    "any correlated pair, independent traces": (ALPHA, any_pair),
    "any correlated pair, slow drift": (ALPHA, partial(any_pair, drift=1.0)),
    "any correlated pair, lagged": (ALPHA, partial(any_pair, max_lag_s=1.0)),
    "pairs with p < 0.05, independent traces": (ALPHA, pairs_below),
    "false among the correlated pairs": (ALPHA, false_share),
    "any correlated pair, events": (ALPHA, any_pair_of_events),
    "any synchronous event": (ALPHA, any_synchrony),
    "any synchronous event, many active cells": (ALPHA, partial(any_synchrony, n=300, rate_hz=(0.3, 1.0))),
    **{
        f"clusters of cells, {kind}": (ALPHA, partial(any_split, kind=kind))
        for kind in ("independent", "graded", "skewed", "mixed")
    },
    "clusters of cells, one after the other": (ALPHA, partial(any_split, kind="delayed")),
}

RECOVERED: dict[str, Case] = {
    "correlated pairs of traces": (0.9, partial(found_pairs, events=False)),
    "correlated pairs of events": (0.9, partial(found_pairs, events=True)),
    "lag to a frame": (0.9, found_lag),
    "groups of cells, adjusted Rand > 0.9": (0.9, found_groups),
    "synchronous events": (0.9, found_synchrony),
}
