"""Motion correction: known shifts found again, kernels beside scipy, ordinary extremes."""

import dataclasses
import logging

import numpy as np
import pytest
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from calcium_helpers import motion, simulate
from calcium_helpers.containers import Movie, Shifts
from calcium_helpers.metrics import field_rms, rigid_rms
from calcium_helpers.motion import ONE_PHOTON, TWO_PHOTON, gpu, kernels, threads
from calcium_helpers.motion.align import Aligner, Reference
from calcium_helpers.motion.register import find_bad_frames
from calcium_helpers.warp import warp_grid, warp_rigid

RIGID = dataclasses.replace(TWO_PHOTON, piecewise=False)


@pytest.fixture(scope="module")
def two_photon():
    config = simulate.TwoPhotonConfig(n_frames=100, height=192, width=208, n_cells=24, baseline_photons=8.0, tissue_photons=6.0)
    return simulate.two_photon(config, seed=1)


@pytest.fixture(scope="module")
def registered(two_photon):
    return motion.register(two_photon.movie)


@pytest.fixture(scope="module")
def scene():
    """A smooth image with contrast everywhere."""
    return 100 + 40 * ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((140, 150)), 2).astype(np.float32) * 7


def shaken(scene, shape, yx, *, noise=1.0):
    """Frames of ``shape`` cut from ``scene``, displaced by -yx: the corrections that undo it are ``yx``."""
    margin = 20
    frames = [ndimage.shift(scene, -np.asarray(d), order=3)[margin : margin + shape[0], margin : margin + shape[1]] for d in yx]
    return np.stack(frames) + noise * np.random.default_rng(1).standard_normal((len(yx), *shape))


def test_piecewise_shifts_of_a_two_photon_movie_are_found(two_photon, registered):
    shifts = registered.shifts
    assert shifts.is_piecewise
    assert rigid_rms(shifts, two_photon.shifts) < 0.1
    rigid = shifts.replace(yx=shifts.rigid_yx)
    assert field_rms(shifts, two_photon.shifts) < min(0.3, 0.75 * field_rms(rigid, two_photon.shifts))
    assert len(shifts.bad_frames) == 0


def test_rigid_shifts_of_a_two_photon_movie_are_found(two_photon):
    shifts = motion.estimate_shifts(two_photon.movie, config=RIGID)
    assert shifts.yx.shape == (100, 2)
    assert rigid_rms(shifts, two_photon.shifts) < 0.15


def test_shifts_of_a_one_photon_movie_are_found():
    config = simulate.OnePhotonConfig(n_frames=150, height=160, width=176, n_cells=12)
    movie, *_, truth = simulate.one_photon(config, seed=2)
    shifts = motion.estimate_shifts(movie, config=ONE_PHOTON)
    assert rigid_rms(shifts, truth) < 0.1
    assert field_rms(shifts, truth) < 0.2


def test_correction_sharpens_and_leaves_nothing_to_correct(two_photon, registered):
    quality = motion.estimate_quality(two_photon.movie, registered.movie, registered.shifts, config=TWO_PHOTON)
    assert quality.correlation_after > quality.correlation_before + 0.02
    assert quality.residual_px < 0.1
    again = motion.estimate_shifts(registered.movie, config=RIGID, template=registered.shifts.template)
    assert np.sqrt(np.mean(again.yx**2)) == pytest.approx(quality.residual_px, abs=0.05)


def test_rigid_shifts_agree_with_scikit_image(scene):
    yx = np.random.default_rng(3).uniform(-6, 6, (12, 2))
    frames = shaken(scene, (100, 110), yx)
    template = frames[0].astype(np.float32)
    ours = motion.estimate_shifts(Movie(frames.astype(np.float32), fs=10), config=RIGID, template=template).yx
    oracle = [phase_cross_correlation(template, frame, upsample_factor=50, normalization=None)[0] for frame in frames]
    np.testing.assert_allclose(ours, yx - yx[0], atol=0.15)
    np.testing.assert_allclose(ours, oracle, atol=0.25)  # the oracle has no window: motion across its edges pulls it


@pytest.mark.parametrize("yx", [(0.0, 0.0), (2.0, -3.0), (0.4, -1.7), (-31.0, 50.5), (200.0, -200.0)])
def test_warp_rigid_is_scipy_shift(scene, yx):
    out = np.empty_like(scene)
    warp_rigid(scene, *yx, out)
    np.testing.assert_allclose(out, ndimage.shift(scene, yx, order=1, mode="nearest"), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("grid_shape", [(1, 1), (1, 4), (3, 2), (7, 8)])
@pytest.mark.parametrize("shape", [(140, 150), (37, 23)])
def test_warp_grid_is_scipy_map_coordinates(scene, grid_shape, shape):
    frame = np.ascontiguousarray(scene[: shape[0], : shape[1]])
    grid = np.random.default_rng(4).uniform(-5, 5, (*grid_shape, 2)).astype(np.float32)
    out = np.empty_like(frame)
    warp_grid(frame, grid, 0, out)
    points = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1).reshape(-1, 2)
    shift = Shifts(grid[None], np.zeros(shape), (0, shape[0], 0, shape[1])).at(points)[0]
    expected = ndimage.map_coordinates(frame, (points - shift).T, order=1, mode="nearest").reshape(shape)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=2e-2)


def test_correlate_is_pearson(scene):
    a, b = scene[:60, :70], scene[20:80, 40:110]
    expected = np.corrcoef(a[5:-5, 5:-5].ravel(), b[5:-5, 5:-5].ravel())[0, 1]
    assert kernels.correlate(np.ascontiguousarray(a), np.ascontiguousarray(b), 5) == pytest.approx(expected, abs=1e-4)
    assert kernels.correlate(np.ones((20, 20), np.float32), np.ascontiguousarray(b[:20, :20]), 0) == 0


@pytest.mark.parametrize("offset", [0, 2, -3])
def test_whole_bidirectional_offsets_are_found_and_undone(offset):
    config = simulate.TwoPhotonConfig(n_frames=80, height=128, width=128, n_cells=12, baseline_photons=4.0, tissue_photons=3.0)
    straight = simulate.two_photon(config, seed=5)
    movie = simulate.two_photon(dataclasses.replace(config, bidiphase_px=offset), seed=5).movie
    corrected, shifts = motion.register(movie, config=RIGID)
    assert shifts.bidiphase_px == pytest.approx(offset, abs=0.15)
    assert rigid_rms(shifts, straight.shifts) < 0.15
    assert not motion.estimate_shifts(movie, config=dataclasses.replace(RIGID, bidiphase=False)).bidiphase_px
    again = motion.estimate_bidiphase(corrected.data[:, 12:-12, 12:-12])
    assert again == 0


@pytest.mark.parametrize("offset", [0.6, -1.4])
def test_fractional_bidirectional_offsets_are_found(scene, offset):
    image = scene[:100, :120].copy()
    image[1::2] = ndimage.shift(image[1::2], (0, offset), order=3, mode="nearest")
    assert motion.estimate_bidiphase(image[None]) == pytest.approx(offset, abs=0.1)
    out = np.empty_like(image)
    kernels.to_float(image, offset, out)
    inner = np.s_[:, 5:-5]
    assert np.abs(out - scene[:100, :120])[inner].mean() < 0.3 * np.abs(image - scene[:100, :120])[inner].mean()


def test_bad_frames_are_listed_and_left_out(two_photon, registered, caplog):
    data = two_photon.movie.data.copy()
    data[20] = 100
    data[60:62] = np.random.default_rng(6).poisson(data.mean(), data[:2].shape)
    with caplog.at_level(logging.WARNING):
        corrected, shifts = motion.register(two_photon.movie.replace(data=data))
    assert shifts.bad_frames.tolist() == [20, 60, 61]
    assert "3 of 100 frames could not be aligned" in caplog.text
    good = np.setdiff1d(np.arange(100), shifts.bad_frames)
    np.testing.assert_allclose(shifts.yx[good], registered.shifts.yx[good], atol=0.3)
    np.testing.assert_allclose(shifts.yx[20], (shifts.yx[19] + shifts.yx[21]) / 2, atol=1e-5)
    np.testing.assert_allclose(corrected.data[20], 100, rtol=1e-6)


def test_shifts_over_the_limit_are_bad(scene):
    yx = np.zeros((40, 2))
    yx[10] = (9.0, 0.0)
    config = dataclasses.replace(RIGID, max_shift_px=5.0)
    frames = shaken(scene, (100, 110), yx).astype(np.float32)
    shifts = motion.estimate_shifts(Movie(frames, fs=10), config=config)
    assert shifts.bad_frames.tolist() == [10]
    assert np.abs(shifts.yx).max() < 0.1


def test_the_valid_rectangle_holds_nothing_from_outside(scene):
    yx = np.array([(0, 0), (4.2, 0), (-3.5, 2), (0, -6.1), (0, 1.0)] * 4, dtype=float)
    movie = Movie(shaken(scene, (100, 110), yx, noise=0.1).astype(np.float32), fs=10)
    shifts = motion.estimate_shifts(movie, config=RIGID)
    y0, y1, x0, x1 = shifts.valid
    marked = movie.data.copy()
    marked[:, [0, -1]] = marked[:, :, [0, -1]] = np.nan  # the edge is repeated outside: NaN would spread from it
    corrected = motion.apply_shifts(movie.replace(data=np.nan_to_num(marked, nan=1e6)), shifts).data
    assert corrected[:, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].max() < 1e5
    assert y1 - y0 > 88
    assert x1 - x0 > 98
    assert np.isfinite(motion.apply_shifts(movie, shifts).data).all()


def test_estimated_and_applied_is_registered(two_photon, registered):
    shifts = motion.estimate_shifts(two_photon.movie)
    np.testing.assert_array_equal(shifts.yx, registered.shifts.yx)
    assert shifts.valid == registered.shifts.valid
    np.testing.assert_allclose(motion.apply_shifts(two_photon.movie, shifts).data, registered.movie.data, rtol=1e-5)
    rigid = motion.register(two_photon.movie, config=RIGID)
    np.testing.assert_allclose(motion.apply_shifts(two_photon.movie, rigid.shifts).data, rigid.movie.data, rtol=1e-5)


@pytest.mark.parametrize(("chunk", "cores"), [(1, 1), (7, 3), (1000, 2)])
def test_chunks_and_threads_do_not_change_the_result(two_photon, registered, monkeypatch, chunk, cores):
    monkeypatch.setattr(threads, "CHUNK_FRAMES", chunk)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
    found = motion.register(two_photon.movie)
    np.testing.assert_array_equal(found.shifts.yx, registered.shifts.yx)
    np.testing.assert_array_equal(found.movie.data, registered.movie.data)


class Lazy:
    """Only what a movie may assume: shape, dtype, slices of time."""

    def __init__(self, data):
        self._data, self.shape, self.dtype, self.most = data, data.shape, data.dtype, 0

    def __getitem__(self, key):
        assert isinstance(key, slice)
        part = self._data[key]
        self.most = max(self.most, len(part))
        return part


def test_lazy_movies_are_read_in_chunks(two_photon, registered, tmp_path):
    lazy = Lazy(two_photon.movie.data)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, lazy.shape)
    found = motion.register(Movie(lazy, fs=30), out=out)
    np.testing.assert_array_equal(found.shifts.yx, registered.shifts.yx)
    np.testing.assert_array_equal(out, registered.movie.data)
    assert lazy.most <= threads.CHUNK_FRAMES


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", ">f4", "float32", "float64", "int32"])
def test_number_types_give_the_same_shifts(scene, dtype):
    yx = np.random.default_rng(7).uniform(-4, 4, (20, 2))
    frames = np.rint(shaken(scene, (100, 110), yx)).clip(0, 255)
    expected = motion.estimate_shifts(Movie(frames.astype(np.uint16), fs=10), config=RIGID).yx
    corrected, shifts = motion.register(Movie(frames.astype(dtype), fs=10), config=RIGID)
    np.testing.assert_allclose(shifts.yx, expected, atol=1e-3)
    assert corrected.data.dtype == np.float32


@pytest.mark.parametrize(("shape", "tolerance_px"), [((61, 47), 0.25), ((16, 16), 0.6), ((17, 100), 0.5)])
def test_odd_and_small_frames(scene, shape, tolerance_px):
    yx = np.random.default_rng(8).uniform(-2, 2, (30, 2))
    frames = shaken(scene, shape, yx, noise=0.5).astype(np.float32)
    shifts = motion.estimate_shifts(Movie(frames, fs=10), config=RIGID)
    error = shifts.yx - yx
    assert np.median(np.hypot(*(error - np.median(error, axis=0)).T)) < tolerance_px
    corrected, piecewise = motion.register(Movie(frames, fs=10))
    assert corrected.shape == (30, *shape)
    assert np.isfinite(piecewise.yx).all()


@pytest.mark.parametrize("config", [TWO_PHOTON, RIGID, ONE_PHOTON])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_constant_and_few_frames_stay_in_place(scene, config, n_frames):
    black = Movie(np.full((n_frames, 64, 64), 7, dtype=np.uint16), fs=10)
    corrected, shifts = motion.register(black, config=config)
    np.testing.assert_allclose(corrected.data, 7, rtol=1e-6)
    np.testing.assert_allclose(shifts.yx, 0, atol=1e-6)
    same = Movie(np.repeat(scene[None, :64, :64], n_frames, axis=0), fs=10)
    corrected, shifts = motion.register(same, config=config)
    assert np.abs(shifts.yx).max() < 0.05
    np.testing.assert_allclose(corrected.data, same.data, atol=2)


def test_impossible_requests_are_refused(two_photon, registered):
    movie = two_photon.movie
    with pytest.raises(ValueError, match="at least 16 px a side"):
        motion.register(Movie(np.ones((5, 15, 40)), fs=10))
    with pytest.raises(ValueError, match="template must have the frame's shape"):
        motion.register(movie, template=np.ones((10, 10)))
    with pytest.raises(ValueError, match="out must have the movie's shape"):
        motion.register(movie, out=np.empty((1, 2, 3), np.float32))
    with pytest.raises(ValueError, match="one entry a frame"):
        motion.apply_shifts(movie.replace(data=movie.data[:3]), registered.shifts)
    with pytest.raises(ValueError, match="block_px must be above 0"):
        motion.MotionConfig(block_px=0)
    with pytest.raises(ValueError, match="device must be one that torch can use here"):
        motion.register(movie, device="nonsense")


@pytest.mark.skipif(gpu.torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_is_refused(two_photon):
    with pytest.raises(ValueError, match=r"device must be one that torch can use here.*'cuda'"):
        motion.register(two_photon.movie, device="cuda")


@pytest.mark.parametrize(("config", "bidiphase_px"), [(TWO_PHOTON, 1.7), (RIGID, 0.0), (RIGID, -1.3), (ONE_PHOTON, 0.0)])
def test_torch_agrees_with_the_kernels(two_photon, config, bidiphase_px, monkeypatch):
    movie = two_photon.movie.replace(data=two_photon.movie.data[:24, :121])
    reference = Reference(two_photon.shifts.template[:121], config)
    expected, found = (np.empty(movie.shape, np.float32) for _ in range(2))
    grids, correlation = threads.align_frames(lambda: Aligner(reference, bidiphase_px), movie.data, out=expected)
    monkeypatch.setattr(gpu, "BATCH_FRAMES", 10)
    same = gpu.align_batches(reference, bidiphase_px, movie, out=found, device="cpu", progress=False)
    np.testing.assert_allclose(same[0], grids, atol=0.01)
    np.testing.assert_allclose(same[1], correlation, atol=1e-4)
    assert np.abs(found - expected).mean() < 1e-3 * expected.std()


def test_torch_halves_the_batch_when_memory_runs_out(two_photon, monkeypatch):
    movie = two_photon.movie.replace(data=two_photon.movie.data[:40])
    reference = Reference(two_photon.shifts.template, RIGID)
    expected = gpu.align_batches(reference, 0.0, movie, out=None, device="cpu", progress=False)[0]
    align, sizes = gpu.BatchAligner.align, []

    def short_of_memory(self, raw):
        sizes.append(len(raw))
        if len(raw) > 10:
            raise gpu.torch.OutOfMemoryError
        return align(self, raw)

    monkeypatch.setattr(gpu.BatchAligner, "align", short_of_memory)
    found = gpu.align_batches(reference, 0.0, movie, out=None, device="cpu", progress=False)[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert sizes == [40, 32, 16, 8, 8, 8, 8, 8]


def test_find_bad_frames_by_correlation_and_limit():
    correlation = np.full(50, 0.8) + 0.01 * np.sin(np.arange(50))
    correlation[7] = 0.5
    yx = np.zeros((50, 2))
    yx[9, 1] = -9.8
    assert find_bad_frames(yx, correlation, 10.0).tolist() == [7, 9]


@pytest.mark.parametrize("seed", range(5))
def test_no_line_offset_is_found_in_noise(seed):
    frames = np.random.default_rng(seed).poisson(9, (50, 64 + seed, 128))
    assert motion.estimate_bidiphase(frames) == 0.0
