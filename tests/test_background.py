"""Glow goes, cells stay: still and fluctuating background, vessels and vignette of one-photon movies."""

import numpy as np
import pytest
from scipy import ndimage

from calcium_helpers.background import Blur, estimate_share, remove_background, subtract_glow
from calcium_helpers.containers import Movie

SHAPE = (96, 120)
CENTRES = [(20, 22), (48, 60), (70, 100)]


def scene(n_frames=300, seed=0, noise=8.0):
    """Three equal Gaussian cells, active one after another, under a vignette with a vessel and a glow that comes and goes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = 1 - 0.6 * ((y / SHAPE[0] - 0.5) ** 2 + (x / SHAPE[1] - 0.5) ** 2) * 2
    tissue = light * (1 - 0.3 * np.exp(-(((x - y - 30) / 4) ** 2)))
    pattern = ndimage.gaussian_filter(rng.normal(size=SHAPE), 25)
    pattern /= pattern.std()
    course = ndimage.gaussian_filter1d(rng.normal(size=n_frames), 5)
    course /= course.std()
    cells = np.array([light * np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * 3.5**2)) for v, u in CENTRES])
    active = (np.arange(n_frames) * len(CENTRES) // n_frames)[None] == np.arange(len(CENTRES))[:, None]
    glow = 3000 * tissue * (1 + 0.05 * course[:, None, None] * pattern)
    movie = 500 + glow + 200 * np.einsum("nt,nhw->thw", active, cells) + rng.normal(scale=noise, size=(n_frames, *SHAPE))
    return Movie(movie.astype(np.float32), fs=10), active


def test_blur_follows_slow_changes_across_the_field():
    x = np.mgrid[: SHAPE[0], : SHAPE[1]][1]
    blur = Blur(SHAPE, 10.0)
    np.testing.assert_allclose(blur(np.ones(SHAPE, np.float32)), 1, rtol=1e-5)
    wave = np.sin(x / 40.0).astype(np.float32)
    plain = ndimage.gaussian_filter(wave, 10.0)
    middle = np.s_[:, 40:-40]
    assert np.abs(blur(wave) - wave)[middle].max() < 0.2 * np.abs(plain - wave)[middle].max()


def test_share_follows_vessels_and_not_cells():
    movie, _ = scene()
    mean = movie.data.mean(axis=0)
    share = estimate_share(movie.data - mean, mean, Blur(SHAPE, 12.0)).share
    x = np.arange(SHAPE[1])
    vessel = [share[y, y + 30] for y in range(10, SHAPE[0] - 10) if y + 30 < SHAPE[1] - 10]
    assert np.median(vessel) < 0.95
    assert np.median(share[:, x < 25]) == pytest.approx(1, abs=0.03)


def test_glow_goes_and_transients_stay():
    movie, active = scene(noise=1e-3)
    fluctuations = movie.data - movie.data.mean(axis=0)
    before = fluctuations.copy()
    subtract_glow(fluctuations, movie.data.mean(axis=0), sd_px=12.0)
    away = np.ones(SHAPE, bool)
    for y, x in CENTRES:
        away[max(y - 30, 0) : y + 30, max(x - 30, 0) : x + 30] = False
    assert fluctuations[:, away].std() < 0.08 * before[:, away].std()
    for row, (y, x) in enumerate(CENTRES):
        step = fluctuations[active[row], y, x].mean() - fluctuations[~active[row], y, x].mean()
        assert 0.5 < step / 200 < 1.05, row


def test_a_clean_movie_on_a_flat_ground(tmp_path):
    movie, active = scene()
    out = np.lib.format.open_memmap(tmp_path / "clean.npy", mode="w+", dtype=np.float32, shape=movie.shape)
    clean = remove_background(movie, diameter_px=12, out=out)
    assert clean.data is out
    assert clean.history[-1] == "background removed (cells of 12 px, vignette evened out)"
    assert abs(float(np.median(clean.data))) < 5
    dim = remove_background(movie, diameter_px=12, flatten=False)
    assert unevenness(clean, active) < 0.75 * unevenness(dim, active)


def unevenness(movie, active):
    """How much the largest of three equal transients exceeds the smallest."""
    steps = [movie.data[active[n], y, x].mean() - movie.data[~active[n], y, x].mean() for n, (y, x) in enumerate(CENTRES)]
    return max(steps) / min(steps) - 1


@pytest.mark.parametrize("shape", [(1, 40, 50), (5, 1, 1), (30, 7, 64)], ids=str)
def test_small_and_constant_movies(shape):
    constant = remove_background(Movie(np.full(shape, 7, np.uint16), fs=10), diameter_px=10)
    assert np.abs(constant.data).max() < 1e-3
    rng = np.random.default_rng(0)
    assert np.isfinite(remove_background(Movie(rng.poisson(50, shape), fs=10), diameter_px=10).data).all()


def test_errors_name_the_argument():
    movie = Movie(np.zeros((3, 8, 8)), fs=10)
    with pytest.raises(ValueError, match="diameter_px"):
        remove_background(movie, diameter_px=0)
    with pytest.raises(ValueError, match=r"out must have the movie's shape \(3, 8, 8\), got \(3, 8, 9\)"):
        remove_background(movie, diameter_px=4, out=np.zeros((3, 8, 9), np.float32))
