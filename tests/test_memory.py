"""Memory: chunks and large arrays within a limit, and pages of mapped files given back."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from calcium_helpers import pipeline, simulate
from calcium_helpers.containers import Movie
from calcium_helpers.memory import chunk_bytes, let_go, limit_memory, mapped_npy, scratch_array
from calcium_helpers.movie import iter_chunks, summarise
from calcium_helpers.workdir import new_array


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


def test_a_mapped_file_has_its_place_on_disk_before_it_is_written(tmp_path):
    """Else a disk that fills up kills the process in the middle of a write."""
    array = mapped_npy(tmp_path / "movie.npy", (300, 100, 100))
    assert not array.any()
    if hasattr(os, "posix_fallocate"):
        assert (tmp_path / "movie.npy").stat().st_blocks * 512 >= array.nbytes


@pytest.mark.parametrize("make", [scratch_array, lambda shape: mapped_npy(Path(tempfile.gettempdir()) / "movie.npy", shape)])
def test_a_disk_without_room_is_an_error(tmp_path, monkeypatch, make):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shape = (shutil.disk_usage(tmp_path).free // 40_000 + 100_000, 100, 100)  # 4 GB more than there are
    says = f"{re.escape(str(tmp_path))}: .* GB are needed on disk .* GB are free"
    with limit_memory(0.2), pytest.raises(OSError, match=says):
        make(shape)
    with limit_memory(0.2):
        assert scratch_array(shape, sparse=True)[-1].sum() == 0  # of which little is going to be written


def test_a_step_without_room_leaves_nothing(tmp_path):
    shape = (shutil.disk_usage(tmp_path).free // 40_000 + 100_000, 100, 100)
    with pytest.raises(OSError, match="are free"), new_array(tmp_path / "movie.npy", shape):
        pytest.fail("it was opened")
    assert not list(tmp_path.iterdir())


def test_results_do_not_depend_on_the_limit():
    movie = Movie(np.random.default_rng(0).poisson(20, (60, 200, 210)).astype(np.uint16), fs=10)
    usual = summarise(movie)
    with limit_memory(0.05):
        small = summarise(movie)
    for one, other in zip(usual, small, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


WATCHED_RUN = """
import os, re, sys, threading, time
from pathlib import Path
import numpy as np
from calcium_helpers import pipeline
from calcium_helpers.containers import Movie

def anonymous_gb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9

def watch():
    peak = 0.0
    while True:
        peak = max(peak, anonymous_gb())
        if peak > float(sys.argv[3]):
            print("more", flush=True)
            os._exit(0)
        time.sleep(0.005)

threading.Thread(target=watch, daemon=True).start()
movie = Movie(np.load(sys.argv[1], mmap_mode="r"), fs=20.0)
limit = float(sys.argv[4]) or None
results = pipeline.run(movie, pipeline.PipelineConfig.for_modality("2p"), out=sys.argv[2], max_memory_gb=limit)
print(results.summary["n_accepted"])
"""


@pytest.mark.slow
def test_a_run_holds_its_limit_on_a_movie_that_is_larger(tmp_path):
    """Float frames of 0.54 GB within 0.5 GB, libraries included, and all cells are found; without a limit it takes more."""
    mapped_mb()  # skips where the system does not tell
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :160]
    cells = [np.exp(-((y - v) ** 2 + (x - u) ** 2) / 40) for v in (40, 80, 120) for u in (40, 80, 120)]
    movie = np.lib.format.open_memmap(tmp_path / "movie.npy", mode="w+", dtype=np.float32, shape=(5300, 160, 160))
    calcium = np.maximum(rng.normal(size=(5300 // 10, 9)) - 1.5, 0).repeat(10, axis=0)
    texture = 20 + 5 * np.sin(x / 7) * np.cos(y / 9)
    for start in range(0, 5300, 100):
        light = texture + 15 * np.tensordot(calcium[start : start + 100], cells, axes=1)
        movie[start : start + 100] = light + np.sqrt(light) * rng.standard_normal(light.shape, dtype=np.float32)
    movie.flush()
    assert movie.nbytes > 0.54e9
    printed = {}
    for limit in (0.5, 0.0):
        arguments = [str(tmp_path / "movie.npy"), str(tmp_path / f"out{limit}"), "0.5", str(limit)]
        done = subprocess.run([sys.executable, "-c", WATCHED_RUN, *arguments], capture_output=True, text=True, check=True)
        printed[limit] = done.stdout
    assert printed == {0.5: "9\n", 0.0: "more\n"}


def test_a_run_with_a_limit_gives_what_one_without_does(tmp_path):
    config = simulate.TwoPhotonConfig(
        n_frames=200, height=64, width=64, fs=10.0, n_cells=4, min_distance_px=18.0, baseline_photons=20.0, rate_hz=(0.3, 0.8)
    )
    movie = simulate.two_photon(config, seed=1).movie
    settings = pipeline.PipelineConfig.for_modality("2p", offset=100.0)
    usual, small = (pipeline.run(movie, settings, max_memory_gb=limit, out=tmp_path / str(limit)) for limit in (None, 0.4))
    assert usual.summary["n_accepted"] >= 2
    np.testing.assert_array_equal(usual.cells["accepted"], small.cells["accepted"])
    np.testing.assert_allclose(small.dff.values, usual.dff.values, rtol=1e-4, atol=1e-4)


FREED = """
import resource
from pathlib import Path
import numpy as np
from calcium_helpers.memory import keep_freed_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

before_mb = resident_mb()
with keep_freed_memory():
    for _ in range(3):
        np.ones(4_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(4_000_000)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    several = [np.ones(10_000_000) for _ in range(5)]
    del several
    inside_mb = resident_mb()
print(faults, inside_mb - before_mb, resident_mb() - before_mb)
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver()[0], reason="an option of the GNU C library")
def test_freed_memory_is_used_again_and_goes_back_at_the_end():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    faults, inside_mb, after_mb = map(float, done.stdout.split())
    assert faults < 20 * 4_000_000 * 8 / 4096 / 10  # pages of a tenth of what was asked for
    assert inside_mb > 350  # of 400 that were freed
    assert after_mb < 50
