"""Simulated movies: reproducible, and what they call truth is true of the frames."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from calcium_helpers import indicators, motion, simulate
from calcium_helpers.simulate import render
from calcium_helpers.simulate.activity import calcium_from_spikes
from calcium_helpers.simulate.motion import draw_rigid_motion, invert_displacement

TWO = simulate.TwoPhotonConfig(n_frames=60, height=96, width=110, n_cells=8)
ONE = simulate.OnePhotonConfig(n_frames=60, height=96, width=110, n_cells=6)
BOTH = [pytest.param(simulate.two_photon, TWO, id="2p"), pytest.param(simulate.one_photon, ONE, id="1p")]


def mean_correlation(frames, image, border=12):
    inside = np.s_[border:-border, border:-border]
    return np.mean([np.corrcoef(frame[inside].ravel(), image[inside].ravel())[0, 1] for frame in frames])


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_equal_seeds_give_equal_movies_and_others_do_not(make, config):
    first, second, other = (make(config, seed=seed) for seed in (5, 5, 6))
    for a, b, c in zip(first, second, other, strict=True):
        name = next(name for name in ("data", "weights", "values", "yx") if hasattr(a, name))
        a, b, c = (np.asarray(x.todense() if name == "weights" else x) for x in (getattr(s, name) for s in (a, b, c)))
        np.testing.assert_array_equal(a, b)
        assert a.shape != c.shape or (a != c).any()


def test_the_movie_does_not_depend_on_the_number_of_threads(monkeypatch):
    expected = simulate.two_photon(TWO, seed=1).movie.data
    pool = render.ThreadPoolExecutor
    used = []
    for workers in (1, 5):
        monkeypatch.setattr(render, "ThreadPoolExecutor", lambda n=workers: used.append(n) or pool(n))
        np.testing.assert_array_equal(simulate.two_photon(TWO, seed=1).movie.data, expected)
    assert used == [1, 5]


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_parts_fit_one_another(make, config):
    movie, footprints, calcium, spikes, shifts = make(config, seed=2)
    assert movie.shape == (60, 96, 110)
    assert movie.data.dtype == np.uint16
    assert footprints.shape == shifts.template.shape == (96, 110)
    assert len(footprints) == len(calcium.values) == len(spikes.values) == config.n_cells
    assert calcium.values.shape == spikes.values.shape == (config.n_cells, 60)
    assert shifts.yx.shape[0] == 60
    assert shifts.is_piecewise
    assert movie.history


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_true_shifts_undo_the_motion(make, config):
    movie, *_, shifts = make(dataclasses.replace(config, motion_px=6.0), seed=3)
    corrected = motion.apply_shifts(movie, shifts).data
    before, after = (mean_correlation(frames, shifts.template) for frames in (movie.data, corrected))
    assert after > before + 0.02
    blurred, sharp = (mean_correlation([frames.mean(axis=0)], shifts.template) for frames in (movie.data, corrected))
    assert 1 - sharp < 0.7 * (1 - blurred)


def test_without_noise_the_corrected_movie_is_the_template():
    bright = dataclasses.replace(TWO, n_cells=0, gain=1.0, tissue_photons=8000.0, neuropil=0.0, bleaching=0.0)
    movie, *_, shifts = simulate.two_photon(bright, seed=4)
    corrected = motion.apply_shifts(movie, shifts).data[:, 12:-12, 12:-12] - 100
    template = shifts.template[12:-12, 12:-12]
    assert np.abs(corrected - template).mean() < 0.03 * template.mean()
    assert np.abs(movie.data[:, 12:-12, 12:-12] - 100.0 - template).mean() > 0.1 * template.mean()


def test_inverted_displacement_cancels_the_displacement():
    rng = np.random.default_rng(0)
    displacement = render.draw_motion(rng, 5, 30.0, motion_px=4.0, field_px=1.5)
    shifts = invert_displacement(displacement, (128, 128))
    rows, columns = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    for frame in range(5):  # s(p) = m(p - s(p))
        where = [rows - shifts[frame, ..., 0] / 8, columns - shifts[frame, ..., 1] / 8]
        moved = [ndimage.map_coordinates(displacement[frame, ..., axis], where, order=1, mode="nearest") for axis in (0, 1)]
        np.testing.assert_allclose(np.stack(moved, axis=-1), shifts[frame], atol=0.01)


@pytest.mark.parametrize("n_frames", [30, 300])
def test_motion_stays_within_its_limits(n_frames):
    yx = draw_rigid_motion(np.random.default_rng(0), n_frames, 30.0, drift_px=2.0, burst_px=3.0)
    assert yx.shape == (n_frames, 2)
    assert 1.0 < np.abs(yx).max() <= 5.0


@pytest.mark.parametrize("rate_hz", [1.0, 4.0])
def test_cells_fire_at_the_rate_asked_for(rate_hz):
    config = dataclasses.replace(TWO, n_frames=600, n_cells=20, min_distance_px=6.0, rate_hz=(rate_hz, rate_hz))
    spikes = simulate.two_photon(config, seed=0).spikes.values
    assert spikes.min() == 0
    np.testing.assert_array_equal(spikes, spikes.round())
    assert spikes.mean() * config.fs == pytest.approx(rate_hz, rel=0.35)


def test_one_spike_rises_and_decays_as_the_indicator_does():
    indicator, fs = indicators.get_indicator("GCaMP6s"), 100.0
    spikes = np.zeros((2, 400))
    spikes[:, 50] = 1
    spikes[1, 120] = 2
    calcium = calcium_from_spikes(spikes, fs, indicator, dff_per_spike=np.array([0.23, 0.5]))
    assert np.all(calcium[:, :50] == pytest.approx(0, abs=1e-9))
    assert calcium[0].max() == pytest.approx(0.23, rel=0.01)
    assert abs((calcium[0].argmax() - 50) / fs - indicator.peak_s) <= 1.5 / fs
    tail = calcium[0, 150:300]
    assert -1 / np.polyfit(np.arange(150) / fs, np.log(tail), 1)[0] == pytest.approx(indicator.decay_s, rel=0.02)
    alone = calcium_from_spikes(spikes[:1], fs, indicator, dff_per_spike=np.array([0.5]))[0]
    later = np.concatenate([np.zeros(70), alone[:-70]])
    np.testing.assert_allclose(calcium[1], alone + 2 * later, atol=1e-9)


def test_pixels_of_a_bright_cell_follow_its_calcium():
    still = dataclasses.replace(TWO, n_frames=300, motion_px=1e-6, field_px=1e-6, bleaching=0.0, neuropil=0.0)
    config = dataclasses.replace(still, baseline_photons=60.0, n_cells=4, rate_hz=(1.0, 2.0))
    movie, footprints, calcium, *_ = simulate.two_photon(config, seed=7)
    traces = footprints.masks @ movie.data.reshape(300, -1).T.astype(float)
    for trace, truth in zip(traces, calcium.values, strict=True):
        assert np.corrcoef(trace, truth)[0, 1] > 0.97


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_cells_are_apart_and_inside(make, config):
    footprints = make(config, seed=8).footprints
    centres = footprints.centroids
    distance = np.hypot(*(centres[:, None] - centres[None]).T)[~np.eye(len(centres), dtype=bool)]
    assert distance.min() > config.min_distance_px - 2
    assert len({row.tobytes() for row in footprints.masks.toarray()}) == config.n_cells
    assert footprints.area_px.min() > 40


def test_dendrites_count_as_cells_and_are_thin():
    config = dataclasses.replace(TWO, n_cells=3, n_dendrites=3)
    footprints = simulate.two_photon(config, seed=9).footprints
    assert len(footprints) == 6
    images = footprints.masks.toarray().reshape(6, 96, 110)
    spread = [np.sqrt(np.linalg.eigvalsh(np.cov(np.nonzero(image)))) for image in images]
    ratio = np.array(spread)[:, 1] / np.array(spread)[:, 0]
    assert ratio[:3].max() < 2 < ratio[3:].min()


def test_filled_cells_have_no_dim_nucleus():
    def centre_over_rim(filled):
        footprints = simulate.two_photon(dataclasses.replace(TWO, filled=filled, radius_px=(7.0, 8.0)), seed=10).footprints
        values = []
        for image, (y, x) in zip(footprints.weights.toarray().reshape(-1, 96, 110), footprints.centroids, strict=True):
            rows, columns = np.nonzero(image)
            radius = np.hypot(rows - y, columns - x)
            values.append(image[rows, columns][radius < 2].mean() / image[rows, columns][radius > 4].mean())
        return np.mean(values)

    assert centre_over_rim(0.0) < 0.8 < 1.0 < centre_over_rim(1.0)


def test_a_named_indicator_replaces_the_kinetics():
    config = dataclasses.replace(TWO, n_frames=200, rate_hz=(1.0, 2.0), n_cells=20, min_distance_px=10.0, height=128, width=128)
    fast, slow = (simulate.two_photon(dataclasses.replace(config, indicator=name), seed=0) for name in ("jGCaMP8f", "GCaMP6s"))
    np.testing.assert_array_equal(fast.spikes.values, slow.spikes.values)
    lag_one = [np.mean([np.corrcoef(v[:-3], v[3:])[0, 1] for v in s.calcium.values if v.any()]) for s in (fast, slow)]
    assert lag_one[0] < lag_one[1] - 0.2
    with pytest.raises(ValueError, match="indicator must be one of"):
        simulate.two_photon(dataclasses.replace(config, indicator="GCaMP99"), seed=0)


def test_bidirectional_offset_displaces_every_second_line():
    plain, offset = (simulate.two_photon(dataclasses.replace(TWO, bidiphase_px=n), seed=11).movie.data for n in (0, 3))
    np.testing.assert_array_equal(offset[:, ::2], plain[:, ::2])
    np.testing.assert_array_equal(offset[:, 1::2, 3:], plain[:, 1::2, :-3])


@pytest.mark.parametrize(("make", "config"), BOTH)
@pytest.mark.parametrize("change", [{"n_frames": 1}, {"n_cells": 0}, {"n_cells": 0, "height": 7, "width": 5}, {"width": 97}])
def test_ordinary_extremes(make, config, change):
    config = dataclasses.replace(config, **change)
    movie, footprints, calcium, *_, shifts = make(config, seed=0)
    assert movie.shape == (config.n_frames, config.height, config.width)
    assert len(footprints) == len(calcium.values) == config.n_cells
    assert movie.data.std() > 0
    assert np.isfinite(shifts.yx).all()


@pytest.mark.parametrize(("make", "config"), BOTH)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_frames": 0}, "n_frames must be at least 1"),
        ({"height": 0}, "height must be at least 1"),
        ({"n_cells": -1}, "n_cells"),
        ({"rate_hz": (0.0, 1.0)}, "rate_hz must be"),
        ({"rate_hz": (2.0, 1.0)}, "rate_hz must be"),
        ({"n_cells": 500}, "n_cells=500 do not fit into 96 x 110 px"),
    ],
)
def test_impossible_configurations_are_refused(make, config, change, message):
    with pytest.raises(ValueError, match=message):
        make(dataclasses.replace(config, **change), seed=0)
