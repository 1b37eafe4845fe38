import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calcium_helpers import plots
from calcium_helpers.indicators import get_indicator
from calcium_helpers.io.ground_truth import GroundTruth, load_ground_truth
from calcium_helpers.spike_trains import (
    DEVELOPMENT,
    FAMILIES,
    FOLDS,
    Bursts,
    Sampled,
    cut_windows,
    estimate_noise_level,
    measure_bursts,
    resample,
)

DATA = os.environ.get("CALCIUM_DATA_DIR")


def recording(dff, fs, spikes_s=(), times_s=None):
    times = np.arange(1, len(dff) + 1) / fs if times_s is None else np.asarray(times_s, float)
    return GroundTruth("DS00", "GCaMP6f", "a", times, np.asarray(dff, np.float32), np.sort(np.asarray(spikes_s, float)), fs)


def sampled(dff, spikes, fs=25.0, valid=None):
    times = np.arange(1, len(dff) + 1) / fs
    good = np.ones(len(dff), bool) if valid is None else valid
    return Sampled(np.asarray(dff, np.float32), np.asarray(spikes, np.float32), fs, times, good)


@given(
    seed=st.integers(0, 10_000),
    rate=st.floats(5, 200),
    fs=st.floats(2, 120),
    lost=st.floats(0, 0.5),
)
@settings(max_examples=60, deadline=None)
def test_bins_hold_what_lies_in_them_and_nothing_later(seed, rate, fs, lost):
    """Against a plain loop over bins."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.7, 1.3, size=200)) / rate
    times = times[rng.random(200) >= lost]
    mine = recording(rng.normal(size=len(times)), rate, rng.uniform(0, times[-1], size=40), times)
    out = resample(mine, fs=fs)
    width = 1 / fs
    assert out.fs == fs
    np.testing.assert_allclose(np.diff(out.times_s), width)
    for end, value, n, good in zip(out.times_s, out.dff, out.spikes, out.valid, strict=True):
        clear = np.abs(mine.times_s - end).min() > 1e-9 and np.abs(mine.times_s - end + width).min() > 1e-9
        inside = (mine.times_s > end - width) & (mine.times_s <= end)
        if clear and inside.any():
            assert value == pytest.approx(mine.dff[inside].mean(), abs=1e-5)
            assert good
        elif clear and (mine.times_s <= end).any():
            assert value == mine.dff[mine.times_s <= end][-1]
            assert good == (end - mine.times_s[mine.times_s <= end][-1] < 1.5 / min(rate, fs))
        assert n == ((mine.spikes_s > end - width) & (mine.spikes_s <= end)).sum()
    assert abs(out.times_s[-1] - mine.times_s[-1]) <= width
    # What comes later changes nothing earlier.
    half = len(times) // 2
    changed = mine._replace(dff=np.concatenate([mine.dff[:half], mine.dff[half:] + 5]))
    before = out.times_s < times[half]
    np.testing.assert_allclose(resample(changed, fs=fs).dff[before], out.dff[before], atol=1e-5)


def test_own_rate_is_kept_though_times_are_rounded():
    rng = np.random.default_rng(0)
    times = np.round(np.arange(1, 3001) / 29.97, 4)
    mine = recording(rng.normal(size=3000), 2999 / (times[-1] - times[0]), rng.uniform(0, 100, size=300), times)
    own = resample(mine)
    np.testing.assert_allclose(own.dff, mine.dff, atol=1e-6)
    assert own.spikes.sum() == 300
    assert own.valid.all()


def test_a_faster_grid_holds_each_sample_and_a_gap_is_marked():
    mine = recording([1, 2, 3, 4], 10, times_s=[0.1, 0.2, 0.3, 1.0])
    out = resample(mine, fs=40)
    np.testing.assert_array_equal(out.dff[:9], [1, 1, 1, 1, 2, 2, 2, 2, 3])
    assert out.dff[-1] == 4
    ages = out.times_s - 0.3
    np.testing.assert_array_equal(out.valid, (ages < 0.15) | (out.dff == 4))
    assert not out.valid.all()
    with pytest.raises(ValueError, match="fs must be"):
        resample(mine, fs=0)


def test_noise_level_is_that_of_white_noise_at_any_rate():
    noise = np.random.default_rng(0).normal(scale=0.5, size=(2, 200_000)) * [[1], [2]]
    expected = 100 * 0.67449 * np.sqrt(2) * np.array([0.5, 1.0]) / np.sqrt(500)
    np.testing.assert_allclose(estimate_noise_level(noise, fs=500), expected, rtol=0.02)
    slower = resample(recording(noise[0], 500.0), fs=50)
    assert float(estimate_noise_level(slower.dff, fs=50)) == pytest.approx(expected[0], rel=0.03)
    assert estimate_noise_level([1.0], fs=10) == 0
    assert estimate_noise_level(np.full(50, 3.0), fs=10) == 0
    assert estimate_noise_level([0.0, np.nan, 1.0, 2.0, 3.0], fs=100) == pytest.approx(10)


def test_windows_lie_in_their_sweeps_and_leave_gaps_out():
    rng = np.random.default_rng(0)
    valid = np.ones(100, bool)
    valid[45] = False
    sweeps = [
        sampled(rng.normal(size=100), rng.poisson(0.3, 100), valid=valid),
        sampled([0.0] * 9, [0] * 9),
        sampled(range(30), [1] * 30),
    ]
    windows = cut_windows(sweeps, length=20, step=10)
    assert [(int(i), int(j)) for i, j in zip(windows.sweep, windows.start, strict=True)] == [
        *((0, j) for j in (0, 10, 20, 50, 60, 70, 80)),
        (2, 0),
        (2, 10),
    ]
    for dff, spikes, i, j in zip(*windows, strict=True):
        np.testing.assert_array_equal(dff, sweeps[i].dff[j : j + 20])
        np.testing.assert_array_equal(spikes, sweeps[i].spikes[j : j + 20])
    assert cut_windows([], length=20).dff.shape == cut_windows(sweeps[1:2], length=20).spikes.shape == (0, 20)
    with pytest.raises(ValueError, match="must be at least 1 bin, got 0"):
        cut_windows(sweeps, length=0)
    with pytest.raises(ValueError, match=r"one rate, got 10 to 25 Hz"):
        cut_windows([*sweeps, sampled([0.0], [0], fs=10.0)], length=5)


def test_no_family_is_on_both_sides_of_a_split():
    sets = [dataset for family in FAMILIES for dataset in family]
    assert len(sets) == len(set(sets)) == 19
    assert sorted(dataset for fold in FOLDS for dataset in fold) == sorted(sets)
    assert all(any(set(family) <= set(fold) for fold in FOLDS) for family in FAMILIES)
    assert set(DEVELOPMENT) < set(sets)


def simulated(fs=25.0, minutes=40, seed=0):
    """Bursts of 1 to 3 spikes every 8 s or so, fluorescence of GCaMP6s without saturation."""
    rng = np.random.default_rng(seed)
    n = int(minutes * 60 * fs)
    spikes = np.zeros(n)
    for start in np.cumsum(rng.integers(int(6 * fs), int(10 * fs), size=n // int(10 * fs))):
        spikes[start : start + 3] = np.eye(3).cumsum(axis=0)[rng.integers(3)]
    kernel = get_indicator("GCaMP6s").response(np.arange(int(8 * fs)) / fs)
    dff = np.convolve(spikes, kernel)[:n] + rng.normal(scale=0.05, size=n) + 0.4
    return sampled(dff, spikes, fs=fs)


def test_bursts_are_found_with_their_size_and_their_fluorescence():
    sweep = simulated()
    bursts = measure_bursts([sampled([0.0] * 20, [0] * 20), sweep], quiet_s=3)
    _, counts = np.unique(bursts.size[bursts.size > 0], return_counts=True)
    starts = np.flatnonzero(np.diff(sweep.spikes, prepend=0) > 0)
    assert counts.sum() in {len(starts), len(starts) - 1}  # the last may reach the end
    assert set(bursts.sweep.tolist()) == {1}
    assert bursts.times_s[0] == pytest.approx(-0.5, abs=0.03)
    peak = {n: bursts.dff[bursts.size == n].mean(axis=0).max() for n in range(4)}
    indicator = get_indicator("GCaMP6s")
    after = np.arange(0, 2, 1 / 25)
    for n in (1, 2, 3):
        expected = sum(indicator.response(after - i / 25) for i in range(n)).max()
        assert peak[n] == pytest.approx(expected, abs=0.03)
    assert peak[0] < 0.03
    assert (bursts.size == 0).sum() > 50


def test_bursts_that_do_not_stand_alone_are_left_out():
    spikes = np.zeros(500)
    spikes[[100, 101, 200, 240, 400]] = 1  # 200 has another 1.6 s later, 240 one 1.6 s earlier
    bursts = measure_bursts([sampled(np.arange(500), spikes)])
    assert bursts.size[bursts.size > 0].tolist() == [2, 1]
    assert bursts.dff[bursts.size == 2, bursts.times_s == 0] == pytest.approx(6.5)  # less the mean of 87.5 to 99.5
    gap = np.ones(500, bool)
    gap[110] = False
    assert measure_bursts([sampled(np.arange(500), spikes, valid=gap)]).size.max() == 1
    assert measure_bursts([]).dff.shape[0] == measure_bursts([sampled([1.0], [1])]).size.size == 0
    with pytest.raises(ValueError, match="before_s <= quiet_s"):
        measure_bursts([], before_s=3)


@pytest.mark.skipif(not DATA, reason="CALCIUM_DATA_DIR is not set")
@pytest.mark.real
@pytest.mark.parametrize(("folder", "indicator"), [("DS09-GCaMP6f-m-V1", "GCaMP6f"), ("DS32-GCaMP8s-m-V1", "jGCaMP8s")])
def test_real_fluorescence_grows_with_the_burst(folder, indicator):
    sweeps = load_ground_truth(Path(str(DATA)) / "spikes" / folder)
    bursts = measure_bursts([resample(sweep, fs=25) for sweep in sweeps])
    early = (bursts.times_s > 0) & (bursts.times_s < 0.4)
    heights = [float(np.median(bursts.dff[bursts.size == n][:, early].mean(axis=1))) for n in range(4)]
    assert heights == sorted(heights)
    assert abs(heights[0]) < 0.1 * heights[1] + 0.02
    known = get_indicator(indicator).dff_per_spike
    assert 0.2 * known < bursts.dff[bursts.size == 1].mean(axis=0).max() < 3 * known


# --- pictures ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bursts():
    return measure_bursts([simulated()], quiet_s=3)


def test_pictures_show_the_means_of_what_they_name(bursts):
    ax = plots.show_spike_triggered(bursts, generated=bursts._replace(dff=2 * bursts.dff))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:2] == [f"silence ({(bursts.size == 0).sum()})", f"1 spike ({(bursts.size == 1).sum()})"]
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines[labels[1]].get_ydata(), bursts.dff[bursts.size == 1].mean(axis=0))
    assert sum(line.get_linestyle() == "--" for line in ax.get_lines()) == 4
    ax = plots.show_spike_density(bursts, 2)
    (image,) = ax.get_images()
    share = np.asarray(image.get_array())
    assert share.shape[1] == len(bursts.times_s)
    assert 0.8 < share.sum(axis=0).min() <= share.sum(axis=0).max() <= 1 + 1e-9
    plt.close("all")


def test_pictures_of_nothing_say_so(bursts):
    none = Bursts(bursts.times_s, bursts.dff[:0], bursts.size[:0], bursts.sweep[:0])
    assert "No size of burst" in plots.show_spike_triggered(none).texts[0].get_text()
    assert "No 3 spikes to show" in plots.show_spike_density(none, 3).texts[0].get_text()
    flat = Bursts(np.zeros(1), np.zeros((6, 1), np.float32), np.ones(6, int), np.zeros(6, int))
    assert plots.show_spike_density(flat, 1).get_images()
    assert plots.show_spike_triggered(flat).get_lines()
    plt.close("all")
