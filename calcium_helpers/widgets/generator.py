"""Sliders for a generator of fluorescence: what it makes of spikes, beside what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from calcium_helpers.io.ground_truth import GroundTruth
from calcium_helpers.spike_trains import Bursts, estimate_noise_level, measure_bursts, resample
from calcium_helpers.widgets.sliders import as_png, follow, join, require_ipywidgets, wide_slider

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from calcium_helpers.models.spike_gan import SpikeGan

BEFORE_S, AFTER_S, QUIET_S = 0.5, 2.5, 2.0
ALIKE = 1.5
"""Recorded noise within this factor of the slider's counts as the same."""


def explore_generator(model: SpikeGan, recordings: Sequence[GroundTruth], *, n_shown: int = 12, seed: int = 0) -> Any:
    """Sliders for spikes, interval, noise and indicator: generated traces beside recorded ones of the same condition.

    Parameters
    ----------
    model : SpikeGan
        Generator, as `models.spike_gan.load_gan` gives it.
    recordings : sequence of GroundTruth
        Where bursts of the same kind are looked for.
    n_shown : int
        Traces drawn on either side.
    seed : int
        Of the generated cells and noise.

    Returns
    -------
    ipywidgets.VBox
        Show it as the last line of a cell; it needs a running kernel.

    Raises
    ------
    ModuleNotFoundError
        Without ipywidgets.
    """
    widgets = require_ipywidgets()
    wide = wide_slider(widgets)
    sets = sorted({f"{recording.dataset} {recording.indicator}" for recording in recordings}) or [""]
    controls = {
        "n_spikes": widgets.IntSlider(2, 0, 10, description="spikes", **wide),
        "interval_s": widgets.FloatSlider(0.04, min=0, max=0.3, step=0.01, description="interval (s)", **wide),
        "noise": widgets.FloatLogSlider(1.0, min=-0.6, max=0.9, step=0.1, description="noise (%/√Hz)", **wide),
        "indicator": widgets.Dropdown(options=sets, description="indicator", style={"description_width": "130px"}),
    }
    draw = partial(draw_condition, model, recordings, n_shown=n_shown, seed=seed)
    return join(*controls.values(), picture=follow(controls, draw))


def draw_condition(
    model: SpikeGan, recordings: Sequence[GroundTruth], *, n_spikes: int, interval_s: float, noise: float, indicator: str,
    n_shown: int = 12, seed: int = 0,
) -> bytes:  # fmt: skip
    """Draw recorded and generated traces of one condition, as PNG.

    Parameters
    ----------
    model, recordings, n_shown, seed
        As for `explore_generator`.
    n_spikes : int
        Spikes of the burst; 0 for silence.
    interval_s : float
        From one to the next, seconds; recorded bursts may be half as long again.
    noise : float
        Noise level, %/sqrt(Hz).
    indicator : str
        Data set and indicator, as in "DS14 GCaMP6s".

    Returns
    -------
    bytes
        PNG: change of dF/F over seconds from the first spike.
    """
    from matplotlib.figure import Figure

    mine = [recording for recording in recordings if f"{recording.dataset} {recording.indicator}" == indicator]
    real, alike = _recorded(mine, model.config.fs, n_spikes, interval_s, noise)
    made = _generated(model, n_spikes, interval_s, noise, indicator.split(" ")[0], max(n_shown, 1), seed)
    figure = Figure(figsize=(9, 3.4), dpi=80, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    levels = "" if alike else ", any noise"
    rng = np.random.default_rng(seed)
    shown = rng.permutation(np.flatnonzero(real.size == n_spikes))[:n_shown]
    _draw(left, real.times_s, real.dff[shown], f"recorded ({len(shown)} of {(real.size == n_spikes).sum()}{levels})")
    _draw(right, made.times_s, made.dff, f"generated ({len(made.dff)})")
    left.set(ylabel="change of ΔF/F", xlim=right.get_xlim())  # also where nothing was recorded
    return as_png(figure)


def _recorded(recordings: list[GroundTruth], fs: float, n: int, interval_s: float, noise: float) -> tuple[Bursts, bool]:
    """Bursts of recordings with that noise, or of all where these hold none; whether the noise is alike."""
    levels = np.array([float(estimate_noise_level(recording.dff, fs=recording.fs)) for recording in recordings])
    burst_s = max(1.5 * interval_s * max(n - 1, 0), 2 / fs)
    times = {"before_s": BEFORE_S, "after_s": max(AFTER_S, burst_s), "burst_s": burst_s, "quiet_s": QUIET_S}
    near = np.abs(np.log(np.maximum(levels, 1e-9) / noise)) <= np.log(ALIKE)
    for which in (near, near | True):
        found = measure_bursts([resample(recordings[i], fs=fs) for i in np.flatnonzero(which)], **times)
        if (found.size == n).any():
            return found, bool(which is near)
    return found, True


def _generated(model: SpikeGan, n: int, interval_s: float, noise: float, name: str, n_rows: int, seed: int) -> Bursts:
    """As many bursts of new cells."""
    from calcium_helpers.models.spike_gan import generate

    fs = model.config.fs
    before, length = round(QUIET_S * fs), round((QUIET_S + max(AFTER_S, n * interval_s)) * fs)
    onsets = before + np.floor(np.arange(n) * interval_s * fs + 1e-6).astype(int)
    train = np.bincount(onsets[onsets < length], minlength=length)
    indicator = name if any(name in known for known in model.config.sets) else None
    dff = generate(model, np.tile(train, (n_rows, 1)), noise=noise, indicator=indicator, seed=seed).values
    first = before - round(BEFORE_S * fs)
    dff = dff[:, first:] - dff[:, first:before].mean(axis=1, keepdims=True)
    return Bursts(np.arange(first - before, length - before) / fs, dff, np.full(n_rows, n), np.arange(n_rows))


def _draw(ax: Axes, times_s: np.ndarray, rows: np.ndarray, title: str) -> None:
    """Single traces thin, their mean thick."""
    ax.plot(times_s, rows.T, color="0.65", linewidth=0.7)
    if len(rows):
        ax.plot(times_s, rows.mean(axis=0), color="#d55e00", linewidth=2)
    else:
        ax.text(0.5, 0.5, "none in these recordings", ha="center", transform=ax.transAxes)
    ax.axvline(0, color="0.2", linewidth=0.6, linestyle=":")
    ax.set(title=title, xlabel="time from the first spike (s)")
