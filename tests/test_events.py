"""Events against known transients, known rates of false positives, and real spikes."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.stats import poisson

from calcium_helpers.containers import Traces
from calcium_helpers.events import design_filter, detect_events

FS, DECAY_S, RISE_S = 30.0, 0.6, 0.05


def transient(after_s, decay_s=DECAY_S, rise_s=RISE_S):
    """A transient of peak 1; its onset at 0."""
    peak_s = np.log(decay_s / rise_s) * decay_s * rise_s / (decay_s - rise_s)
    since = np.maximum(after_s, 0)
    return (np.exp(-since / decay_s) - np.exp(-since / rise_s)) / (np.exp(-peak_s / decay_s) - np.exp(-peak_s / rise_s))


def trace(onsets_s, *, amplitude=1.0, sd=0.05, n_frames=1800, fs=FS, seed=0):
    times = (np.arange(n_frames) + 0.5) / fs
    clean = sum((amplitude * transient(times - onset) for onset in onsets_s), np.zeros(n_frames))
    return Traces((clean + np.random.default_rng(seed).normal(scale=sd, size=n_frames))[None], fs, "dff")


def detect(traces, **changes):
    return detect_events(traces, **{"decay_s": DECAY_S, "rise_s": RISE_S, **changes}).table


def test_known_transients_are_measured():
    onsets = np.arange(3, 57, 4.03)
    found = detect(trace(onsets))
    np.testing.assert_allclose(found["onset_s"], onsets, atol=1.5 / FS)
    np.testing.assert_allclose(found["amplitude"].median(), 1, atol=0.06)
    fine = np.arange(0, 8, 1e-4)
    course = transient(fine)
    peak, above = int(course.argmax()), course > 0.5
    np.testing.assert_allclose((found["peak_s"] - found["onset_s"]).median(), fine[peak], atol=2 / FS)
    np.testing.assert_allclose(found["half_decay_s"].median(), fine[above][-1] - fine[peak], rtol=0.08)
    # Frames and smoothing lengthen a rise of 80 ms.
    rise = np.ptp(fine[: peak + 1][(course[: peak + 1] > 0.1) & (course[: peak + 1] < 0.9)])
    assert rise < found["rise_s"].median() < rise + 2 / FS
    np.testing.assert_allclose(found["area"].median(), course.sum() * 1e-4, rtol=0.15)  # the last tenth is left out
    assert (found["offset_s"] - found["peak_s"]).between(0.6, 2.5).all()


@pytest.mark.parametrize(
    ("fs", "decay_s", "rise_s"), [(30, 0.6, 0.05), (7, 0.8, 0.1), (100, 0.4, 0.02), (2, 1.0, 0.0), (15, 1.5, 0.3)]
)
@pytest.mark.parametrize("rate", [0.1, 2.0])
def test_false_positives_come_at_the_stated_rate(fs, decay_s, rise_s, rate):
    minutes = 200 if rate < 1 else 40
    noise = np.random.default_rng(1).normal(scale=0.3, size=(20, int(minutes / 20 * 60 * fs)))
    n = len(detect_events(Traces(noise, fs, "dff"), decay_s=decay_s, rise_s=rise_s, false_positives_per_min=rate))
    low, high = poisson.interval(0.999, rate * minutes)
    assert low <= n <= high


def test_slow_noise_raises_the_threshold():
    """A trace that wanders, as with unremoved neuropil, does not set off many times the stated rate."""
    rng = np.random.default_rng(2)
    slow = np.convolve(rng.normal(size=60_000), np.exp(-np.arange(300) / 30), mode="same") * 0.05
    wander = Traces((slow + rng.normal(scale=0.1, size=60_000))[None], FS, "dff")
    minutes = 60_000 / FS / 60
    assert len(detect(wander)) < 1.0 * minutes


def test_bursts_are_split_where_the_trace_falls_between():
    apart = detect(trace([10, 11, 12, 30, 31], sd=0.03))
    np.testing.assert_allclose(apart["onset_s"], [10, 11, 12, 30, 31], atol=2 / FS)
    # An onset in a decay is measured above that decay, and cuts the first event's end.
    np.testing.assert_allclose(apart["amplitude"], 1, atol=0.25)
    assert (apart["offset_s"][:2] <= apart["onset_s"][1:3].to_numpy() + 1e-9).all()
    assert len(detect(trace([10, 10.05, 10.1], sd=0.03))) == 1


def test_decays_are_no_events():
    """A huge transient, and one decaying from before the first frame, also of other kinetics than assumed."""
    for decay_s in (0.5, 0.6, 0.8):
        times = np.arange(1800) / FS
        values = 5 * transient(times - 20, decay_s=decay_s) + 3 * np.exp(-times / decay_s)
        values = values + np.random.default_rng(3).normal(scale=0.05, size=1800)
        found = detect(Traces(values[None], FS, "dff"))
        np.testing.assert_allclose(found["onset_s"], [20], atol=2 / FS)


def test_gain_changes_amplitudes_only():
    plain, scaled = (detect(trace([5, 20, 40]).replace(values=gain * trace([5, 20, 40]).values)) for gain in (1, 8))
    for name in ("onset_s", "peak_s", "offset_s", "rise_s", "half_decay_s", "z"):
        np.testing.assert_allclose(plain[name], scaled[name], rtol=1e-4)
    for name in ("amplitude", "area"):
        np.testing.assert_allclose(8 * plain[name], scaled[name], rtol=1e-4)


def test_rows_do_not_know_of_each_other():
    many = Traces(np.concatenate([trace([5, 20], seed=i).values for i in range(150)]), FS, "dff", np.arange(150) * 3)
    together = detect(many)
    alone = detect(many.select(np.array([101])))
    np.testing.assert_array_equal(together[together["roi"] == 303].reset_index(drop=True), alone)


def test_noise_given_is_used():
    quiet = trace([10], sd=0.01, amplitude=0.1)
    assert len(detect(quiet)) == 1
    assert len(detect_events(quiet, decay_s=DECAY_S, rise_s=RISE_S, noise=np.array([1.0]))) == 0


@pytest.mark.parametrize("shape", [(0, 100), (3, 0), (2, 1), (2, 5), (1, 40)])
def test_small_and_silent_recordings(shape):
    events = detect_events(Traces(np.ones(shape), FS, "dff"), decay_s=DECAY_S, rise_s=RISE_S)
    assert len(events) == 0
    assert list(events.table.columns)[:5] == ["roi", "onset_s", "peak_s", "offset_s", "amplitude"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rise_s": 0.7}, r"rise_s must be at least 0 and below decay_s, got 0\.7 and 0\.6"),
        ({"decay_s": 0}, "decay_s"),
        ({"false_positives_per_min": -1}, "false_positives_per_min"),
        ({"false_positives_per_min": 1e5}, r"must lie between .* at 30 Hz, got 100000"),
        ({"noise": np.ones(2)}, r"one entry a trace \(1\), got shape \(2,\)"),
    ],
)
def test_arguments_that_make_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        detect(trace([1]), **changes)


def test_nan_is_named():
    values = trace([1]).values.copy()
    values[0, 7] = np.nan
    with pytest.raises(ValueError, match="frame 7"):
        detect(Traces(values, FS, "dff"))


def test_threshold_falls_with_the_rate():
    thresholds = [design_filter(FS, DECAY_S, RISE_S, rate).threshold for rate in (0.01, 0.1, 1, 10)]
    assert (np.diff(thresholds) < 0).all()
    assert 3 < thresholds[1] < 4.5


@pytest.mark.real
@pytest.mark.skipif("CALCIUM_DATA_DIR" not in os.environ, reason="CALCIUM_DATA_DIR is not set")
def test_events_of_a_real_cell_are_spikes():
    path = sorted(Path(os.environ["CALCIUM_DATA_DIR"]).glob("spikes/DS09*/*.mat"))[0]
    precise = []
    for sweep in np.atleast_1d(loadmat(path, squeeze_me=True, struct_as_record=False)["CAttached"]):
        times, values = np.ravel(sweep.fluo_time).astype(float), np.ravel(sweep.fluo_mean).astype(float)
        dff = Traces(values[None, np.isfinite(values)], 1 / np.median(np.diff(times)), "dff")
        found = detect_events(dff, decay_s=0.37, rise_s=0.02).table["onset_s"].to_numpy() + times[0]
        spikes = np.ravel(sweep.events_AP) / 1e4
        precise += [np.abs(spikes - onset).min() < 0.2 for onset in found]
    assert len(precise) > 10
    assert np.mean(precise) > 0.8
