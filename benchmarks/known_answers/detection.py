"""Events in noise alone, and planted events."""

from __future__ import annotations

import numpy as np

from calcium_helpers.containers import Traces
from calcium_helpers.events import detect_events
from calcium_helpers.indicators import Indicator

FS, MINUTES = 30.0, 10
CELL = Indicator("anchor", rise_s=0.05, decay_s=0.6, dff_per_spike=1.0, source="anchor_2p")


def false_minutes(seed: int, *, slow: float = 0.0) -> np.ndarray:
    """Which of ten minutes of noise have an event; the noise is white, or white with a slow part."""
    rng = np.random.default_rng(seed)
    n = round(MINUTES * 60 * FS)
    noise = rng.normal(size=n)
    if slow:
        wander = np.convolve(rng.normal(size=n), np.exp(-np.arange(600) / (2 * FS)), mode="same")
        noise += slow * wander / wander.std()
    events = detect_events(
        Traces(noise[None], FS, "dff"), decay_s=CELL.decay_s, rise_s=CELL.rise_s, false_positives_per_min=0.1
    )
    minutes = (events.table["onset_s"] // 60).to_numpy().astype(int)
    return np.bincount(minutes, minlength=MINUTES)[:MINUTES] > 0


def planted(seed: int, *, amplitude: float, apart_s: float) -> np.ndarray:
    """Which of the planted transients, in noise of 0.1, are found within two frames."""
    rng = np.random.default_rng(seed)
    onsets = np.cumsum(rng.uniform(apart_s, apart_s + 1, 12)) + 2
    times = (np.arange(round((onsets[-1] + 5) * FS)) + 0.5) / FS
    clean = sum(amplitude * CELL.response(np.where(times > onset, times - onset, 0)) for onset in onsets)
    dff = Traces((clean + rng.normal(scale=0.1, size=len(times)))[None], FS, "dff")
    found = detect_events(dff, decay_s=CELL.decay_s, rise_s=CELL.rise_s).table["onset_s"].to_numpy()
    return np.array([np.abs(found - onset).min(initial=np.inf) <= 2.5 / FS for onset in onsets])


INTERVALS: dict = {}
# A minute has an event with probability 1 - exp(-0.1).
RATE = round(1 - np.exp(-0.1), 3)
FALSE_POSITIVES = {
    "events: a minute of white noise has one (0.1 a minute accepted)": (RATE, false_minutes),
    "events: the same, noise with a slow part of half its size": (RATE, lambda seed: false_minutes(seed, slow=0.5)),
}
RECOVERED = {
    "events: transients 10 times the noise, 3 to 4 s apart": (0.95, lambda seed: planted(seed, amplitude=1.0, apart_s=3.0)),
    "events: the same, 1 to 2 s apart": (0.9, lambda seed: planted(seed, amplitude=1.0, apart_s=1.0)),
}
