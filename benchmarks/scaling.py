"""Time and memory of detection and of the whole pipeline against frames, pixels and cells.

Simulated two-photon movies of 30 Hz; one quantity changes at a time, the others stay at 1000 frames, 256 x 256 px, 40 cells.
Each measurement is a process of its own on two threads, code compiled before: seconds without loading libraries; peak of the
anonymous memory (RssAnon: what the system cannot take back without swapping) and of all resident memory, files mapped into it
included (VmHWM). The base is what loaded libraries take. The times a pixel and frame that are printed last are those that
pipeline/plan.py scales its estimates from.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _table import write_table

if TYPE_CHECKING:
    from calcium_helpers.containers import Movie

COMMAND = "python benchmarks/scaling.py"
FIGURE = Path(__file__).parents[1] / "docs" / "scaling.png"
FS = 30.0
BASE = {"frames": 1000, "side, px": 256, "cells": 40}
VARIED = {"frames": (500, 1000, 2000, 4000), "side, px": (128, 256, 512), "cells": (10, 40, 120)}
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe & Ito: told apart by everybody


class Watch(threading.Thread):
    """Notes the peak of anonymous memory while the process works, GB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_gb = 0.0
        self.done = threading.Event()

    def run(self) -> None:
        """Look again and again."""
        while not self.done.wait(0.005):
            self.peak_gb = max(self.peak_gb, status_gb("RssAnon"))


def status_gb(name: str) -> float:
    """Read an entry of the process's status, GB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e9 if found else 0.0


def detector(what: str) -> Callable[[Movie], object]:
    """Return a detector, code loaded and compiled.

    The factorisation ("detect"), coordinates from "seeds" or "random" starts, or the network ("lstm-ista", "... on cuda").
    """
    from calcium_helpers.models import cnmf

    if what == "detect":
        return cnmf.detect
    if what.startswith("lstm-ista"):
        from calcium_helpers.models import lstm_ista
        from calcium_helpers.simulate import TwoPhotonConfig, two_photon

        network = functools.partial(lstm_ista.detect, device=what.partition(" on ")[2] or "cpu")
        network(two_photon(TwoPhotonConfig(n_frames=100, height=64, width=64, n_cells=3)).movie)
        return network
    from calcium_helpers.models import one_photon
    from calcium_helpers.simulate import OnePhotonConfig
    from calcium_helpers.simulate import one_photon as simulate

    detect = functools.partial(one_photon.detect, config=one_photon.CoordinatesConfig(start=what))
    detect(simulate(OnePhotonConfig(n_frames=100, height=64, width=64, n_cells=3)).movie)
    return detect


def measure(what: str, path: Path, out: Path, fs: float = FS) -> dict[str, object]:
    """Run in this process, and say what it took."""
    from calcium_helpers import pipeline
    from calcium_helpers.containers import Movie

    movie = Movie(np.load(path, mmap_mode="r"), fs=fs)
    detect = None if what == "pipeline" else detector(what)
    base = status_gb("RssAnon")
    watch = Watch()
    watch.start()
    start, busy = time.perf_counter(), time.process_time()
    if detect is not None:
        detect(movie)
        steps = {}
    else:
        results = pipeline.run(movie, pipeline.PipelineConfig.for_modality("2p", offset=100.0), out=out)
        steps = dict(zip(results.steps["step"], results.steps["seconds"], strict=True))
    seconds, processor_s = time.perf_counter() - start, time.process_time() - busy
    watch.done.set()
    watch.join()
    return {
        "seconds": seconds,
        "processor_s": processor_s,
        "anon": watch.peak_gb,
        "rss": status_gb("VmHWM"),
        "base": base,
        "steps": steps,
    }


def in_a_process(what: str, path: Path, out: Path, fs: float = FS) -> dict[str, object]:
    """Measure in a process of its own: "pipeline" or one of ``detector``."""
    command = [sys.executable, __file__, "--measure", what, str(path), str(out), "--fs", str(fs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def take(size: dict[str, int], folder: Path) -> dict[str, dict[str, object]]:
    """Simulate a movie of that size and measure both."""
    from calcium_helpers import simulate

    frames, side, cells = size.values()
    config = simulate.TwoPhotonConfig(n_frames=frames, height=side, width=side, n_cells=cells, fs=FS)
    np.save(folder / "movie.npy", simulate.two_photon(config, seed=0).movie.frames())
    whole = in_a_process("pipeline", folder / "movie.npy", folder / "out")
    (corrected,) = (folder / "out" / "work").glob("motion-*.npy")
    return {"pipeline": whole, "detect": in_a_process("detect", corrected, folder)}


def row(varied: str, size: dict[str, int], found: dict[str, dict[str, object]]) -> dict[str, object]:
    """One line of the table."""
    numbers = {}
    for name in ("detect", "pipeline"):
        one = found[name]
        numbers |= {
            f"{name}, s": f"{one['seconds']:.1f}",
            f"{name}, GB": f"{one['anon']:.2f}",
            f"{name}, GB with files": f"{one['rss']:.2f}",
        }
    return {"varied": varied.split(",")[0], **size, **numbers, "base, GB": f"{found['detect']['base']:.2f}"}


def draw(rows: list[dict[str, object]]) -> None:
    """Draw the table, both axes logarithmic, with a line of slope 1 to compare with."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    figure, axes = plt.subplots(2, 3, figsize=(10, 6), sharey="row", layout="constrained")
    for column, (varied, label) in enumerate((("frames", "frames"), ("side", "pixels a frame"), ("cells", "cells"))):
        part = [line for line in rows if line["varied"] == varied]
        x = np.array([line["side, px"] ** 2 if varied == "side" else line[varied] for line in part], dtype=float)
        for name, colour, marker in (("pipeline", BLUE, "o"), ("detect", ORANGE, "s")):
            for ax, unit in zip(axes[:, column], ("s", "GB"), strict=True):
                y = np.array([float(line[f"{name}, {unit}"]) for line in part])
                ax.loglog(x, y, color=colour, marker=marker, label={"detect": "detection", "pipeline": "whole pipeline"}[name])
        for ax, unit in zip(axes[:, column], ("s", "GB"), strict=True):
            first = float(part[0][f"pipeline, {unit}"])
            ax.loglog(x, first * x / x[0], color="0.6", linestyle=":", label="proportional")
            ax.set_xlabel(label)
            ax.set_xticks(x, [f"{value:g}" for value in x], rotation=20)
            ax.xaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.grid(color="0.9")
    axes[0, 0].set_ylabel("time (s)")
    axes[1, 0].set_ylabel("peak of anonymous memory (GB)")
    axes[0, 0].legend(frameon=False)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


def main() -> None:
    """Measure, write the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "MOVIE", "OUT"), help="for the processes that this one starts")
    parser.add_argument("--fs", type=float, default=FS, help="frames per second of what is measured, Hz")
    parser.add_argument("--quick", action="store_true", help="one small movie, to try the script; writes nothing")
    options = parser.parse_args()
    if options.measure:
        what, *paths = options.measure
        print(json.dumps(measure(what, *map(Path, paths), options.fs)))
        return
    sizes = [(name, {**BASE, name: value}) for name, values in VARIED.items() for value in values]
    if options.quick:
        sizes = [("frames", {"frames": 100, "side, px": 64, "cells": 3})]
    known: dict[tuple[int, ...], dict[str, dict[str, object]]] = {}
    for _, size in [(None, {"frames": 100, "side, px": 64, "cells": 3}), *sizes]:  # the first compiles
        key = tuple(size.values())
        if key not in known:
            with tempfile.TemporaryDirectory() as folder:
                known[key] = take(size, Path(folder))
            print(size, {name: round(found["seconds"], 1) for name, found in known[key].items()}, flush=True)
    rows = [row(name, size, known[tuple(size.values())]) for name, size in sizes]
    frames, side, cells = largest = max(known, key=lambda key: key[0] * key[1] ** 2)
    for step, seconds in known[largest]["pipeline"]["steps"].items():
        print(f"{step}: {1e9 * seconds / frames / side**2:.1f} ns a pixel and frame ({seconds:.1f} s, {cells} cells)")
    if not options.quick:
        write_table("scaling", rows, COMMAND)
        draw(rows)


if __name__ == "__main__":
    main()
