"""Memory: chunks and large arrays within a limit, and pages of mapped files given back."""

import re
from pathlib import Path

import numpy as np
import pytest

from calcium_helpers.containers import Movie
from calcium_helpers.memory import chunk_bytes, let_go, limit_memory, scratch_array
from calcium_helpers.movie import iter_chunks, summarise


def mapped_mb():
    """Pages of files that count as this process's, MB."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc/self/status")
    return int(re.search(r"RssFile:\s+(\d+)", status.read_text())[1]) / 1024


@pytest.fixture
def large(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "large.npy", mode="w+", dtype=np.float32, shape=(400, 256, 256))
    array[:] = np.arange(400, dtype=np.float32)[:, None, None]
    let_go(array)
    return np.load(tmp_path / "large.npy", mmap_mode="r")


def test_what_was_read_and_written_is_given_back_and_kept(large):
    before = mapped_mb()
    assert float(large[:, ::8].sum()) > 0
    assert mapped_mb() > before + 50
    let_go(large)
    assert mapped_mb() < before + 20
    np.testing.assert_array_equal(large[:, 7, 9], np.arange(400))


def test_changes_that_are_no_file_s_stay(tmp_path, large):
    private = np.load(large.filename, mmap_mode="c")
    private[3] = -1
    let_go(private, np.zeros(3), None)
    assert (private[3] == -1).all()


def test_a_pass_over_a_mapped_movie_keeps_little_of_it(large):
    before, most = mapped_mb(), 0.0
    for _, chunk in iter_chunks(Movie(large, fs=10)):
        assert chunk.sum() >= 0
        most = max(most, mapped_mb())
    assert most < before + 80  # of 105 MB, in chunks of 64
    assert mapped_mb() < before + 20


def test_limits_shrink_chunks_and_move_large_arrays(tmp_path):
    assert chunk_bytes(2**26) == 2**26
    assert type(scratch_array((50, 100, 100))) is np.ndarray
    with limit_memory(0.2, tmp_path / "work"):
        assert chunk_bytes(2**26) < 2**26
        array = scratch_array((500, 100, 100))
        assert isinstance(array, np.memmap)
        array[:] = 2
        assert not list((tmp_path / "work").iterdir())  # it has no name that could be left behind
        assert float(array.mean()) == 2
        assert type(scratch_array((5, 10, 10))) is np.ndarray
    assert chunk_bytes(2**26) == 2**26


def test_results_do_not_depend_on_the_limit():
    movie = Movie(np.random.default_rng(0).poisson(20, (60, 200, 210)).astype(np.uint16), fs=10)
    usual = summarise(movie)
    with limit_memory(0.05):
        small = summarise(movie)
    for one, other in zip(usual, small, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
