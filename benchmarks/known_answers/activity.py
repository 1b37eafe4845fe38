"""Known answers of `stats.rates` and `stats.spectra`: intervals, chance findings, planted rhythms and coherence."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, lfilter

from calcium_helpers.containers import Events, Traces
from calcium_helpers.indicators import Indicator
from calcium_helpers.simulate.activity import calcium_from_spikes
from calcium_helpers.stats import estimate_coherence, find_rhythms, measure_cells, measure_groups

Case = tuple[float, Callable[[int], np.ndarray]]

DURATION_S = 600.0
N_CELLS = 12


def draw_poisson(rng: np.random.Generator, n: float) -> np.ndarray:
    """Onsets of a Poisson train with ``n`` events expected."""
    return np.sort(rng.uniform(0, DURATION_S, rng.poisson(n)))


def draw_regular(rng: np.random.Generator, n: float) -> np.ndarray:
    """Onsets of a train with gamma intervals of CV 1/2, in its stationary state."""
    onsets = np.cumsum(rng.gamma(4, DURATION_S / n / 4, int(4 * n) + 60)) - (10 + rng.uniform()) * DURATION_S / n
    return onsets[(onsets > 0) & (onsets < DURATION_S)]


def draw_bursts(rng: np.random.Generator, n: float, *, size: float = 3.0, gap_s: float = 2.0) -> np.ndarray:
    """Onsets of bursts of ``size`` events on average (geometric), ``gap_s`` apart."""
    starts = rng.uniform(-60, DURATION_S, rng.poisson((DURATION_S + 60) / DURATION_S * n / size))
    sizes = rng.geometric(1 / size, len(starts))
    gaps = rng.exponential(gap_s, sizes.sum())
    within = np.cumsum(gaps) - np.repeat(np.cumsum(gaps)[np.cumsum(sizes) - sizes], sizes) if len(sizes) else gaps
    onsets = np.sort(np.repeat(starts, sizes) + within)
    return onsets[(onsets > 0) & (onsets < DURATION_S)]


TRAINS: dict[str, Callable[[np.random.Generator, float], np.ndarray]] = {
    "Poisson": draw_poisson,
    "regular": draw_regular,
    "bursts": draw_bursts,
}


@cache
def true_variation(train: str, n: float) -> float:
    """CV of the intervals of one long train; bursts overlap now and then, so there is no formula."""
    parts = [TRAINS[train](np.random.default_rng([i, 1]), n) + i * DURATION_S for i in range(2000)]
    gaps = np.diff(np.concatenate(parts)) if train == "bursts" else np.concatenate([np.diff(part) for part in parts])
    return {"Poisson": 1.0, "regular": 0.5}.get(train, float(gaps.std() / gaps.mean()))


def holds(table: pd.DataFrame, truth: float, measure: str) -> np.ndarray:
    """Whether each interval that was given holds the truth."""
    given = table[table["measure"] == measure].dropna(subset=["low", "high"])
    return ((given["low"] <= truth) & (truth <= given["high"])).to_numpy()


def cover_cells(seed: int, *, train: str, n: float, measure: str, likeness: float = 0.0) -> np.ndarray:
    """Cells with ``n`` events expected; lognormal amplitudes whose logarithms correlate by ``likeness`` with the last."""
    rng = np.random.default_rng([seed, 3])
    trains = [TRAINS[train](rng, n) for _ in range(N_CELLS)]
    onset = np.concatenate(trains)
    innovation = rng.standard_normal(len(onset)) * np.sqrt(1 - likeness**2)
    innovation[:1] /= np.sqrt(1 - likeness**2)
    amplitude = np.exp(0.5 * lfilter([1], [1, -likeness], innovation))
    roi = np.repeat(np.arange(N_CELLS), [len(one) for one in trains])
    events = Events(pd.DataFrame({"roi": roi, "onset_s": onset, "peak_s": onset, "offset_s": onset, "amplitude": amplitude}))
    truth = {"rate": n / DURATION_S * 60, "interval": DURATION_S / n, "amplitude": np.exp(0.125)}
    value = truth[measure] if measure in truth else true_variation(train, n)
    return holds(measure_cells(events, ids=range(N_CELLS), duration_s=DURATION_S), value, measure)


def cover_groups(seed: int, *, n_cells: int) -> np.ndarray:
    """Cells whose rates spread as a lognormal of log-sd 0.7 over the tissue."""
    rates = np.exp(0.7 * np.random.default_rng([seed, 4]).standard_normal(n_cells))
    cells = pd.DataFrame({"roi": np.arange(n_cells), "measure": "rate", "unit": "1/min", "value": rates})
    return holds(measure_groups(cells), np.exp(0.245), "rate")


FS = 10.0
N_FRAMES = 3000


def make_calcium(rng: np.random.Generator, n_cells: int, course: np.ndarray | float = 1.0, rate_hz: float = 0.3) -> np.ndarray:
    """Poisson spikes of a rate that follows ``course``, through a calcium response, with noise."""
    spikes = rng.poisson(rate_hz / FS * np.broadcast_to(course, (n_cells, N_FRAMES)))
    indicator = Indicator("of the benchmark", 0.05, 0.6, 0.2, "made up")
    calcium = calcium_from_spikes(spikes, FS, indicator, dff_per_spike=np.full(n_cells, 0.2))
    return calcium + 0.05 * rng.standard_normal(calcium.shape)


def make_red(rng: np.random.Generator, n_cells: int, factor: float) -> np.ndarray:
    """Autoregressive noise."""
    return lfilter([1], [1, -factor], rng.standard_normal((n_cells, N_FRAMES + 1000)), axis=1)[:, 1000:]


def make_waxing(rng: np.random.Generator, n_cells: int) -> np.ndarray:
    """Calcium of rates that wax and wane over seconds, without a period."""
    slow = gaussian_filter1d(rng.standard_normal((n_cells, N_FRAMES)), 2 * FS, axis=1)
    return make_calcium(rng, n_cells, np.exp(slow / slow.std() - 0.5))


def make_spells(rng: np.random.Generator, n_cells: int) -> np.ndarray:
    """Calcium of cells that are active in spells of eight seconds, one a minute."""
    starts = rng.random((n_cells, N_FRAMES)) < 1 / (60 * FS)
    spells = fftconvolve(starts, np.ones((1, int(8 * FS))), axes=1)[:, :N_FRAMES] > 0.5
    return make_calcium(rng, n_cells, np.where(spells, 8, 0.1))


TRACES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "red noise, 1 s": partial(make_red, factor=0.9),
    "red noise, 10 s": partial(make_red, factor=0.99),
    "calcium, 2 events a minute": partial(make_calcium, rate_hz=1 / 30),
    "calcium, 18 events a minute": make_calcium,
    "calcium, waxing and waning": make_waxing,
    "calcium, in spells": make_spells,
}


def false_rhythms(seed: int, *, make: Callable[[np.random.Generator, int], np.ndarray]) -> np.ndarray:
    values = make(np.random.default_rng([seed, 5]), 10)
    return (find_rhythms(Traces(values, FS, "dff"))["p"] <= 0.05).to_numpy()


def any_false_rhythm(seed: int, *, make: Callable[[np.random.Generator, int], np.ndarray]) -> np.ndarray:
    values = make(np.random.default_rng([seed, 6]), 20)
    return np.array([find_rhythms(Traces(values, FS, "dff"))["significant"].any()])


def false_coherence(seed: int, *, make: Callable[[np.random.Generator, int], np.ndarray]) -> np.ndarray:
    found = estimate_coherence(Traces(make(np.random.default_rng([seed, 7]), 6), FS, "dff"))
    return (found.coherence > found.threshold).any(axis=1)


def recovers_rhythm(seed: int, *, frequency_hz: float) -> np.ndarray:
    """Spikes twice as likely at one phase of a rhythm, never at the opposite one."""
    rng = np.random.default_rng([seed, 8])
    times, phase = np.arange(N_FRAMES) / FS, rng.uniform(0, 2 * np.pi, (10, 1))
    values = make_calcium(rng, 10, 1 + np.cos(2 * np.pi * frequency_hz * times + phase), rate_hz=1.0)
    found = find_rhythms(Traces(values, FS, "dff"))
    return (found["significant"] & (abs(found["frequency_hz"] - frequency_hz) < 0.02)).to_numpy()


def recovers_coherence(seed: int) -> np.ndarray:
    """Half of the activity of each cell is shared by all."""
    rng = np.random.default_rng([seed, 9])
    shared = make_calcium(rng, 1, rate_hz=0.2)
    found = estimate_coherence(Traces(make_calcium(rng, 6, rate_hz=0.2) + shared, FS, "dff"), bandwidth_hz=0.1)
    return found.q <= found.alpha


INTERVALS: dict[str, Case] = {
    f"{measure}, {train}, {n} events": (0.95, partial(cover_cells, train=train, n=n, measure=measure))
    for measure, numbers in {"rate": (5, 20, 60), "interval": (10, 20, 60), "interval_cv": (20, 60)}.items()
    for train in TRAINS
    for n in numbers
}
INTERVALS |= {
    f"amplitude, {n} events, correlation {likeness} from one to the next": (
        0.95,
        partial(cover_cells, train="Poisson", n=n, measure="amplitude", likeness=likeness),
    )
    for likeness in (0.0, 0.3)
    for n in (10, 20, 60)
}
INTERVALS |= {f"mean rate of {n} cells": (0.95, partial(cover_groups, n_cells=n)) for n in (8, 15, 30)}

FALSE_POSITIVES: dict[str, Case] = {
    f"{what}, {name}": (0.05, partial(run, make=make))
    for what, run in {"rhythm": false_rhythms, "any rhythm of 20": any_false_rhythm, "coherence": false_coherence}.items()
    for name, make in TRACES.items()
}

RECOVERED: dict[str, Case] = {
    "rhythm at 0.3 Hz": (0.9, partial(recovers_rhythm, frequency_hz=0.3)),
    "rhythm at 1 Hz": (0.9, partial(recovers_rhythm, frequency_hz=1.0)),
    "coherence of shared activity": (0.9, recovers_coherence),
}
