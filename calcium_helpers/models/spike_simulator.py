"""Simulated sweeps of more kinetics, noise and ways of firing than any data set holds: they are mixed into training."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from calcium_helpers.spike_trains import Sampled

FS_HZ = 100.0


def simulate_sweeps(n: int, *, seed: int, seconds: float = 90.0) -> list[Sampled]:
    """Simulate fluorescence of cells that fire in bursts of all kinds.

    Each sweep draws its own indicator: rise 4 to 120 ms, decay .12 to 2 s, supralinear or saturating, a spike .3 to 6 times the
    noise at 25 Hz; white noise, and a slow drift below it.

    Parameters
    ----------
    n : int
        Sweeps.
    seed : int
    seconds : float
        Duration of each.

    Returns
    -------
    list of Sampled
        At 100 Hz.
    """
    return [_simulate(np.random.default_rng([seed, i]), round(seconds * FS_HZ)) for i in range(n)]


def _simulate(rng: np.random.Generator, n_samples: int) -> Sampled:
    spikes = _fire(rng, n_samples)
    rise, decay = (np.exp(-1 / FS_HZ / _between(rng, *limits)) for limits in ((0.004, 0.12), (0.12, 2.0)))
    calcium = lfilter([1.0], [1.0, -decay], spikes)
    power, half = _between(rng, 0.8, 2.5), _between(rng, 2, 60)
    answer = calcium**power / (1 + (calcium / half) ** power)
    amplitude = np.exp(rng.normal(np.log(0.12), 0.6))
    dff = amplitude * lfilter([1 - rise], [1.0, -rise], answer)
    noise = amplitude / _between(rng, 0.3, 6) * np.sqrt(FS_HZ / 25)
    drift = lfilter([1.0], [1.0, -0.9995], rng.normal(size=n_samples))
    dff += noise * (rng.normal(size=n_samples) + rng.uniform(0, 0.5) * drift / drift.std())
    times = np.arange(1, n_samples + 1) / FS_HZ
    return Sampled(dff.astype(np.float32), spikes.astype(np.float32), FS_HZ, times, np.ones(n_samples, dtype=bool))


def _fire(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Spike counts: a rate of .1 to 6 Hz that changes every .3 to 5 s, spikes that bring others within milliseconds."""
    hold = round(FS_HZ * _between(rng, 0.3, 5))
    rate = np.exp(rng.uniform(0.3, 1.8) * np.repeat(rng.normal(size=n_samples // hold + 1), hold)[:n_samples])
    rate *= _between(rng, 0.1, 6) / rate.mean()
    spikes = rng.poisson(np.minimum(rate, 60) / FS_HZ).astype(np.float64)
    first = np.flatnonzero(spikes)
    more = rng.geometric(1 - rng.uniform(0, 0.7) * rng.random(len(first))) - 1
    for start, size in zip(first, more, strict=True):
        later = start + np.cumsum(np.maximum(1, rng.exponential(0.008 * FS_HZ, size=size))).astype(int)
        np.add.at(spikes, later[later < n_samples], 1)
    return spikes


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number, each octave as likely as the next."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
