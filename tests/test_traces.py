import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from calcium_helpers.containers import Footprints, Movie, Traces
from calcium_helpers.traces import (
    estimate_baseline,
    estimate_dff,
    estimate_noise,
    estimate_snr,
    extract_traces,
    extract_with_neuropil,
    neuropil_footprints,
    subtract_neuropil,
    unmix,
)
from calcium_helpers.traces import extract as extract_module


class LazyFrames:
    """Counts what is read, and never gives the whole movie at once."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.largest = data, data.shape, data.dtype, 0

    def __getitem__(self, key):
        self.largest = max(self.largest, key.stop - key.start)
        return self.data[key]


def no_traces(kind="raw", frames=20):
    return Traces(np.zeros((0, frames)), 10, kind)


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    images = np.zeros((3, 30, 40))
    images[0, 5:9, 6:10] = rng.uniform(0.1, 1, (4, 4))
    images[1, 7:12, 8:13] = rng.uniform(0.1, 1, (5, 5))
    images[2, 20:22, 30:35] = 1
    return Footprints.from_images(images, ids=[4, 9, 2])


@pytest.fixture
def movie():
    return Movie(np.random.default_rng(1).poisson(500, size=(50, 30, 40)).astype(np.uint16), fs=10)


def test_extraction_is_the_weighted_mean(movie, cells):
    raw = extract_traces(movie, cells)
    weights = np.stack([cells.image(i) for i in range(3)])
    expected = np.einsum("nhw,thw->nt", weights, movie.data) / weights.sum(axis=(1, 2))[:, None]
    assert_allclose(raw.values, expected, rtol=1e-5)
    assert raw.kind == "raw"
    assert_array_equal(raw.ids, [4, 9, 2])


def test_extraction_is_the_same_in_any_chunks_and_reads_lazily(movie, cells, monkeypatch):
    whole = extract_with_neuropil(movie, cells, min_pixels=50)
    lazy = LazyFrames(movie.data)
    monkeypatch.setattr(extract_module, "_CHUNK_BYTES", 7 * 30 * 40 * 4)
    chunked = extract_with_neuropil(movie.replace(data=lazy), cells, min_pixels=50)
    assert lazy.largest == 7
    assert_allclose(chunked.raw.values, whole.raw.values, rtol=1e-5)
    assert_allclose(chunked.neuropil.values, whole.neuropil.values, rtol=1e-5)
    assert_allclose(whole.neuropil.values, extract_traces(movie, neuropil_footprints(cells, min_pixels=50)).values, rtol=1e-5)
    assert whole.neuropil.kind == "neuropil"


def test_extraction_of_no_cell_and_of_one_frame(movie, cells):
    none = cells.select(np.zeros(0, dtype=int))
    both = extract_with_neuropil(movie, none)
    assert both.raw.values.shape == both.neuropil.values.shape == (0, 50)
    assert extract_traces(movie.replace(data=movie.data[:1]), cells).values.shape == (3, 1)


def test_extraction_names_what_is_wrong(movie, cells):
    broken = movie.data.astype(np.float32)
    broken[17, 6, 7] = np.nan
    with pytest.raises(ValueError, match="frame 17"):
        extract_traces(movie.replace(data=broken), cells)
    with pytest.raises(ValueError, match=r"\(29, 40\).*\(30, 40\)"):
        extract_traces(movie.replace(data=movie.data[:, 1:]), cells)


def test_rings_avoid_all_cells_and_grow_until_large_enough(cells):
    rings = neuropil_footprints(cells, inner_px=2, min_pixels=80)
    occupied = np.asarray(cells.masks.sum(axis=0)).reshape(30, 40) > 0
    y, x = np.indices((30, 40))
    for i in range(3):
        ring, cell = rings.image(i) > 0, cells.image(i) > 0
        distance = np.sqrt((y[ring][:, None] - y[cell]) ** 2 + (x[ring][:, None] - x[cell]) ** 2).min(axis=1)
        assert not (ring & occupied).any()
        assert distance.min() > 2
        assert 80 <= ring.sum() < 110
        nearer = ~occupied & ~ring
        gap = np.sqrt((y[nearer][:, None] - y[cell]) ** 2 + (x[nearer][:, None] - x[cell]) ** 2).min(axis=1)
        assert gap[gap > 2].min() > distance.max() - 1e-9
    assert_array_equal(rings.ids, cells.ids)


def test_rings_are_never_empty():
    whole = np.ones((1, 6, 6))
    halves = np.zeros((2, 6, 6))
    halves[0, :3], halves[1, 3:] = 1, 1
    assert neuropil_footprints(Footprints.from_images(whole)).area_px[0] == 36
    crowded = neuropil_footprints(Footprints.from_images(halves), inner_px=1)
    assert not (crowded.masks.multiply(Footprints.from_images(halves).masks)).nnz
    corner = np.zeros((1, 6, 6))
    corner[0, 0, 0] = 1
    assert neuropil_footprints(Footprints.from_images(corner), inner_px=20).area_px[0] > 0
    with pytest.raises(ValueError, match="min_pixels"):
        neuropil_footprints(Footprints.from_images(corner), min_pixels=0)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.85, 1.0])
def test_fitted_coefficient_ignores_transients(share):
    rng = np.random.default_rng(2)
    around = 100 + np.cumsum(rng.normal(size=(4, 3000)), axis=1) * 0.5
    cell = 40 + rng.normal(size=(4, 3000))
    for start in (200, 900, 1500, 2600):
        cell[:, start : start + 150] += 60 * np.exp(-np.arange(150) / 40)
    raw = Traces(cell + share * around, 30, "raw")
    corrected = subtract_neuropil(raw, Traces(around, 30, "neuropil"), coefficient="fit")
    fitted = ((raw.values - corrected.values) / around).mean(axis=1)
    assert_allclose(fitted, share, atol=0.05)
    assert (fitted <= 1 + 1e-6).all()


def test_fixed_coefficient_and_its_errors():
    raw, around = Traces(np.full((2, 5), 10.0), 10, "raw"), Traces(np.full((2, 5), 4.0), 10, "neuropil")
    assert_allclose(subtract_neuropil(raw, around).values, 10 - 0.7 * 4)
    assert_allclose(subtract_neuropil(raw, around, coefficient="fit").values, 10)
    assert len(subtract_neuropil(no_traces(), no_traces("neuropil"), coefficient="fit")) == 0
    for wrong in (-0.1, 1.2, "fitted", float("nan")):
        with pytest.raises(ValueError, match="coefficient"):
            subtract_neuropil(raw, around, coefficient=wrong)
    with pytest.raises(ValueError, match="same cells"):
        subtract_neuropil(raw, around.replace(ids=[1, 0]))


def simulated(noise=1.0, frames=6000, fs=30.0):
    """Counts with a bleaching baseline of 100, transients of dF/F 1, and white noise."""
    rng = np.random.default_rng(3)
    f0 = 100 * np.exp(-np.arange(frames) / frames / 4)
    spikes = np.zeros(frames)
    spikes[rng.choice(frames, 40, replace=False)] = 1
    dff = np.convolve(spikes, np.exp(-np.arange(200) / 18))[:frames]
    return Traces(f0 * (1 + dff) + rng.normal(scale=noise, size=(3, frames)), fs, "raw"), f0, dff


@pytest.mark.parametrize("baseline", ["percentile", "maximin"])
def test_dff_recovers_the_truth(baseline):
    raw, f0, dff = simulated()
    assert_allclose(estimate_baseline(raw, baseline=baseline)[0], f0, rtol=0.04)
    estimated = estimate_dff(raw, baseline=baseline)
    assert estimated.kind == "dff"
    assert np.abs(np.median(estimated.values - dff, axis=1)).max() < 0.03
    assert np.corrcoef(estimated.values[0], dff)[0, 1] > 0.99


@pytest.mark.parametrize("baseline", ["percentile", "maximin"])
def test_dff_does_not_depend_on_gain(baseline):
    raw, _, _ = simulated()
    once, amplified = estimate_dff(raw, baseline=baseline), estimate_dff(raw.replace(values=37 * raw.values), baseline=baseline)
    assert_allclose(amplified.values, once.values, atol=1e-4)


@pytest.mark.parametrize("baseline", ["percentile", "maximin"])
def test_an_indicator_that_dims_gives_the_mirrored_trace(baseline):
    raw, f0, dff = simulated()
    dimming = raw.replace(
        values=f0 * (1 - 0.3 * dff / dff.max()) + np.random.default_rng(4).normal(scale=0.3, size=raw.values.shape)
    )
    estimated = estimate_dff(dimming, baseline=baseline, polarity=-1)
    assert np.corrcoef(estimated.values[0], dff)[0, 1] > 0.97
    assert estimated.values[0, dff.argmax()] == pytest.approx(0.3, abs=0.06)
    with pytest.raises(ValueError, match="polarity"):
        estimate_dff(raw, polarity=0)


def test_running_percentile_is_that_of_the_blocks():
    rng = np.random.default_rng(5)
    raw = Traces(rng.gamma(2, size=(1, 600)), 10, "raw")
    means = raw.values.astype(float).reshape(60, 10).mean(axis=1)
    slow = estimate_baseline(raw, window_s=10, percentile=50)  # blocks of 2 frames, 50 a window
    blocks = raw.values.astype(float).reshape(300, 2).mean(axis=1)
    at_centre = slow[0].reshape(300, 2).mean(axis=1)
    inner = np.arange(30, 270)
    expected = [np.sort(blocks[i - 25 : i + 25])[25] for i in inner]
    assert_allclose(at_centre[inner], expected, rtol=0.02)
    assert_allclose(estimate_baseline(raw, window_s=60, percentile=20)[0], np.percentile(means, 20), rtol=1e-6)


def test_floor_keeps_dff_bounded_where_no_light_is_left():
    dark = Traces(np.random.default_rng(6).normal(scale=2, size=(2, 900)), 30, "raw")
    assert np.abs(estimate_dff(dark).values).max() < 10
    assert_array_equal(estimate_dff(Traces(np.zeros((1, 50)), 30, "raw")).values, 0)
    assert_array_equal(estimate_dff(Traces(np.full((1, 50), -5.0), 30, "raw")).values, 0)
    assert_allclose(estimate_dff(Traces(np.full((1, 50), 5.0), 30, "raw")).values, 0, atol=1e-6)


@pytest.mark.parametrize("baseline", ["percentile", "maximin"])
@pytest.mark.parametrize("frames", [1, 2, 3, 31, 61])
def test_short_traces(baseline, frames):
    raw = Traces(np.linspace(5, 6, frames)[None], 30, "raw")
    assert np.isfinite(estimate_dff(raw, baseline=baseline, window_s=1).values).all()
    assert np.isfinite(estimate_noise(raw)).all()
    assert estimate_dff(no_traces(frames=frames), baseline=baseline).values.shape == (0, frames)


def test_nan_names_the_row():
    values = np.ones((3, 8))
    values[1, 5] = np.nan
    traces = Traces(values, 10, "raw", ids=[7, 8, 9])
    for verb in (estimate_dff, estimate_noise, estimate_snr):
        with pytest.raises(ValueError, match=r"row 1 \(id 8\), frame 5"):
            verb(traces)


def test_bad_parameters_are_named():
    raw, _, _ = simulated(frames=100)
    for name, value in (("baseline", "mean"), ("window_s", 0.0), ("percentile", 101), ("f0_floor", -1.0)):
        with pytest.raises(ValueError, match=name):
            estimate_dff(raw, **{name: value})


@pytest.mark.parametrize("frames", [2000, 20000])
def test_noise_of_white_noise_and_under_transients(frames):
    rng = np.random.default_rng(7)
    noise = rng.normal(scale=0.3, size=(20, frames))
    assert_allclose(estimate_noise(Traces(noise, 30, "dff")).mean(), 0.3, rtol=0.03)
    spikes = rng.random((20, frames)) < 0.02
    calcium = np.stack([np.convolve(row, np.exp(-np.arange(100) / 15))[:frames] for row in spikes])
    assert_allclose(estimate_noise(Traces(noise + calcium, 30, "dff")).mean(), 0.3, rtol=0.08)


def test_snr_of_known_transient_and_edge_cases():
    rng = np.random.default_rng(8)
    values = rng.normal(scale=0.1, size=(2, 3000))
    values[1, 1000:1010] += 2
    noise_only, active = estimate_snr(Traces(values, 30, "dff"))
    assert 1.5 < noise_only < 3.5
    assert active == pytest.approx(20, abs=2)
    assert_array_equal(estimate_snr(Traces(np.ones((2, 40)), 30, "dff")), 0)
    assert estimate_snr(no_traces()).shape == (0,)
    assert_array_equal(estimate_noise(Traces(np.ones((2, 1)), 30, "dff")), 0)


def overlapping(n_frames=400, seed=0):
    """Three cells, two of which overlap by half, on an even light; the activity is that of the mean over the footprint."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :48]
    images = np.array([np.hypot(y - 12, x - c) <= 6 for c in (10, 16, 38)]) * rng.uniform(0.5, 1, (3, 24, 48))
    footprints = Footprints.from_images(images)
    activity = np.maximum(rng.normal(size=(3, n_frames)) - 1, 0) * 10
    scale = images.sum(axis=(1, 2)) / (images**2).sum(axis=(1, 2))
    light = 100 + np.einsum("nt,nhw->thw", activity, images * scale[:, None, None])
    return Movie(light, fs=10), footprints, activity


def test_overlapping_cells_get_their_own_light_back():
    movie, footprints, activity = overlapping()
    means = extract_traces(movie, footprints).values - 100
    mixed = np.corrcoef(means[0], activity[1])[0, 1]
    np.testing.assert_allclose(unmix(means, footprints), activity, atol=0.02 * activity.max())
    assert mixed > 0.4
    alone = footprints.select([0, 2])
    assert unmix(means[[0, 2]], alone) is not None
    np.testing.assert_array_equal(unmix(means[[0, 2]], alone), means[[0, 2]])  # none overlaps: nothing changes


def test_dff_of_overlapping_cells_and_relative_to_all_light():
    movie, footprints, activity = overlapping()
    raw = extract_traces(movie, footprints)
    dff = estimate_dff(raw, footprints=footprints).values
    correlation = np.corrcoef(np.vstack([dff, activity]))[:3, 3:]
    np.testing.assert_allclose(np.diag(correlation), 1, atol=1e-3)
    assert abs(correlation[0, 1]) < 0.15
    with pytest.raises(ValueError, match=r"relative_to must have the shape of raw \(3, 400\), got \(1, 400\)"):
        estimate_dff(raw, relative_to=raw.select([0]))
    own = raw.replace(values=raw.values - 90)  # a tenth of the light is the cells' own
    np.testing.assert_allclose(estimate_dff(own, relative_to=raw).values, estimate_dff(own).values / 10, rtol=0.02, atol=1e-3)


def test_unmixing_bears_equal_footprints_none_and_a_wrong_count():
    _, footprints, activity = overlapping()
    first = footprints.weights[[0]]
    twice = Footprints(sparse.vstack([first, first]).tocsr(), footprints.shape)
    shared = unmix(activity[[0, 0]], twice)
    np.testing.assert_allclose(shared.sum(axis=0), activity[0], rtol=1e-2)
    assert unmix(np.zeros((0, 5)), footprints.select([])).shape == (0, 5)
    with pytest.raises(ValueError, match=r"changes must have a row a footprint \(3\), got 2"):
        unmix(activity[:2], footprints)
