"""Limits of memory: smaller chunks, large arrays in files, the same results."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

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


def anonymous_gb(number):
    """Memory of a process that cannot be given back: pages of mapped files do not count."""
    try:
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{number}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return int(found[1]) * 1024 / 1e9 if found else 0.0


def run_and_watch(folder, *arguments):
    """Exit code and peak memory of the command line in a process of its own."""
    command = [sys.executable, "-m", "calcium_helpers", "report", *arguments, "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, anonymous_gb(process.pid))
            time.sleep(0.005)
        assert process.returncode == 0, process.stderr.read().decode()
    return peak


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory from /proc")
def test_a_movie_larger_than_the_limit(tmp_path):
    """0.46 GB as read, as much again when corrected, within 0.4 GB; without a limit it takes more."""
    rng = np.random.default_rng(0)
    still = np.kron(rng.uniform(50, 200, (20, 20)), np.ones((8, 8)))
    frames = np.lib.format.open_memmap(tmp_path / "long.npy", mode="w+", dtype=np.float32, shape=(4500, 160, 160))
    for start in range(0, 4500, 500):
        moved = np.roll(still, rng.integers(-3, 4, 2), axis=(0, 1))
        frames[start : start + 500] = moved + rng.normal(0, 5, (500, 160, 160))
    del frames
    labels = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((8, 8), int))
    np.save(tmp_path / "own.npy", np.where(labels % 7 == 0, labels, 0))
    size_gb = (tmp_path / "long.npy").stat().st_size / 1e9
    about = ("long.npy", "--fs", "10", "--modality", "2p", "--rigid", "--rois", "own.npy")
    assert run_and_watch(tmp_path, *about, "--max-memory", "0.4GB") < 0.4 < size_gb
