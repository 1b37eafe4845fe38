"""Runs that are killed at any moment: the next one goes on after the last finished step and gives what a whole run gives."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from _same_results import assert_equal

from calcium_helpers import io, simulate

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that share loaded libraries by fork")

# Libraries are loaded and compiled once, by a whole run; each line then says what to do into which folder, in a process of
# its own: a "report" is what the command does, an "analysis" that without its pictures, page and tables.
DRIVER = """
import os, sys
from calcium_helpers import pipeline
from calcium_helpers.cli import _parser, main
from calcium_helpers.cli.report import open_job

def arguments(out):
    return ["report", "movie.tif", "--modality", "2p", "--offset", "100", "-q", "-o", out]

def report(out):
    sys.stdout = open(os.devnull, "w")
    return main(arguments(out))

def analysis(out):
    job = open_job(_parser().parse_args(arguments(out)))
    pipeline.run(job.movie, job.config, given=job.given, out=job.out)

assert report("whole") == 0
sys.stdout = sys.__stdout__
print("ready", flush=True)
for line in sys.stdin:
    what, out = line.split()
    number = os.fork()
    if not number:
        os._exit({"report": report, "analysis": analysis}[what](out) or 0)
    print(number, flush=True)
    print(os.waitpid(number, 0)[1], flush=True)
"""
ANALYSIS = (
    "work/motion-*.npy-*.part", "work/motion-*.npy", "work/motion-*.npz", "work/detect-*.npz", "work/traces-*.npz",
    ".results-*.part.h5", "results.h5",
)  # fmt: skip
MOMENTS = (*ANALYSIS, "figures/traces.svg", "report.html", ".traces-*.part.csv", "summary.json")
STEPS = {"motion": ("motion-*.npy", "motion-*.npz"), "detect": ("detect-*.npz",), "traces": ("traces-*.npz",)}
TABLES = ("cells.csv", "traces.csv", "denoised.csv", "spikes.csv")


class Driver:
    """Starts runs below a folder; ``whole`` there is the run that nobody disturbed."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n"
        self.whole = io.load_results(folder / "whole" / "results.h5")

    def start(self, out, what):
        """Number of a process that makes a report or an analysis into the folder ``out``."""
        self.process.stdin.write(f"{what} {out}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self):
        """How it ended."""
        return int(self.process.stdout.readline())

    def kill_when(self, moment, out, what):
        """Kill a run when a file like ``moment`` is there, or let it end."""
        number = self.start(out, what)
        end = time.monotonic() + 30
        while not list((self.folder / out).glob(moment)) and time.monotonic() < end and Path(f"/proc/{number}").exists():
            time.sleep(0.0005)
        kill(number)
        assert self.wait() in (0, signal.SIGKILL)

    def check(self, out, what):
        """Run again; what was finished stays as it was, and all is as in the undisturbed run."""
        folder = self.folder / out
        finished = {path: stamp(path) for path in folder.glob("work/*-*") if path.suffix != ".part"}
        found = {step for step, names in STEPS.items() if all(list(folder.glob(f"work/{name}")) for name in names)}
        self.start(out, what)
        assert self.wait() == 0
        whole_steps = {path for path in finished if path.name.split("-")[0] in found}
        assert {path: stamp(path) for path in whole_steps} == {path: finished[path] for path in whole_steps}
        results = io.load_results(folder / "results.h5")
        assert set(results.steps.loc[results.steps["note"] == "found from an earlier run", "step"]) == found
        assert_equal(results, self.whole)
        for table in TABLES if what == "report" else ():
            assert (folder / table).read_bytes() == (self.folder / "whole" / table).read_bytes()
        written = names(self.folder / "whole")
        assert names(folder) == [name for name in written if what == "report" or name.startswith(("work", "results.h5"))]
        return found


def stamp(path):
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    config = simulate.TwoPhotonConfig(
        n_frames=100, height=64, width=64, fs=10.0, n_cells=4, min_distance_px=18.0, baseline_photons=20.0, tissue_photons=14.0,
        neuropil=0.05, dff_per_spike=0.5, rate_hz=(0.3, 0.8), motion_px=2.0, field_px=0.3,
    )  # fmt: skip
    io.save_movie(simulate.two_photon(config, seed=1).movie.replace(history=()), folder / "movie.tif")
    driver = Driver(folder)
    yield driver
    driver.process.stdin.close()
    driver.process.wait(timeout=10)
    driver.process.stdout.close()


def kill(number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("moment", ANALYSIS)
def test_killed_when_a_file_appears(driver, moment):
    out = "at-" + moment.replace("/", "-").replace("*", "")
    driver.kill_when(moment, out, "analysis")
    driver.check(out, "analysis")


def test_killed_at_any_moment(driver):
    start = time.monotonic()
    driver.start("timed", "analysis")
    assert driver.wait() == 0
    whole_s = time.monotonic() - start
    seen = set()
    for attempt, moment_s in enumerate(np.random.default_rng(0).uniform(0.02, 1, 5) * whole_s):
        number = driver.start(f"random-{attempt}", "analysis")
        time.sleep(moment_s)
        kill(number)
        assert driver.wait() in (0, signal.SIGKILL)
        seen.add(frozenset(driver.check(f"random-{attempt}", "analysis")))
    assert len(seen) >= 2  # the moments differed; more cannot be asked of a machine that others use too


def test_killed_again_and_again(driver):
    """Each run gets a little further, until one is through, with all that the command writes."""
    for moment in MOMENTS:
        driver.kill_when(moment, "patience", "report")
    driver.check("patience", "report")


def test_a_changed_movie_is_not_taken_for_the_old_one(driver):
    """The same name, another content: nothing of the first run may be found."""
    movie = io.load_movie(driver.folder / "movie.tif", progress=False)
    changed = movie.replace(data=movie.frames()[:, ::-1], history=())
    os.rename(driver.folder / "movie.tif", driver.folder / "first.tif")
    try:
        io.save_movie(changed, driver.folder / "movie.tif")
        driver.start("timed", "analysis")
        assert driver.wait() == 0
        results = io.load_results(driver.folder / "timed" / "results.h5")
        assert not (results.steps["note"] == "found from an earlier run").any()
    finally:
        os.replace(driver.folder / "first.tif", driver.folder / "movie.tif")
