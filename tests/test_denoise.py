"""Denoising against the noiseless movie, against noise that is noise alone, and on a real recording."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from calcium_helpers.containers import Movie, Traces
from calcium_helpers.denoise import DenoiseConfig, denoise, estimate_share_removed
from calcium_helpers.denoise.basis import image_roughness, roughness_limit
from calcium_helpers.denoise.courses import smooth_courses
from calcium_helpers.denoise.pieces import cut_spans
from calcium_helpers.workdir import new_array

FS = 30.0
NOISE = 10.0


def make_scene(shape=(1800, 50, 70), seed=0):
    """Four cells that fire now and then on an uneven background: the noiseless frames and the cells' masks."""
    rng = np.random.default_rng(seed)
    n_frames, height, width = shape
    y, x = np.mgrid[:height, :width]
    images, frames = [], np.full(shape, 100.0) + 20 * np.sin(x / 9) * np.cos(y / 7)
    for cy, cx in ((12, 12), (12, 33), (33, 33), (36, 56)):
        image = np.exp(-((((y - cy) ** 2 + (x - cx) ** 2) / (2 * 3.0**2)) ** 2))
        course = lfilter([1.0], np.poly(np.exp(-1 / (np.array([0.6, 0.05]) * FS))), rng.poisson(0.3 / FS, n_frames))
        frames += 4.0 * course[:, None, None] * image
        images.append(image > 0.3)
    return frames.astype(np.float32), np.array(images)


@pytest.fixture(scope="module")
def scene():
    clean, masks = make_scene()
    noisy = clean + np.random.default_rng(1).normal(0, NOISE, clean.shape).astype(np.float32)
    return clean, noisy, masks


@pytest.fixture(scope="module")
def denoised(scene):
    return denoise(Movie(scene[1], fs=FS))


def traces(frames, masks):
    return np.stack([frames[:, mask].mean(axis=1) for mask in masks])


def test_cells_gain_and_peaks_keep_their_height(scene, denoised):
    clean, noisy, masks = scene
    truth, before, after = (traces(frames, masks) for frames in (clean, noisy, denoised.movie.data))
    gain = (before - truth).std(axis=1) / (after - truth).std(axis=1)
    assert np.median(gain) > 2.7
    for x, y in zip(truth, after, strict=True):
        high = x - np.median(x) > 3 * NOISE / np.sqrt(masks[0].sum())
        assert high.sum() > 50
        assert ((x - np.median(x))[high] @ (y - np.median(x))[high]) / ((x - np.median(x))[high] ** 2).sum() > 0.93
    pixels = masks.any(axis=0)
    errors = [(frames - clean)[:, pixels].std(axis=0) for frames in (noisy, denoised.movie.data)]
    assert np.median(errors[0]) > 8 * np.median(errors[1])


def test_the_gain_is_told_without_truth(scene, denoised):
    clean, noisy, masks = scene
    truth, before, after = (traces(frames, masks) for frames in (clean, noisy, denoised.movie.data))
    gain = np.median((before - truth).std(axis=1) / (after - truth).std(axis=1))
    share = estimate_share_removed(Traces(before, FS, "raw"), Traces(after, FS, "raw"))
    assert 1 / np.sqrt(1 - np.median(share)) == pytest.approx(gain, rel=0.25)


def test_more_than_the_noise_was_taken(scene):
    """A flattened trace has lost its signal: the share says so; a constant trace has no noise to take."""
    _, noisy, masks = scene
    before = Traces(traces(noisy, masks), FS, "raw")
    flat = before.replace(values=np.zeros_like(before.values))
    assert (estimate_share_removed(before, flat) > 1.5).all()
    assert np.isnan(estimate_share_removed(flat, flat)).all()
    with pytest.raises(ValueError, match="shape of raw"):
        estimate_share_removed(before, before.replace(values=before.values[:, 1:]))


def test_what_is_known_of_the_movie_stays(denoised):
    assert denoised.movie.shape == (1800, 50, 70)
    assert denoised.movie.fs == FS
    assert "denoised" in denoised.movie.history[-1]
    assert denoised.movie.data.dtype == np.float32


def test_noise_and_mean_of_each_pixel(scene, denoised):
    _, noisy, _ = scene
    assert np.median(denoised.noise) == pytest.approx(NOISE, rel=0.03)
    assert np.abs(denoised.movie.data.mean(axis=0) - noisy.mean(axis=0)).max() < 0.1 * NOISE


def test_no_seams(scene, denoised):
    """The error where blocks begin or end is no larger than in the middle of the overlaps and of the blocks."""
    clean = scene[0]
    error = (denoised.movie.data - clean).astype(np.float64)
    for axis, length in ((1, 50), (2, 70)):
        edges = [edge for span in cut_spans(length, 24, 8) for edge in (span.start, span.stop) if 0 < edge < length]
        assert edges
        steps = np.moveaxis(np.diff(error, axis=axis) ** 2, axis, 0).mean(axis=(1, 2))
        at = np.zeros(length - 1, dtype=bool)
        at[np.array(edges) - 1] = True
        assert np.sqrt(steps[at].mean() / steps[~at].mean()) < 1.2


def test_weights_of_spans_sum_to_one():
    for length in (1, 5, 23, 24, 25, 31, 33, 40, 41, 57, 100, 513):
        total = np.zeros(length)
        spans = cut_spans(length, 24, 8)
        for span in spans:
            total[span.inside] += span.weights
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert all(a.stop <= b.start for a, b in zip(spans, spans[2:], strict=False))


def test_white_noise_leaves_nothing():
    noise = np.random.default_rng(2).normal(50, 5, (600, 96, 96))
    result = denoise(Movie(noise, fs=FS))
    n_blocks = result.rank.size
    assert (result.rank > 0).sum() <= binom.ppf(0.999, n_blocks, DenoiseConfig().false_components)
    quiet = np.median(result.movie.data.std(axis=0))
    assert quiet < 1e-3


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_each_test_alone_holds_its_rate(rate):
    """Singular vectors of decomposed white noise: neither images nor courses pass in more blocks than was asked for."""
    rng = np.random.default_rng(3)
    n_blocks, shape, n_bins = 300, (8, 8), 90
    passed = np.zeros((n_blocks, 2), dtype=bool)
    for index in range(n_blocks):
        courses, _, images = np.linalg.svd(rng.standard_normal((n_bins, shape[0] * shape[1])), full_matrices=False)
        for column, parts in enumerate((images.reshape(-1, *shape), courses.T[:, None])):
            passed[index, column] = (image_roughness(parts) <= roughness_limit(parts.shape[1:], len(parts), rate)).any()
    # The limit is itself estimated from 50 draws beyond it: to a seventh or so.
    assert (passed.sum(axis=0) <= binom.ppf(0.999, n_blocks, 1.25 * rate)).all()
    assert (passed.sum(axis=0) >= binom.ppf(0.001, n_blocks, rate / 2)).all()


def test_noise_that_interpolation_made_smooth_leaves_next_to_nothing():
    noise = np.random.default_rng(4).normal(0, 5, (600, 73, 73))
    smooth = (noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]) / 4
    rank = denoise(Movie(smooth, fs=FS)).rank
    assert (rank > 0).sum() <= binom.ppf(0.999, rank.size, DenoiseConfig().false_components)


def test_courses_without_thresholds_come_back():
    courses = np.random.default_rng(5).normal(size=(3, 501)).astype(np.float32)
    np.testing.assert_allclose(smooth_courses(courses, n_scales=5, false_details=1 - 1e-9), courses, atol=0.7)
    assert smooth_courses(courses, n_scales=0, false_details=0.01) is courses


def test_details_of_noise_are_kept_at_the_stated_rate():
    """Where nothing is kept, only means over 16 frames are left: their sd is a quarter of the noise's or less."""
    noise = np.random.default_rng(6).normal(size=(20, 3000)).astype(np.float32)
    assert smooth_courses(noise, n_scales=4, false_details=1e-4).std() < 0.27
    some = smooth_courses(noise, n_scales=4, false_details=0.05).std()
    assert 0.27 < some < 0.7


def test_a_step_is_kept_to_the_frame():
    step = np.zeros((1, 400), dtype=np.float32)
    step[:, 200:] = 20
    noise = np.random.default_rng(7).normal(size=step.shape).astype(np.float32)
    found = smooth_courses(step + noise, n_scales=4, false_details=0.001)
    assert found[0, 199] < 3
    assert found[0, 200] > 17


def test_the_sign_of_the_signal_does_not_matter(scene):
    noisy = scene[1][:400]
    up = denoise(Movie(noisy, fs=FS)).movie.data
    down = denoise(Movie(200 - noisy, fs=FS)).movie.data
    np.testing.assert_allclose(200 - down, up, atol=1e-2)


def test_threads_do_not_change_the_result(scene):
    movie = Movie(scene[1][:300], fs=FS)
    one, four = (denoise(movie, threads=n) for n in (1, 4))
    np.testing.assert_array_equal(one.rank, four.rank)
    np.testing.assert_allclose(one.movie.data, four.movie.data, rtol=1e-5)


def test_windows_of_time_meet_without_a_step(scene):
    clean, noisy, masks = scene
    result = denoise(Movie(noisy, fs=FS), config=DenoiseConfig(window_s=11.0))
    assert len(result.rank) == 6
    error = traces(result.movie.data - clean, masks)
    steps = np.abs(np.diff(error, axis=1)).mean(axis=0)
    edges = [edge for span in cut_spans(1800, 330, 16) for edge in (span.start, span.stop) if 0 < edge < 1800]
    assert steps[np.array(edges) - 1].mean() < 3 * steps.mean()
    before = traces(noisy - clean, masks).std(axis=1)
    assert np.median(before / error.std(axis=1)) > 1.5


def test_a_memory_map_is_read_and_written(scene, tmp_path):
    np.save(tmp_path / "movie.npy", scene[1][:200])
    movie = Movie(np.load(tmp_path / "movie.npy", mmap_mode="r"), fs=FS)
    with new_array(tmp_path / "out.npy", movie.shape) as out:
        out[:] = np.nan  # what was there does not matter
        assert denoise(movie, out=out).movie.data is out
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), denoise(Movie(scene[1][:200], fs=FS)).movie.data)


def test_bad_frames_do_not_reach_the_others(scene):
    spoilt = scene[1][:300].copy()
    bad = np.array([0, 50, 51, 299])
    spoilt[bad] = np.nan
    result = denoise(Movie(spoilt, fs=FS), bad_frames=bad).movie.data
    good = denoise(Movie(scene[1][:300], fs=FS)).movie.data
    assert np.isfinite(result).all()
    assert np.abs(result - good).mean() < 0.1 * NOISE


@pytest.mark.parametrize(
    "shape", [(1, 9, 7), (2, 9, 7), (3, 4, 4), (5, 1, 1), (300, 1, 1), (60, 1, 40), (90, 33, 2), (40, 25, 49)], ids=str
)
def test_odd_shapes(shape):
    frames = np.random.default_rng(8).integers(0, 200, shape).astype(np.uint16)
    frames[:, 0, 0] = 7
    result = denoise(Movie(frames, fs=FS))
    assert result.movie.shape == shape
    assert np.isfinite(result.movie.data).all()
    np.testing.assert_allclose(result.movie.data[:, 0, 0], 7, atol=1e-4)
    if shape[0] < 3:
        np.testing.assert_array_equal(result.movie.data, frames)


def test_a_constant_movie_stays():
    result = denoise(Movie(np.full((50, 30, 30), 3, dtype=np.uint8), fs=FS))
    np.testing.assert_array_equal(result.movie.data, 3)
    assert result.rank.max() == 0


def test_what_cannot_be_done_is_refused():
    frames = np.ones((10, 8, 8), dtype=np.float32)
    movie = Movie(frames, fs=FS)
    with pytest.raises(ValueError, match="out must have the movie's shape"):
        denoise(movie, out=np.zeros((10, 8, 9), dtype=np.float32))
    with pytest.raises(ValueError, match="own array"):
        denoise(movie, out=frames)
    with pytest.raises(ValueError, match="bad_frames must lie in"):
        denoise(movie, bad_frames=np.array([10]))
    with pytest.raises(ValueError, match="at least one frame"):
        denoise(movie, bad_frames=np.arange(10))
    broken = frames.copy()
    broken[4, 2, 2] = np.nan
    with pytest.raises(ValueError, match="frame 4"):
        denoise(Movie(broken, fs=FS))


@pytest.mark.parametrize(
    "wrong",
    [{"block_px": 5}, {"transient_s": 0.0}, {"window_s": -1.0}, {"false_components": 0.0}, {"false_details": 1.5}],
    ids=str,
)
def test_configuration_is_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DenoiseConfig(**wrong)


@pytest.mark.real
def test_halves_of_a_real_recording_agree():
    """Squares of a chessboard, each colour denoised by itself: nearer to the raw other half than raw is."""
    folder = os.environ.get("CALCIUM_DATA_DIR")
    if not folder:
        pytest.skip("CALCIUM_DATA_DIR is not set")
    import json

    from calcium_helpers.io import load_movie

    movie = load_movie(Path(folder) / "2p_neurofinder_7hz.tif", fs=7.0, progress=False)
    regions = json.loads((Path(folder) / "2p_neurofinder_7hz_regions.json").read_text())["regions"]
    masks = np.zeros((len(regions), *movie.shape[1:]), dtype=bool)
    for mask, region in zip(masks, regions, strict=True):
        mask[tuple(np.array(region["coordinates"]).T)] = True
    frames = movie.frames().astype(np.float32)

    def half(images, parity):
        return np.stack([images[:, y, (y + parity) % 2 :: 2] for y in range(images.shape[1])], axis=1)

    keep = [min(half(masks, parity)[k].sum() for parity in (0, 1)) >= 10 for k in range(len(masks))]
    raw = [traces(half(frames, parity), half(masks[keep], parity)) for parity in (0, 1)]
    done = traces(denoise(Movie(half(frames, 0), fs=7.0)).movie.data, half(masks[keep], 0))
    before = [np.corrcoef(a, b)[0, 1] for a, b in zip(*raw, strict=True)]
    after = [np.corrcoef(a, b)[0, 1] for a, b in zip(done, raw[1], strict=True)]
    assert np.median(after) > np.median(before) + 0.05
