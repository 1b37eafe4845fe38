"""Simulated activity: spike trains, the calcium that follows them, and how often cells fire."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

from calcium_helpers.indicators import Indicator, get_indicator
from calcium_helpers.simulate.config import RecordingConfig

MODULATION_S = 2.0  # sd of the Gaussian that shapes the waxing and waning of rates


def draw_activity(rng: np.random.Generator, config: RecordingConfig, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw spike counts and the noiseless dF/F that follows them, both (N, T)."""
    indicator = Indicator("custom", config.rise_s, config.decay_s, config.dff_per_spike, "configuration")
    if config.indicator is not None:
        indicator = get_indicator(config.indicator)
    spikes = draw_spikes(rng, n_cells, config.n_frames, config.fs, rate_hz=config.rate_hz, modulation=config.modulation)
    amplitude = draw_lognormal(rng, n_cells, median=indicator.dff_per_spike, log_sd=0.35)
    return spikes, calcium_from_spikes(spikes, config.fs, indicator, dff_per_spike=amplitude)


def draw_spikes(
    rng: np.random.Generator, n_cells: int, n_frames: int, fs: float, *, rate_hz: tuple[float, float], modulation: float
) -> np.ndarray:
    """Draw spike counts a frame, shape (N, T).

    Poisson; the mean rates are log-uniform in ``rate_hz``, and each cell's rate waxes and wanes over a few seconds as a
    lognormal of log-sd ``modulation``.
    """
    mean_rate = np.exp(rng.uniform(np.log(rate_hz[0]), np.log(rate_hz[1]), n_cells))
    slow = ndimage.gaussian_filter1d(rng.standard_normal((n_cells, n_frames)), MODULATION_S * fs, axis=1, mode="wrap")
    slow -= slow.mean(axis=1, keepdims=True)
    slow /= np.maximum(slow.std(axis=1, keepdims=True), 1e-9)
    course = np.exp(modulation * slow - modulation**2 / 2)  # lognormal of mean 1
    return rng.poisson(mean_rate[:, None] * course / fs)


def calcium_from_spikes(spikes: np.ndarray, fs: float, indicator: Indicator, *, dff_per_spike: np.ndarray) -> np.ndarray:
    """Noiseless dF/F, shape (N, T), of spike counts (N, T); ``dff_per_spike`` (N,) replaces the indicator's own amplitude.

    Spikes fall in the middle of their frame, whose value is the response half a frame later.
    """
    times = (np.arange(int(np.ceil(8 * indicator.decay_s * fs)) + 1) + 0.5) / fs
    kernel = indicator.response(times) / indicator.dff_per_spike
    response = signal.fftconvolve(spikes, kernel[None], axes=1)[:, : spikes.shape[1]] if spikes.size else spikes
    return np.clip(response, 0, None) * dff_per_spike[:, None]


def draw_lognormal(rng: np.random.Generator, n: int, *, median: float, log_sd: float) -> np.ndarray:
    """Draw ``n`` lognormal numbers."""
    return median * np.exp(log_sd * rng.standard_normal(n))
