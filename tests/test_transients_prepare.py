"""Normalised movies: the slow course goes, events stay, in units of the foreground."""

import numpy as np
import pytest

from calcium_helpers.containers import Movie
from calcium_helpers.transients import prepare
from calcium_helpers.transients.prepare import fit_baseline, normalise


def arpls_dense(trace, smoothness):
    """The published iteration, with dense matrices."""
    differences = np.diff(np.eye(len(trace)), 2, axis=0)
    weights = np.eye(len(trace))
    for _ in range(50):
        course = np.linalg.solve(weights + smoothness * differences.T @ differences, weights @ trace)
        above = trace - course
        mean, sd = above[above < 0].mean(), above[above < 0].std()
        new = np.diag(1 / (1 + np.exp(np.clip(2 * (above - (2 * sd - mean)) / sd, -700, 700))))
        if np.linalg.norm(np.diag(weights - new)) < 1e-6 * np.linalg.norm(np.diag(weights)):
            break
        weights = new
    return course


@pytest.mark.parametrize("smoothness", [1e2, 1e5])
def test_the_baseline_is_the_published_one(smoothness):
    rng = np.random.default_rng(0)
    trace = np.cos(np.arange(150) / 30) + 0.05 * rng.standard_normal(150) + 2 * (rng.random(150) > 0.95)
    np.testing.assert_allclose(fit_baseline(trace, smoothness=smoothness), arpls_dense(trace, smoothness), atol=1e-6)


def test_the_baseline_passes_below_events():
    rng = np.random.default_rng(1)
    slow = 100 + 5 * np.cos(np.arange(400) / 60) - 0.02 * np.arange(400)
    trace = slow + 0.2 * rng.standard_normal(400)
    for onset in (40, 150, 222, 310):
        trace[onset : onset + 12] += 8 * np.exp(-np.arange(12) / 5)
    assert np.abs(fit_baseline(trace) - slow).max() < 0.6


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_short_and_flat_traces(n):
    np.testing.assert_allclose(fit_baseline(np.full(n, 7.0)), np.full(n, 7.0))


def make_movie(n=200):
    """A bright disc on a dim ground, bleaching, one event."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:40, :50]
    image = np.where((y - 20) ** 2 + (x - 25) ** 2 < 60, 400.0, 100.0) + rng.random((40, 50))
    frames = image * np.linspace(1, 0.8, n)[:, None, None]
    frames[100:110, 18:23, 23:28] += 200
    return frames, image


def test_units_and_baseline():
    frames, _ = make_movie()
    done = normalise(Movie(frames.astype(np.uint16), fs=10, pixel_um=0.2))
    assert done.data.dtype == np.float32
    assert (done.fs, done.pixel_um) == (10, 0.2)
    assert len(done.history) == 1
    foreground = 400 * 0.9
    event = done.data[104, 18:23, 23:28].mean() - done.data[95, 18:23, 23:28].mean()
    assert event == pytest.approx(200 / foreground, rel=0.03)
    mean = done.data.mean(axis=(1, 2))
    assert np.abs(np.delete(mean, range(95, 115))).max() < 0.01  # bleaching was 0.07 of it


def test_chunks_change_nothing(monkeypatch):
    movie = Movie(make_movie()[0], fs=10)
    whole = normalise(movie)
    monkeypatch.setattr("calcium_helpers.movie.CHUNK_BYTES", 7 * 40 * 50 * 4)
    out = np.zeros(movie.shape, np.float32)
    assert normalise(movie, out=out).data is out
    np.testing.assert_allclose(out, whole.data, atol=1e-6)


def test_constant_and_tiny_movies():
    assert not normalise(Movie(np.full((5, 3, 4), 9.0), fs=10)).data.any()
    assert np.isfinite(normalise(Movie(np.array([[[3, 5]]]), fs=10)).data).all()


def test_what_cannot_be_normalised_is_said():
    frames = make_movie(20)[0]
    frames[13, 2, 2] = np.nan
    with pytest.raises(ValueError, match="frame 13"):
        normalise(Movie(frames, fs=10))
    with pytest.raises(ValueError, match="foreground above 0"):
        normalise(Movie(np.zeros((4, 5, 6)), fs=10))
    with pytest.raises(ValueError, match="out must have"):
        normalise(Movie(np.ones((4, 5, 6)), fs=10), out=np.zeros((4, 5, 7), np.float32))
    with pytest.raises(ValueError, match="smoothness"):
        fit_baseline(np.ones(9), smoothness=0.0)
    assert prepare.SMOOTHNESS == 1e3
