"""Hybrid movies: nothing is left of the real cells, the new ones are as stated, and the noise stays what it was."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import stats

from calcium_helpers import motion, simulate
from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.movie import summarise
from calcium_helpers.noise import estimate_snr
from calcium_helpers.simulate.hybrid import average_frames
from calcium_helpers.simulate.hybrid_ground import find_ground

DATA = os.environ.get("CALCIUM_DATA_DIR")
STILL = {"n_frames": 400, "height": 64, "width": 72, "motion_px": 1e-6, "field_px": 1e-6}
CONFIG = simulate.HybridConfig(offset=simulate.OFFSET)
WHOLE = dataclasses.replace(CONFIG, shuffle_px=None)
BORDER = (slice(None), slice(8, -8), slice(8, -8))


@pytest.fixture(scope="module")
def bright():
    """Cells that anybody would find, in a movie that holds still; its truth is known."""
    config = simulate.TwoPhotonConfig(**STILL, n_cells=5, fs=10.0, baseline_photons=6.0, rate_hz=(0.5, 1.0), bleaching=0.0)
    return simulate.two_photon(config, seed=1)


@pytest.fixture(scope="module")
def discs():
    y, x = np.mgrid[:64, :72]
    return Footprints.from_images(np.stack([np.hypot(y - cy, x - cx) <= 5 for cy, cx in ((14, 16), (46, 20), (30, 54))]))


def nobody(shape, n_frames, fs):
    return Footprints.from_images(np.zeros((0, *shape))), Traces(np.zeros((0, n_frames)), fs, "dff")


def transients(n, n_frames, fs, rng):
    spikes = rng.random((n, n_frames)) < 0.2 / fs
    decay = np.exp(-np.arange(n_frames) / fs)
    return Traces(np.array([np.convolve(row, decay)[:n_frames] for row in spikes]), fs, "dff")


def read(movie, footprints):
    """Mean counts under each footprint, shape (N, T)."""
    weights = footprints.masks.astype(np.float32)
    return weights @ movie.frames().reshape(movie.n_frames, -1).T.astype(np.float32) / footprints.area_px[:, None]


def looks(movie, footprints):
    """What a simple detector sees of cells: SNR and skewness of their traces, local correlation inside minus outside."""
    traces = read(movie, footprints)
    inside = np.asarray(footprints.masks.sum(axis=0)).reshape(footprints.shape) > 0
    correlation = summarise(movie).correlation
    snr = estimate_snr(Traces(traces, movie.fs, "raw"))
    contrast = correlation[inside].mean() - correlation[~inside].mean()
    return snr.mean(), np.abs(stats.skew(traces, axis=1)).mean(), contrast


def neighbour_correlation(movie):
    """Correlation of the noise of horizontal neighbours, by steps from frame to frame."""
    steps = np.diff(movie.frames().astype(np.float32), axis=0)
    steps /= np.sqrt((steps**2).mean(axis=0))
    return (steps[:, :, 1:] * steps[:, :, :-1]).mean()


def noise_by_brightness(movie):
    """Median noise variance of pixels in four groups of about equal brightness."""
    frames = movie.frames().astype(np.float32)
    variance = ((np.diff(frames, axis=0) ** 2).mean(axis=0) / 2).ravel()
    groups = np.array_split(np.argsort(frames.mean(axis=0), axis=None), 4)
    return np.array([np.median(variance[group]) for group in groups])


@pytest.mark.parametrize("config", [CONFIG, WHOLE], ids=["blocks", "whole frames"])
def test_without_new_cells_nothing_of_the_old_ones_is_seen(bright, config):
    movie = simulate.hybrid(bright.movie, *nobody((64, 72), 400, 10.0), config=config).movie
    before, after = looks(bright.movie, bright.footprints), looks(movie, bright.footprints)
    assert before[0] > 15 > 4 > after[0]
    assert before[1] > 0.7 > 0.3 > after[1]
    assert before[2] > 0.3 > 0.04 > abs(after[2])
    old = read(movie, bright.footprints)
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(old, bright.calcium.values, strict=True)]
    assert np.abs(correlation).max() < 0.2
    # the mean image stays: a cell of long ago may still be seen there, at rest
    images = [m.frames().mean(axis=0).ravel() for m in (movie, bright.movie)]
    assert np.corrcoef(images)[0, 1] > 0.99


def test_new_cells_are_as_bright_as_stated(bright, discs):
    dff = transients(3, 500, 10.0, np.random.default_rng(0))
    baseline = np.array([100.0, 60.0, 200.0])
    made = simulate.hybrid(bright.movie, discs, dff, baseline=baseline, config=CONFIG, seed=3)
    without = simulate.hybrid(bright.movie, discs, dff.replace(values=0 * dff.values), config=CONFIG, seed=3)
    np.testing.assert_allclose(made.calcium.values, dff.values, atol=1e-6)
    for trace, rest, truth, full in zip(read(made.movie, discs), read(without.movie, discs), dff.values, baseline, strict=True):
        assert np.polyfit(truth, trace, 1)[0] == pytest.approx(full, rel=0.1)  # the background is in the way
        assert np.polyfit(truth, trace - rest, 1)[0] == pytest.approx(full, rel=0.01)
        assert np.corrcoef(trace, truth)[0, 1] > 0.8


def test_by_default_a_cell_shines_as_the_tissue_it_lies_in(bright, discs):
    dff = Traces(np.ones((3, 60)), 10.0, "dff")
    made, without = (simulate.hybrid(bright.movie, discs, d, config=CONFIG) for d in (dff, dff.replace(values=0 * dff.values)))
    mean = bright.movie.frames().mean(axis=0).ravel() - simulate.OFFSET
    expected = [np.median(mean[row.indices]) for row in discs.masks]
    added = (read(made.movie, discs) - read(without.movie, discs)).mean(axis=1)
    np.testing.assert_allclose(added, expected, rtol=0.05)


def test_the_gain_is_found_and_light_brings_its_shot_noise(bright, discs):
    ground = find_ground(np.random.default_rng(0), bright.movie, offset=simulate.OFFSET, tile_px=32, background_px=40)
    assert ground.gain == pytest.approx(20, rel=0.15)  # counts a photon in the simulation
    dff = Traces(np.ones((3, 400)), 10.0, "dff")
    lit, dark = (simulate.hybrid(bright.movie, discs, dff, baseline=np.full(3, level), config=CONFIG) for level in (300.0, 0.0))
    lit, dark = (np.diff(s.movie.frames().astype(float).reshape(400, -1), axis=0).var(axis=0) / 2 for s in (lit, dark))
    inside = np.asarray(discs.masks.sum(axis=0)).ravel() > 0
    assert (lit - dark)[inside].mean() == pytest.approx(300 * ground.gain, rel=0.1)
    np.testing.assert_array_equal(lit[~inside], dark[~inside])


@pytest.mark.parametrize("config", [CONFIG, WHOLE], ids=["blocks", "whole frames"])
def test_noise_grows_with_brightness_as_it_did(bright, config):
    movie = simulate.hybrid(bright.movie, *nobody((64, 72), 400, 10.0), config=config).movie
    np.testing.assert_allclose(noise_by_brightness(movie), noise_by_brightness(bright.movie), rtol=0.06)
    assert neighbour_correlation(movie) == pytest.approx(neighbour_correlation(bright.movie), abs=0.02)


def test_motion_does_not_smooth_the_noise(bright):
    still, moving = (
        simulate.hybrid(bright.movie, *nobody((64, 72), 400, 10.0), config=dataclasses.replace(CONFIG, motion_px=px)).movie
        for px in (0.0, 3.0)
    )
    ratio = noise_by_brightness(moving) / noise_by_brightness(still)
    assert ratio.min() > 0.97  # interpolation would leave about a half
    assert ratio.max() < 1.2  # the tissue itself now passes by the pixels


def test_equal_seeds_give_equal_movies_and_others_do_not(bright, discs):
    dff = transients(3, 50, 10.0, np.random.default_rng(0))
    config = dataclasses.replace(CONFIG, motion_px=2.0)
    first, second, other = (
        simulate.hybrid(bright.movie, discs, dff, config=config, seed=seed).movie.data for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).mean() > 0.5


def test_true_shifts_undo_the_motion(bright, discs):
    dff = transients(3, 100, 10.0, np.random.default_rng(0))
    config = dataclasses.replace(CONFIG, motion_px=5.0, field_px=1.0, background=0.0)
    made = simulate.hybrid(bright.movie, discs, dff, config=config, seed=2)
    corrected = motion.apply_shifts(made.movie, made.shifts).data
    assert np.abs(made.shifts.yx).max() > 2
    before, after = (
        np.corrcoef(frames.mean(axis=0)[BORDER[1:]].ravel(), made.shifts.template[BORDER[1:]].ravel())[0, 1]
        for frames in (made.movie.data, corrected)
    )
    assert after > 0.95
    assert 1 - after < 0.5 * (1 - before)


def test_a_hybrid_may_outlast_the_real_movie(bright, discs):
    made = simulate.hybrid(bright.movie, discs, transients(3, 900, 10.0, np.random.default_rng(0)), config=CONFIG)
    frames = made.movie.frames().reshape(900, -1).astype(np.float32)
    assert len(made.calcium.values.T) == 900
    assert frames[:450].std() == pytest.approx(frames[450:].std(), rel=0.03)
    repeats = np.corrcoef(
        frames[:400, :400] - frames[:, :400].mean(axis=0), frames[400:800, :400] - frames[:, :400].mean(axis=0)
    )
    assert np.abs(np.diag(repeats[:400, 400:])).mean() < 0.1


def test_traces_are_averaged_over_each_frame():
    t = np.arange(3000) / 50
    fast = np.sin(2 * np.pi * 0.5 * t)[None]
    slow = average_frames(fast, 50.0, 7.0)
    assert slow.shape == (1, 420)
    edges = np.arange(421) / 7 - 0.5 / 50  # a sample stands for the time around it
    exact = -np.diff(np.cos(np.pi * edges)) / np.pi * 7
    np.testing.assert_allclose(slow[0], exact, atol=0.01)
    np.testing.assert_allclose(average_frames(np.full((2, 30), 3.0), 10.0, 30.0), np.full((2, 90), 3.0))
    np.testing.assert_allclose(average_frames(fast, 50.0, 50.0), fast, atol=1e-9)
    assert average_frames(np.zeros((0, 50)), 50.0, 7.0).shape == (0, 7)


def test_spikes_are_counted_in_their_frames(bright, discs):
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.05, (3, 2000))
    spikes = Traces(counts, 50.0, "spikes")
    made = simulate.hybrid(bright.movie, discs, spikes.replace(kind="dff"), spikes=spikes, config=CONFIG).spikes.values
    np.testing.assert_array_equal(made, counts.reshape(3, 400, 5).sum(axis=2))
    shorter = spikes.replace(values=counts[:, :-1])  # by less than a frame
    made = simulate.hybrid(bright.movie, discs, spikes.replace(kind="dff"), spikes=shorter, config=CONFIG)
    assert made.spikes.values.shape == made.calcium.values.shape
    np.testing.assert_array_equal(made.spikes.values[:, :-1], counts.reshape(3, 400, 5).sum(axis=2)[:, :-1])


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_ordinary_extremes(dtype):
    rng = np.random.default_rng(0)
    frames = rng.poisson(50, (40, 13, 29)).astype(dtype)
    image = np.zeros((1, 13, 29))
    image[0, 5:9, 10:14] = 1
    silent = Traces(np.zeros((1, 50)), 20.0, "dff")
    config = simulate.HybridConfig(motion_px=2.0, field_px=0.5)
    for cells, dff in ((Footprints.from_images(image), silent), nobody((13, 29), 1, 20.0)):
        made = simulate.hybrid(Movie(frames, fs=20.0), cells, dff, config=config)
        assert made.movie.data.dtype == dtype
        assert made.movie.shape == (dff.n_frames, 13, 29)
        assert not made.spikes.values.any()
        assert made.movie.frames().std() == pytest.approx(np.sqrt(50), rel=0.2)


def test_frames_without_noise_stay_as_they_are():
    frames = np.full((30, 12, 12), 7, dtype=np.uint16)
    for shuffle in (4, None):
        config = simulate.HybridConfig(shuffle_px=shuffle)
        made = simulate.hybrid(Movie(frames, fs=5.0), *nobody((12, 12), 30, 5.0), config=config)
        np.testing.assert_array_equal(made.movie.data, frames)


def test_what_does_not_fit_is_refused(bright, discs):
    dff = transients(3, 50, 10.0, np.random.default_rng(0))
    holes = dff.replace(values=np.where(np.arange(50) == 7, np.nan, dff.values))
    broken = bright.movie.frames().astype(np.float32)
    broken[12, 3, 3] = np.nan
    cases = [
        ("at least 30 frames", (Movie(bright.movie.frames(0, 10), fs=10.0), discs, dff), {}),
        ("footprints must be of the movie's size", (bright.movie, Footprints.from_images(np.ones((3, 5, 5))), dff), {}),
        (r"one row a footprint \(3\), got 2", (bright.movie, discs, dff.select(np.array([0, 1]))), {}),
        ("traces must be finite.*frame 7", (bright.movie, discs, holes), {}),
        ("movie must be finite.*frame 12", (Movie(broken, fs=10.0), discs, dff), {}),
        ("must last at least a frame", (bright.movie, discs, Traces(np.zeros((3, 2)), 100.0, "dff")), {}),
        ("baseline must be 3 finite numbers", (bright.movie, discs, dff), {"baseline": np.ones(2)}),
        ("spikes must have the rows", (bright.movie, discs, dff), {"spikes": Traces(np.zeros((3, 9)), 10.0, "spikes")}),
    ]  # fmt: skip
    for message, arguments, options in cases:
        with pytest.raises(ValueError, match=message):
            simulate.hybrid(*arguments, **options)
    for change, message in (({"tile_px": 0}, "tile_px"), ({"motion_px": -1.0}, "motion_px"), ({"motion_px": 12.0}, "below 12")):
        with pytest.raises(ValueError, match=message):
            simulate.HybridConfig(**change)


@pytest.mark.real
@pytest.mark.skipif(DATA is None, reason="needs the recordings of CALCIUM_DATA_DIR")
def test_a_real_two_photon_field_forgets_its_cells_and_keeps_its_noise():
    frames = tifffile.imread(Path(DATA) / "2p_neurofinder_7hz.tif")[:, :96, :96]
    regions = json.loads((Path(DATA) / "2p_neurofinder_7hz_regions.json").read_text())["regions"]
    images = np.zeros((len(regions), 192, 192))
    for image, region in zip(images, regions, strict=True):
        image[tuple(np.array(region["coordinates"]).T)] = 1
    images = images[:, :96, :96][images[:, :96, :96].sum(axis=(1, 2)) > 30]
    movie, cells = Movie(frames, fs=7.0), Footprints.from_images(images)
    config = simulate.HybridConfig(background=0.0)
    made = simulate.hybrid(movie, *nobody((96, 96), 600, 7.0), config=config).movie
    rng = np.random.default_rng(0)
    # without memory: each row in an order of its own
    white = Movie(np.stack([frames[rng.permutation(600), y] for y in range(96)], axis=1), fs=7.0)
    real, after, chance = (looks(m, cells) for m in (movie, made, white))
    assert real[0] > 2.5 * chance[0]
    assert after[0] < 1.1 * chance[0]
    assert real[1] > 0.7 > 0.2 > after[1]
    assert real[2] > 0.1 > 0.02 > abs(after[2])
    np.testing.assert_allclose(noise_by_brightness(made), noise_by_brightness(movie), rtol=0.06)
    # a quarter of the neighbours lie in two blocks, and what the real background flickers is not put back here
    assert neighbour_correlation(made) == pytest.approx(neighbour_correlation(movie), abs=0.03)


@pytest.mark.real
@pytest.mark.skipif(DATA is None, reason="needs the recordings of CALCIUM_DATA_DIR")
def test_a_real_one_photon_field_forgets_its_cells_and_keeps_its_noise():
    reference = np.load(Path(DATA) / "1p_miniscope_reference.npz")
    frames = tifffile.imread(Path(DATA) / "1p_miniscope.tif")
    moved = [np.roll(f, tuple(s), axis=(0, 1)) for f, s in zip(frames, reference["shifts_yx"].astype(int), strict=True)]
    part = np.s_[:, 40:136, 40:136]
    movie = Movie(np.stack(moved)[part].astype(np.uint16) * 16, fs=15.0)
    images = np.where(reference["A"] > 0.2 * reference["A"].max(axis=(1, 2), keepdims=True), 1.0, 0.0)[part]
    cells = Footprints.from_images(images[images.sum(axis=(1, 2)) > 60])
    config = simulate.HybridConfig(shuffle_px=None, background_px=90, background=0.0)
    made = simulate.hybrid(movie, *nobody((96, 96), 1000, 15.0), config=config).movie
    real, after = looks(movie, cells), looks(made, cells)
    assert real[0] > 12 > 3 > after[0]
    assert real[1] > 1.2 > 0.2 > after[1]
    assert real[2] > 0.04 > 0.02 > abs(after[2])
    np.testing.assert_allclose(noise_by_brightness(made), noise_by_brightness(movie), rtol=0.25)
    assert neighbour_correlation(made) == pytest.approx(neighbour_correlation(movie), abs=0.1)
