"""Spike inference on real electrophysiology: ours with the indicator's family left out of training, beside what others do.

The 19 data sets of Rupprecht et al. 2021 (doi:10.1038/s41593-021-00895-5), found by CALCIUM_DATA_DIR, in five folds that keep
families together. A score is the mean over cells of the mean over their sweeps of the Pearson correlation between inferred rate
and spike counts at 25 Hz; sets slower than that are scored at their own rate. Cells with fewer than five spikes are left out.
Table 1 uses no truth of the set that is scored: ours at zero lag, the others at the one lag that is best in the mean of the
training folds. Table 2 grants every method its best lag in each set, which only the truth can tell. Architecture and length of
training were chosen on DS09, DS14 and DS25, their families left out.

    python benchmarks/spikes.py --out FOLDER train --folds 0 1 2 3 4    (about 15 minutes a fold on one core; resumes)
    python benchmarks/spikes.py --out FOLDER train --all                (the network of the package)
    python benchmarks/spikes.py --out FOLDER                            (the tables)
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from _table import write_table
from deconvolution import derivative, oasis, ours, seconds
from scipy.signal import lfilter

from calcium_helpers.containers import Traces
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.io.ground_truth import GroundTruth, load_ground_truth
from calcium_helpers.io.save import atomic_path
from calcium_helpers.models._base import save_model
from calcium_helpers.models.spike_inference import infer_spikes, load_spike_net
from calcium_helpers.models.spike_net import SpikeNet, SpikeNetConfig
from calcium_helpers.models.spike_simulator import simulate_sweeps
from calcium_helpers.models.spike_training import fit_spike_net
from calcium_helpers.spike_trains import DEVELOPMENT, FOLDS, Sampled, resample
from calcium_helpers.training import FitConfig

COMMAND = "python benchmarks/spikes.py --out FOLDER"
NET = SpikeNetConfig(members=3)
FIT = FitConfig(steps=1000, every=250)
SIMULATED, SIMULATED_GROUPS = 300, 10
FS = 25.0
FEWEST_SPIKES = 5
LAGS_S = np.arange(-5, 16) * 0.04
ZERO = 5
OURS = "ours"
TRACES, SAMPLES = 1000, 20000


def train(recordings: Sequence[GroundTruth], left_out: Sequence[str], out: Path, name: str) -> None:
    """Train on what is not left out and on simulated sweeps."""
    used = [recording for recording in recordings if recording.dataset not in left_out]
    simulated = simulate_sweeps(SIMULATED, seed=0)
    sweeps = [*(resample(recording) for recording in used), *simulated]
    groups = [*(recording.dataset for recording in used), *(f"simulated {i % SIMULATED_GROUPS}" for i in range(SIMULATED))]
    model, histories = fit_spike_net(sweeps, groups, net=NET, config=FIT, checkpoint=out / name)
    about = {
        "trained_on": sorted({recording.dataset for recording in used}), "simulated_sweeps": SIMULATED, "seed": FIT.seed,
        "steps": FIT.steps, "loss": [round(float(history.loss[-1]), 4) for history in histories],
        "command": f"{COMMAND} train --all",
    }  # fmt: skip
    save_model(model, out / name, about=about)


class Sweep(NamedTuple):
    """One sweep as all methods see it, and the rate of its frames."""

    dataset: str
    cell: str
    sampled: Sampled
    recording: GroundTruth


def scored(recordings: Sequence[GroundTruth]) -> list[Sweep]:
    """Sweeps at 25 Hz or their own slower rate, of cells that fired enough; silent sweeps have no correlation."""
    sweeps = [Sweep(r.dataset, r.cell, resample(r, fs=min(FS, r.fs)), r) for r in recordings]
    spikes: Counter[tuple[str, str]] = Counter()
    for sweep in sweeps:
        spikes[sweep.dataset, sweep.cell] += int(sweep.sampled.spikes[sweep.sampled.valid].sum())
    few = [cell for cell, n in spikes.items() if n < FEWEST_SPIKES]
    print(f"{len(few)} of {len(spikes)} cells have fewer than {FEWEST_SPIKES} spikes and are left out: {few}")
    return [s for s in sweeps if (s.dataset, s.cell) not in few and s.sampled.spikes[s.sampled.valid].any()]


def simple(infer: Callable[[Traces], np.ndarray]) -> Callable[[Sweep], np.ndarray]:
    return lambda sweep: infer(Traces(sweep.sampled.dff[None], sweep.sampled.fs, "dff"))[0]


def net(nets: dict[str, SpikeNet]) -> Callable[[Sweep], np.ndarray]:
    """Infer with the network that never saw the family, on the samples that the other methods get."""

    def infer(sweep: Sweep) -> np.ndarray:
        dff = Traces(sweep.sampled.dff[None], sweep.sampled.fs, "dff")
        return infer_spikes(dff, model=nets[sweep.dataset], own_fs=max(sweep.recording.fs, dff.fs), threads=1).values[0]

    return infer


def net_on_frames(nets: dict[str, SpikeNet]) -> Callable[[Sweep], np.ndarray]:
    """Infer from the recording's own frames, as a user does, then average the rates to the samples that are scored."""

    def infer(sweep: Sweep) -> np.ndarray:
        own = resample(sweep.recording)
        rate = infer_spikes(Traces(own.dff[None], own.fs, "dff"), model=nets[sweep.dataset], threads=1).values[0]
        total = np.concatenate([[0], np.cumsum(rate)])
        ends = np.concatenate([[own.times_s[0] - 1 / own.fs], own.times_s])
        edges = sweep.sampled.times_s
        return np.diff(np.interp(np.append(edges[0] - 1 / sweep.sampled.fs, edges), ends, total)) * sweep.sampled.fs / own.fs

    return infer


def correlations(sweeps: Sequence[Sweep], infer: Callable[[Sweep], np.ndarray]) -> dict[str, list[float]]:
    """Score at every lag, each data set."""
    cells: dict[str, dict[str, list[list[float]]]] = {}
    for sweep in sweeps:
        found, true, valid = infer(sweep), sweep.sampled.spikes, sweep.sampled.valid
        row = [_correlation(found, true, valid, round(lag_s * sweep.sampled.fs)) for lag_s in LAGS_S]
        cells.setdefault(sweep.dataset, {}).setdefault(sweep.cell, []).append(row)
    return {name: np.mean([np.mean(rows, axis=0) for rows in of.values()], axis=0).tolist() for name, of in cells.items()}


def _correlation(found: np.ndarray, true: np.ndarray, valid: np.ndarray, lag: int) -> float:
    """Correlation with ``found`` taken to be ``lag`` samples late; 0 where either is constant."""
    late, early = slice(max(lag, 0), len(found) + min(lag, 0)), slice(max(-lag, 0), len(found) - max(lag, 0))
    both = valid[late] & valid[early]
    a, b = found[late][both], true[early][both]
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def all_scores(sweeps: Sequence[Sweep], nets: dict[str, SpikeNet], out: Path) -> dict[str, dict[str, list[float]]]:
    """Scores of every method; those of an earlier run are read back."""
    methods: dict[str, Callable[[Sweep], np.ndarray]] = {
        OURS: net(nets), "ours, from all frames": net_on_frames(nets),
        "smoothed derivative": simple(derivative), "oasis-deconv AR(1)": simple(oasis(1)), "our AR(1)": simple(ours("ar1")),
        "oasis-deconv AR(2)": simple(oasis(2)),
    }  # fmt: skip
    scores = {}
    for name, infer in methods.items():
        path = out / f"scores-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
        if not path.exists():
            table = correlations(sweeps, infer)
            with atomic_path(path) as part:
                part.write_text(json.dumps(table), encoding="utf-8")
        scores[name] = json.loads(path.read_text(encoding="utf-8"))
        zero = [rows[ZERO] for rows in scores[name].values()]
        print(f"{name}: {np.mean(zero):.3f} at zero lag in the mean of {len(zero)} sets", flush=True)
    return scores


def tabulate(scores: dict[str, dict[str, list[float]]], sweeps: Sequence[Sweep]) -> tuple[list[dict], list[dict]]:
    """Tables 1 and 2, one row a data set, with means."""
    fold_of = {name: fold for fold in FOLDS for name in fold}
    own = {sweep.dataset: sweep.sampled.fs for sweep in sweeps}
    cells = {name: len({sweep.cell for sweep in sweeps if sweep.dataset == name}) for name in own}
    one, two = [], []
    for name in sorted(own):
        train = [other for other in own if other not in fold_of[name]]
        mark = "*" * (min(sweep.sampled.fs for sweep in sweeps if sweep.dataset == name) < FS - 0.1)
        first: dict[str, Any] = {"set": name + mark, "cells": cells[name]}
        second = dict(first)
        for method, table in scores.items():
            chosen = int(np.argmax(np.mean([table[other] for other in train], axis=0)))
            first[method] = table[name][ZERO if method.startswith(OURS) else chosen]
            second[method] = max(table[name])
        one.append(first)
        two.append(second)
    return _with_means(one, scores), _with_means(two, scores)


def _with_means(rows: list[dict], scores: dict[str, Any]) -> list[dict]:
    """Add means over all sets and over those that nothing was chosen on; write numbers as text."""
    kept = [row for row in rows if row["set"].rstrip("*") not in DEVELOPMENT]
    means = [
        {"set": title, "cells": sum(row["cells"] for row in which)} | {m: np.mean([row[m] for row in which]) for m in scores}
        for title, which in (("mean", rows), (f"mean without {', '.join(DEVELOPMENT)}", kept))
    ]
    return [{key: f"{value:.3f}" if isinstance(value, float) else value for key, value in row.items()} for row in rows + means]


def rates(sweeps: Sequence[Sweep], nets: dict[str, SpikeNet]) -> tuple[list[dict], list[dict]]:
    """Rate error and bias of the cells of each set; what fires where we say a rate, every set counting alike."""
    infer = net(nets)
    cells: dict[str, dict[str, np.ndarray]] = {}
    edges = np.array([0, 0.03, 0.1, 0.3, 1, 3, 10, 30, np.inf])
    sums: dict[str, np.ndarray] = {}
    for sweep in sweeps:
        valid, fs = sweep.sampled.valid, sweep.sampled.fs
        found, true = infer(sweep)[valid], sweep.sampled.spikes[valid] * fs
        cell = cells.setdefault(sweep.dataset, {}).setdefault(sweep.cell, np.zeros(3))
        cell += np.array([found.sum(), true.sum(), len(found)]) / fs
        which = np.digitize(found, edges) - 1
        counted = np.array([np.bincount(which, weights / fs, len(edges) - 1) for weights in (np.ones(len(found)), found, true)])
        sums[sweep.dataset] = sums.get(sweep.dataset, 0) + counted
    rows = []
    for name, of in sorted(cells.items()):
        inferred, true, seconds = np.array(list(of.values())).T
        factor = np.log2(inferred / true)
        rows.append({
            "set": name, "cells": len(of), "true rate, Hz": f"{true.sum() / seconds.sum():.2f}",
            "inferred, Hz": f"{inferred.sum() / seconds.sum():.2f}", "median inferred / true": f"{2 ** np.median(factor):.2f}",
            "median error, factor": f"{2 ** np.median(np.abs(factor)):.2f}",
        })  # fmt: skip
    time_s, found, true = sum(table / table[0].sum() for table in sums.values()) / len(sums)
    curve = [
        {
            "said, Hz": f"{low:g} to {high:g}",
            "share of time": f"{t:.4f}",
            "said in the mean": f"{f / t:.3f}",
            "fired": f"{n / t:.3f}",
        }
        for low, high, t, f, n in zip(edges[:-1], edges[1:], time_s, found, true, strict=True)
    ]
    return rows, curve


def speed(model: SpikeNet) -> list[dict]:
    """Traces of 20,000 samples, in turns with our AR(1), one thread each; the median of three rounds."""
    rng = np.random.default_rng(1)
    calcium = lfilter([1.0], [1.0, -0.95], rng.random((TRACES, SAMPLES)) < 0.02, axis=1)
    dff = Traces(0.1 * (calcium + rng.normal(scale=0.3, size=calcium.shape)), 30.0, "dff")
    deconvolve(dff.select(np.arange(2)), method="ar1")
    actions = (lambda: deconvolve(dff, method="ar1", threads=1), lambda: infer_spikes(dff, model=model, threads=1))
    rounds = np.array([[seconds(action) for action in actions] for _ in range(3)]) * 1000 / TRACES
    ratio = rounds[:, 1] / rounds[:, 0]
    mine, ar1 = np.median(rounds[:, 1]), np.median(rounds[:, 0])
    return [{
        "traces timed": TRACES, "network, s for 1000": f"{mine:.1f}", "AR(1), s for 1000": f"{ar1:.1f}",
        "network / AR(1)": f"{np.median(ratio):.1f}", "most of three": f"{ratio.max():.1f}",
    }]  # fmt: skip


def judge(recordings: Sequence[GroundTruth], out: Path) -> None:
    """Write the tables."""
    sweeps = scored(recordings)
    nets = {name: load_spike_net(out / f"fold{i}") for i, fold in enumerate(FOLDS) for name in fold}
    one, two = tabulate(all_scores(sweeps, nets, out), sweeps)
    rows, curve = rates(sweeps, nets)
    for name, table in (("spikes", one), ("spikes_best_lag", two), ("spikes_rates", rows), ("spikes_calibration", curve)):
        write_table(name, table, COMMAND)
    write_table("spikes_speed", speed(nets["DS09"]), COMMAND)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of networks and checkpoints")
    commands = parser.add_subparsers(dest="command")
    training = commands.add_parser("train")
    training.add_argument("--folds", type=int, nargs="*", default=[])
    training.add_argument("--all", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recordings = load_ground_truth(Path(os.environ["CALCIUM_DATA_DIR"]) / "spikes")
    if options.command == "train":
        jobs = [(FOLDS[i], f"fold{i}") for i in options.folds] + ([((), "all")] if options.all else [])
        for left_out, name in jobs:
            if not (options.out / name / "weights.safetensors").exists():
                train(recordings, left_out, options.out, name)
    else:
        judge(recordings, options.out)


if __name__ == "__main__":
    main()
