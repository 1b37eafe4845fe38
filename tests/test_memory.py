"""Limits of memory: smaller chunks, large arrays in files, the same results."""

import numpy as np
import pytest

from calcium_helpers import motion
from calcium_helpers.containers import Movie
from calcium_helpers.memory import chunk_bytes, limit_memory, scratch_array
from calcium_helpers.movie import iter_chunks, summarise

MOVIE = Movie(np.random.default_rng(0).poisson(30, (300, 64, 64)).astype(np.uint16), fs=10)


def test_without_a_limit_nothing_changes():
    assert chunk_bytes(123) == 123
    assert not isinstance(scratch_array((100, 100, 100)), np.memmap)


def test_chunks_shrink_and_large_arrays_lie_in_files(tmp_path):
    with limit_memory(0.064, tmp_path):
        assert chunk_bytes(64 * 2**20) == 2_000_000
        assert chunk_bytes(5) == 5
        assert not isinstance(scratch_array((1000, 1000)), np.memmap)  # 4 MB of 64
        large = scratch_array((1001, 1000))
        assert isinstance(large, np.memmap)
        assert large.dtype == np.float32
        assert not large.any()
        large[:] = 3
        assert large.mean() == 3
        assert not list(tmp_path.iterdir())  # it has no name, so nothing can be left behind
    assert chunk_bytes(64 * 2**20) == 64 * 2**20


def test_the_limit_ends_with_an_error():
    with pytest.raises(OSError, match="stop"), limit_memory(0.001):
        raise OSError("stop")
    assert chunk_bytes(2**30) == 2**30


def test_results_do_not_depend_on_it(tmp_path):
    free = motion.register(MOVIE)
    images = summarise(MOVIE)
    quality = motion.estimate_quality(MOVIE, free.movie, free.shifts, config=motion.TWO_PHOTON)
    with limit_memory(0.01, tmp_path):
        assert len(list(iter_chunks(MOVIE))) == 5
        tight = motion.register(MOVIE)
        np.testing.assert_array_equal(tight.shifts.yx, free.shifts.yx)
        np.testing.assert_array_equal(tight.movie.data, free.movie.data)
        for name, image in summarise(MOVIE)._asdict().items():
            np.testing.assert_allclose(image, getattr(images, name), rtol=1e-4, atol=1e-5, err_msg=name)
        again = motion.estimate_quality(MOVIE, tight.movie, tight.shifts, config=motion.TWO_PHOTON)
        np.testing.assert_allclose(again, quality, rtol=1e-6)
