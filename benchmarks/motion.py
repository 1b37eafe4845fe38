"""Motion correction beside suite2p and beside the least that any method of its kind must do (the floor).

Speed is that of 512 x 512 x 2000 frames from memory to memory, template included, on two threads; compilation, once on a
machine, stands in a column of its own. The floor is a forward and an inverse real FFT, normalisation and peak, and a
bilinear shift of each frame: no template, no sub-pixel peak, no blocks. suite2p is measured where ``SUITE2P_PYTHON`` is set
(see peers), with its allocator tuned. Errors are means over the seeds (sd).
The second table compares shifts of a real one-photon recording with those another program found: needs CALCIUM_DATA_DIR.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _table import write_table
from anchors import anchor_2p
from peers import run_suite2p
from scipy import fft

from calcium_helpers import motion
from calcium_helpers.containers import Shifts
from calcium_helpers.io import load_movie
from calcium_helpers.metrics import field_rms, rigid_rms
from calcium_helpers.motion import kernels
from calcium_helpers.results import Simulation
from calcium_helpers.warp import warp_rigid

try:
    import pyfftw  # GPL: never a need of the package itself
except ImportError:
    pyfftw = None

Row = dict[str, object]

THREADS = 2
COMMAND = "python benchmarks/motion.py"
CONFIGS = {"rigid": dataclasses.replace(motion.TWO_PHOTON, piecewise=False), "piecewise": motion.TWO_PHOTON}


def measure(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of ``work``."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def transforms(frame: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Forward and inverse real FFT for one thread, planned for frames like this one."""
    if pyfftw is None:
        return fft.rfft2, lambda spectrum: fft.irfft2(spectrum, s=frame.shape)
    forward = pyfftw.builders.rfft2(frame.copy(), threads=1)
    return forward, pyfftw.builders.irfft2(forward.output_array.copy(), s=frame.shape, threads=1)


def floor(frames: np.ndarray, out: np.ndarray) -> None:
    """Do the least of a rigid registration to each frame."""
    height, width = frames.shape[1:]
    template = fft.rfft2(frames[:20].mean(axis=0, dtype=np.float32))

    def work(part: range) -> None:
        frame = np.zeros((height, width), dtype=np.float32)
        cross = np.zeros(template.shape, dtype=np.complex64)
        forward, backward = transforms(frame)
        for index in part:
            frame[...] = frames[index]
            kernels.cross_power(forward(frame), template, cross)
            y, x = divmod(int(backward(cross).argmax()), width)
            dy, dx = ((place + n // 2) % n - n // 2 for place, n in ((y, height), (x, width)))
            warp_rigid(frame, float(dy), float(dx), out[index])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, [range(k, len(frames), THREADS) for k in range(THREADS)]))


def floor_frames_per_s(frames: np.ndarray, repeats: int) -> float:
    """Speed of the floor, compiled and planned before."""
    out = np.zeros(frames.shape, dtype=np.float32)
    floor(frames[:50], out[:50])
    return len(frames) / measure(lambda: floor(frames, out), repeats)


FIRST_CALL = """
import sys, time
import numpy as np
from calcium_helpers import motion
from calcium_helpers.containers import Movie
movie = Movie(np.repeat(np.random.default_rng(0).integers(0, 200, (1, 64, 64), dtype=np.uint16), 32, axis=0), fs=30)
config = motion.MotionConfig(piecewise=sys.argv[1] == "piecewise")
times = [time.perf_counter()]
for _ in range(2):
    motion.register(movie, config=config)
    times.append(time.perf_counter())
print(2 * times[1] - times[0] - times[2])
"""


def compilation_s(kind: str) -> float:
    """Seconds that the first call on a machine takes beyond the second, with nothing compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        arguments = [sys.executable, "-c", FIRST_CALL, kind]
        return float(subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout)


def errors(found: list[Shifts], truths: list[Shifts]) -> dict[str, str]:
    """Rigid and field RMS, mean over the seeds (sd)."""
    values = np.array([[rigid_rms(a, b), field_rms(a, b)] for a, b in zip(found, truths, strict=True)])
    names = ("rigid RMS, px", "field RMS, px")
    return {name: f"{column.mean():.3f} ({column.std():.3f})" for name, column in zip(names, values.T, strict=True)}


def row(
    method: str, frames_per_s: float, floor_per_s: float, first_s: float | None, error: dict[str, str]
) -> dict[str, object]:
    """One line of the table; the ratio to suite2p comes later."""
    first = "-" if first_s is None else f"{first_s:.1f}"
    return {
        "method": method, "frames/s": round(frames_per_s), "of the floor": f"{frames_per_s / floor_per_s:.2f}",
        "of suite2p": "-", "compilation, s": first, **error,
    }  # fmt: skip


def measure_ours(simulations: list[Simulation], floor_per_s: float, repeats: int) -> list[Row]:
    """Rows of our own methods."""
    rows = []
    movie = simulations[0].movie
    out = np.zeros(movie.shape, dtype=np.float32)
    for kind, config in CONFIGS.items():
        first = compilation_s(kind)
        seconds = measure(lambda c=config: motion.register(movie, config=c, out=out), repeats)
        found = [motion.estimate_shifts(simulation.movie, config=config) for simulation in simulations]
        error = errors(found, [simulation.shifts for simulation in simulations])
        rows.append(row(f"ours, {kind}", movie.n_frames / seconds, floor_per_s, first, error))
    return rows


def measure_suite2p(simulations: list[Simulation], floor_per_s: float, repeats: int) -> list[Row]:
    """Rows of suite2p; none where it is not installed."""
    rows = []
    for mode in ("rigid", "nonrigid"):
        runs = [run_suite2p(s.movie.data, s.movie.fs, mode=mode, threads=THREADS) for s in simulations]
        if runs[0] is None:
            return []
        again = [run_suite2p(simulations[0].movie.data, 30.0, mode=mode, threads=THREADS) for _ in range(repeats - 1)]
        seconds = statistics.median(run.seconds["registration"] for run in (runs[0], *again))
        error = errors([run.shifts for run in runs], [simulation.shifts for simulation in simulations])
        name = f"suite2p {runs[0].versions['suite2p']}, {mode}"
        rows.append(row(name, simulations[0].movie.n_frames / seconds, floor_per_s, None, error))
    return rows


def compare_real(folder: Path) -> list[Row]:
    """Distance of our rigid shifts from a reference, on a real one-photon recording."""
    movie = load_movie(folder / "1p_miniscope.tif", fs=15.0, progress=False)
    with np.load(folder / "1p_miniscope_reference.npz") as stored:
        reference = stored["shifts_yx"].astype(float)
    found = motion.estimate_shifts(movie, config=dataclasses.replace(motion.ONE_PHOTON, piecewise=False)).yx

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.hypot(*(a - b - np.median(a - b, axis=0)).T)

    compared = {"shifts": (found, reference), "steps from frame to frame": (np.diff(found, axis=0), np.diff(reference, axis=0))}
    rows = []
    for what, (a, b) in compared.items():
        distance, still = distances(a, b), distances(np.zeros_like(b), b)
        values = (np.median(distance), np.quantile(distance, 0.9), np.median(still))
        names = ("median distance, px", "90 % within, px", "median without correction, px")
        rows.append({"1p_miniscope": what, **{name: f"{value:.2f}" for name, value in zip(names, values, strict=True)}})
    return rows


def main() -> None:
    """Measure and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    if folder := os.environ.get("CALCIUM_DATA_DIR"):
        write_table("motion_real", compare_real(Path(folder)), COMMAND)
    simulations = [anchor_2p(seed) for seed in arguments.seeds]
    floor_per_s = floor_frames_per_s(simulations[0].movie.data, arguments.repeats)
    none = {"rigid RMS, px": "-", "field RMS, px": "-"}
    rows = [row(f"floor, rigid ({'scipy' if pyfftw is None else 'pyfftw'})", floor_per_s, floor_per_s, None, none)]
    ours = measure_ours(simulations, floor_per_s, arguments.repeats)
    peers = measure_suite2p(simulations, floor_per_s, arguments.repeats)
    for mine, theirs in zip(ours, peers, strict=False):
        mine["of suite2p"] = f"{mine['frames/s'] / max(theirs['frames/s'], 1):.2f}"
    write_table("motion", rows + ours + peers, COMMAND)


if __name__ == "__main__":
    main()
