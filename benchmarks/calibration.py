"""Do the statistics hold what they state? 200 simulated runs of each case, whose answer is known.

Intervals must hold the truth as often as they say, tests must find nothing where there is nothing more often than they say,
and what was planted must be found. The cases stand in `known_answers/`; beside each share is the interval that 200 runs leave
for it (Wilson, 95 %), over runs: trials of one run are not independent.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from _table import write_table
from known_answers import activity, conditions, detection, networks

COMMAND = "python benchmarks/calibration.py"
MODULES = (detection, activity, networks, conditions)
TABLES = {
    "calibration_intervals": ("INTERVALS", "stated coverage", "covered"),
    "calibration_false_positives": ("FALSE_POSITIVES", "stated rate", "found"),
    "calibration_recovered": ("RECOVERED", "bar", "recovered"),
}


def one(kind: str, module: int, case: str, seed: int) -> tuple[float, int]:
    """Share of the trials of one run that came true, and how many there were."""
    trials = np.atleast_1d(getattr(MODULES[module], kind)[case][1](seed)).astype(float)
    trials = trials[np.isfinite(trials)]
    return (float(trials.mean()), trials.size) if trials.size else (float("nan"), 0)


def share(kind: str, module: int, case: str, runs: int, pool: ProcessPoolExecutor) -> tuple[float, float, float, int]:
    """Mean over all trials, its interval from the spread over runs (as wide as Wilson's at least), and the number of trials."""
    parts = np.array(list(pool.map(partial(one, kind, module, case), range(runs), chunksize=5)))
    shares, sizes = parts[:, 0], parts[:, 1]
    if not sizes.sum():
        raise ValueError(f"{case}: no run had a trial")
    mean = float(np.nansum(shares * sizes) / sizes.sum())
    used = sizes > 0
    clustered = float(np.sqrt(np.sum((sizes[used] * (shares[used] - mean)) ** 2)) / sizes.sum())
    z, n = 1.96, max(1.0, mean * (1 - mean) / clustered**2) if clustered > 0 else float(used.sum())
    centre, half = (mean + z**2 / 2 / n) / (1 + z**2 / n), z * np.sqrt(mean * (1 - mean) / n + z**2 / 4 / n**2) / (1 + z**2 / n)
    return mean, float(centre - half), float(centre + half), int(sizes.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs a case (default: 200)")
    parser.add_argument("--only", default="", help="only cases whose name holds this; nothing is stored then")
    options = parser.parse_args()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for table, (kind, stated_name, name) in TABLES.items():
            rows = []
            for number, module in enumerate(MODULES):
                for case, (stated, _) in getattr(module, kind).items():
                    if options.only in case:
                        mean, low, high, n = share(kind, number, case, options.runs, pool)
                        interval = f"{low:.3f} to {high:.3f}"
                        rows.append({"case": case, stated_name: stated, name: f"{mean:.3f}", "interval": interval, "trials": n})
                        print(rows[-1], flush=True)
            if rows and not options.only and options.runs == 200:
                write_table(table, rows, COMMAND)


if __name__ == "__main__":
    main()
