"""Summary images against plain NumPy, and that the size of a chunk changes nothing."""

import numpy as np
import pytest

import calcium_helpers.movie
from calcium_helpers.containers import Movie
from calcium_helpers.movie import find_gaps, iter_chunks, summarise

RNG = np.random.default_rng(0)
FRAMES = (RNG.poisson(20, (53, 9, 11)) + 5 * RNG.poisson(1, (53, 1, 1))).astype(np.uint16)


def set_chunk(monkeypatch, n_frames, shape=(9, 11)):
    monkeypatch.setattr(calcium_helpers.movie, "CHUNK_BYTES", 4 * n_frames * shape[0] * shape[1])


def means_of(frames, group):
    n = len(frames) // group
    return frames[: n * group].reshape(n, group, *frames.shape[1:]).astype(float).mean(axis=1)


def neighbour_correlation(frames):
    """Mean of np.corrcoef with each of the up to eight neighbours, pixel by pixel."""
    _, height, width = frames.shape
    image = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            around = [
                np.corrcoef(frames[:, y, x], frames[:, v, u])[0, 1]
                for v in range(max(y - 1, 0), min(y + 2, height))
                for u in range(max(x - 1, 0), min(x + 2, width))
                if (v, u) != (y, x)
            ]
            image[y, x] = np.mean(around)
    return image


@pytest.mark.parametrize("fs", [2.0, 8.0])
def test_against_plain_numpy(fs):
    images = summarise(Movie(FRAMES, fs=fs))
    means = means_of(FRAMES, round(fs / 2))
    noise = np.sqrt((np.diff(FRAMES.astype(float), axis=0) ** 2).mean(axis=0) / 2 / round(fs / 2))
    np.testing.assert_allclose(images.mean, FRAMES.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(images.max, means.max(axis=0), rtol=1e-6)
    np.testing.assert_allclose(images.pnr, (means.max(axis=0) - FRAMES.mean(axis=0)) / noise, rtol=1e-4)
    np.testing.assert_allclose(images.correlation, neighbour_correlation(means), atol=1e-4)
    assert all(image.dtype == np.float32 for image in images)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 7, 8, 52, 53])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_the_size_of_a_chunk_changes_nothing(monkeypatch, n_frames, dtype):
    movie = Movie(FRAMES.astype(dtype), fs=8)
    whole = summarise(movie)
    set_chunk(monkeypatch, n_frames)
    for name, image, expected in zip(whole._fields, summarise(movie), whole, strict=True):
        np.testing.assert_allclose(image, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_bright_offset_costs_no_digits():
    images, brighter = (summarise(Movie(FRAMES.astype(np.float32) + offset, fs=4)) for offset in (0, 50_000))
    np.testing.assert_allclose(brighter.correlation, images.correlation, atol=2e-3)
    np.testing.assert_allclose(brighter.mean - 50_000, images.mean, atol=0.01)


@pytest.mark.parametrize("value", [7, 100.1, 60_000.3])
@pytest.mark.parametrize("n_frames", [3, 100])
def test_constant_pixels_have_neither_correlation_nor_peak(monkeypatch, value, n_frames):
    frames = RNG.normal(100, 5, (40, 9, 11)).astype(np.float32)
    frames[:, 2:5, 3:6] = value
    set_chunk(monkeypatch, n_frames)
    images = summarise(Movie(frames, fs=4))
    assert images.correlation[3, 4] == images.pnr[3, 4] == 0
    assert np.abs(images.correlation[2:5, 3:6]).max() < 1e-6
    assert all(np.isfinite(image).all() for image in images)


@pytest.mark.parametrize("shape", [(1, 9, 11), (2, 1, 1), (5, 1, 7), (5, 7, 1), (3, 2, 2)])
def test_small_movies(shape):
    images = summarise(Movie(RNG.integers(0, 200, shape).astype(np.uint8), fs=30))
    assert all(image.shape == shape[1:] and np.isfinite(image).all() for image in images)
    if shape[0] == 1:
        assert not images.correlation.any()
        assert not images.pnr.any()


def test_correlation_and_peak_show_a_cell_and_not_noise():
    frames = RNG.normal(100, 5, (600, 20, 20))
    frames[:, 8:12, 8:12] += 20 * (np.arange(600) % 60 < 8)[:, None, None]  # transients of 2 s every 15 s
    images = summarise(Movie(frames.astype(np.float32), fs=4))
    cell = np.zeros((20, 20), bool)
    cell[8:12, 8:12] = True
    assert images.correlation[9:11, 9:11].min() > 0.5
    assert np.abs(images.correlation[~cell]).mean() < 0.1
    assert images.pnr[cell].min() > images.pnr[~cell].max()


@pytest.mark.parametrize("n_frames", [1, 10, 53, 99])
def test_chunks_cover_every_frame_once(monkeypatch, n_frames):
    set_chunk(monkeypatch, n_frames)
    chunks = list(iter_chunks(Movie(FRAMES, fs=30)))
    assert [start for start, _ in chunks] == list(range(0, 53, n_frames))
    assert all(frames.dtype == np.float32 and len(frames) <= n_frames for _, frames in chunks)
    np.testing.assert_array_equal(np.concatenate([frames for _, frames in chunks]), FRAMES)


def test_chunks_hold_one_frame_at_least(monkeypatch):
    monkeypatch.setattr(calcium_helpers.movie, "CHUNK_BYTES", 1)
    assert [len(frames) for _, frames in iter_chunks(Movie(FRAMES[:3], fs=30))] == [1, 1, 1]


def test_progress_is_shown_on_request(capsys):
    summarise(Movie(FRAMES, fs=30))
    assert capsys.readouterr() == ("", "")
    summarise(Movie(FRAMES, fs=30), progress=True)
    assert "summary images" in capsys.readouterr().err


def test_gaps_say_where_how_long_and_how_many_frames():
    kept = np.setdiff1d(np.arange(100), [*range(20, 23), 50])
    times = 3 + kept / 20 + np.random.default_rng(1).uniform(-0.005, 0.005, len(kept))
    gaps = find_gaps(times)
    assert kept[gaps.frames].tolist() == [19, 49]
    assert gaps.missed.tolist() == [3, 1]
    np.testing.assert_array_equal(gaps.starts_s + gaps.lengths_s, times[gaps.frames + 1])
    assert str(gaps).startswith("2 gaps in the frame times, the first after frame 19 (3.9")
    assert str(gaps).endswith("about 4 frames missed")


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 2.0], np.arange(10) / 3], ids=["none", "one", "two", "even"])
def test_even_times_have_no_gaps(times):
    assert find_gaps(np.array(times)).frames.size == 0
