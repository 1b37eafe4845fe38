"""Is generated fluorescence real? A GAN for each fold of families, judged on the recordings of the fold that it never saw.

For the recordings of a held-out family the generator is given their spike trains, noise levels and frames, and, for each cell,
the eleven statistics of another cell of the same set (amplitude, kinetics, colour of the noise: what can be known of an
indicator and a preparation). The parametric simulator is told the mean of these other cells and answers with a double
exponential, amplitudes of log-sd 0.35 and white noise, through the same frames. Two-sample classifier, fixed before the GANs of
the folds were trained: the architecture of `SpikeNet` (fluorescence in units of the recording's noise, baseline kept, and the
description of the window) with a pooled head, on windows of 8 s, as many of each side, stopped early on other cells and scored
on cells it never saw; mean of three splits. Yardstick: real against real, cells of each set split in two.

With --stage train the five generators are trained into --out, going on where they were; --stage judge then writes the tables.
The recordings are those of Rupprecht et al. 2021 (doi:10.1038/s41593-021-00895-5), found by CALCIUM_DATA_DIR.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _table import write_table
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn import functional

from calcium_helpers.indicators import Indicator
from calcium_helpers.io.ground_truth import load_ground_truth
from calcium_helpers.models._base import save_model
from calcium_helpers.models.spike_features import describe, standardise
from calcium_helpers.models.spike_gan import (
    STATISTICS,
    SpikeGan,
    SpikeGanConfig,
    Sweep,
    as_sweep,
    fit_gan,
    generate,
    load_gan,
    measure_cells,
)
from calcium_helpers.models.spike_gan.measure import unit_of
from calcium_helpers.models.spike_net import SpikeNet
from calcium_helpers.models.spike_training import fit_spike_net
from calcium_helpers.simulate.activity import calcium_from_spikes
from calcium_helpers.spike_trains import FOLDS, Sampled, measure_bursts
from calcium_helpers.training import FitConfig, fit

COMMAND = "python benchmarks/spike_gan.py --out FOLDER --steps 600 --net-steps 250"
FS, WINDOW = 25.0, 200
MOST_WINDOWS = 40  # of one cell, so that long recordings do not speak for all
SPLITS = 3


class Windows(NamedTuple):
    """Windows of 8 s: fluorescence over the noise (N, 200), dF/F (N, 200), spikes (N, 200), the cell of each (N,)."""

    z: np.ndarray
    dff: np.ndarray
    spikes: np.ndarray
    cell: np.ndarray

    def of(self, cells: Iterable[str]) -> Windows:
        """Those of some cells."""
        rows = np.isin(self.cell, list(cells))
        return Windows(*(values[rows] for values in self))


def others(sweeps: Sequence[Sweep], statistics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each cell: the statistics of the other cells of its set, one of which stands in for it."""
    source = {sweep.cell: sweep.source for sweep in sweeps}
    return {
        cell: np.stack([statistics[other] for other, name in source.items() if name == mine and other != cell])
        for cell, mine in source.items()
    }


def generated(model: SpikeGan, sweeps: Sequence[Sweep], like: dict[str, np.ndarray], seed: int) -> list[np.ndarray]:
    """Generate fluorescence for the spikes of real sweeps; all sweeps of a cell imitate the same other cell."""
    names = {cell: i for i, cell in enumerate(like)}
    traces = []
    for i, s in enumerate(sweeps):
        table = like[s.cell]
        cell = table[np.random.default_rng([seed, names[s.cell]]).integers(len(table))]
        trace = generate(model, s.spikes, noise=s.noise, fs=s.fs, indicator=cell, frames=s.frames, seed=seed * 10_000 + i)
        traces.append(trace.values[0])
    return traces


def simulated(sweeps: Sequence[Sweep], like: dict[str, np.ndarray], seed: int) -> list[np.ndarray]:
    """Simulate with the mean kinetics of the same cells, amplitudes that vary, and white noise; frames as recorded."""
    rng, traces = np.random.default_rng(seed), []
    gains = {cell: np.exp(0.35 * rng.normal(size=1)) for cell in like}
    for s in sweeps:
        known = dict(zip(STATISTICS, like[s.cell].mean(axis=0), strict=True))
        amplitude, rise, decay = (float(np.exp(known[f"log_{name}"])) for name in ("amplitude", "rise_s", "decay_s"))
        indicator = Indicator(s.source, 1 / (1 / rise + 1 / decay), decay, amplitude, "measured")
        clean = calcium_from_spikes(s.spikes[None], FS, indicator, dff_per_spike=amplitude * gains[s.cell])[0]
        noise = s.noise / 100 * np.sqrt(s.fs) / 0.954 / np.sqrt(np.maximum(s.frames, 1))
        last = np.maximum.accumulate(np.where(s.frames > 0, np.arange(len(clean)), 0))
        traces.append((clean + noise * rng.normal(size=len(clean)))[last].astype(np.float32))
    return traces


def cut(sweeps: Sequence[Sweep], traces: Iterable[np.ndarray], seed: int = 0) -> Windows:
    """Cut the same windows of every source: without gaps, at most ``MOST_WINDOWS`` of a cell."""
    rng = np.random.default_rng(seed)
    traces = list(traces)
    places: dict[str, list[tuple[int, int]]] = {}
    for i, s in enumerate(sweeps):
        places.setdefault(s.cell, []).extend(
            (i, j) for j in range(0, len(s.dff) - WINDOW + 1, WINDOW) if s.valid[j : j + WINDOW].all()
        )
    rows = [(c, *mine[k]) for c, mine in places.items() for k in rng.permutation(len(mine))[:MOST_WINDOWS]]
    dff = np.stack([traces[i][j : j + WINDOW] for _, i, j in rows])
    unit = np.array([unit_of(sweeps[i], FS) for _, i, _ in rows], dtype=np.float32)
    spikes = np.stack([sweeps[i].spikes[j : j + WINDOW] for _, i, j in rows])
    return Windows(dff / unit[:, None], dff, spikes, np.array([c for c, _, _ in rows]))


class TwoSample(nn.Module):
    """`SpikeNet` up to its last layer, pooled over time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = SpikeNet()
        self.net.members[0].head.register_forward_pre_hook(self._keep)
        self.head = nn.Linear(2 * self.net.config.channels, 1)

    def _keep(self, _: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self.last = inputs[0]

    def forward(self, z: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Log odds that windows are of the second side, (B,)."""
        self.net(z, features)
        return self.head(torch.cat([self.last.mean((2, 3)), self.last.amax((2, 3))], 1))[:, 0]


def two_sample(first: Windows, second: Windows, seed: int, *, steps: int = 600) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Accuracy and area under the curve on cells held out; correctness and cell of each test window.

    Of eleven cells, six train, two stop and three test.
    """
    rng = np.random.default_rng(seed)
    cells = rng.permutation(np.unique(np.concatenate([first.cell, second.cell])))
    cells = cells[np.argsort([c[:4] for c in cells], kind="stable")]  # each set gives to all three parts
    part = {c: (0, 1, 2, 0, 0, 2, 0, 1, 0, 2, 0)[i % 11] for i, c in enumerate(cells)}
    data = []
    for which in range(3):
        sides = [np.flatnonzero([part[c] == which for c in w.cell]) for w in (first, second)]
        n = min(map(len, sides))
        chosen = [np.sort(rng.permutation(side)[:n]) for side in sides]
        z, dff = (np.concatenate([getattr(first, k)[chosen[0]], getattr(second, k)[chosen[1]]]) for k in ("z", "dff"))
        label = torch.arange(2).repeat_interleave(n).float()
        data.append(
            (
                torch.from_numpy(z),
                torch.from_numpy(describe(dff, fs=FS)),
                label,
                np.concatenate([first.cell[chosen[0]], second.cell[chosen[1]]]),
            )
        )

    def batches(rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        half = len(data[0][2]) // 2
        rows = np.concatenate([rng.integers(half, size=32), half + rng.integers(half, size=32)])
        return tuple(values[rows] for values in data[0][:3])

    def loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(model(*batch[:2]), batch[2])

    def score(model: nn.Module, which: int = 1) -> float:
        with torch.no_grad():
            return -float(loss(model, data[which][:3]))

    torch.manual_seed(seed)
    model = TwoSample()
    fit(
        model, batches, loss, config=FitConfig(steps=steps, learning_rate=1e-3, every=50, patience=6, seed=seed), validate=score
    )
    with torch.no_grad():
        logit = model(*data[2][:2])
    label, right = data[2][2], ((logit > 0) == (data[2][2] > 0)).numpy()
    ranks = torch.argsort(torch.argsort(logit)).double()
    n = len(label) // 2
    auc = float((ranks[label > 0].sum() - n * (n - 1) / 2) / n**2)
    return float(right.mean()), auc, right, data[2][3]


def halves(sweeps: Sequence[Sweep], seed: int) -> tuple[set[str], set[str]]:
    """Cells of each set split in two."""
    rng, first = np.random.default_rng(seed), set()
    cells = {sweep.cell: sweep.source for sweep in sweeps}
    for name in sorted(set(cells.values())):
        mine = rng.permutation([c for c, s in cells.items() if s == name])
        first |= set(mine[: (len(mine) + seed % 2) // 2])
    return first, set(cells) - first


def judge_classifier(real: Windows, sources: dict[str, Windows], sweeps: Sequence[Sweep]) -> list[dict]:
    """Ask a classifier to tell each source from the real windows."""
    rows = []
    for name, other in {"real, other cells": None, **sources}.items():
        found = []
        for seed in range(SPLITS):
            pair = (real, other) if other is not None else [real.of(cells) for cells in halves(sweeps, seed)]
            found.append(two_sample(*pair, seed))
            print(name, seed, found[-1][:2], flush=True)
        right, cell = (np.concatenate([f[k] for f in found]) for k in (2, 3))
        row = {
            "against real": name,
            "accuracy": f"{np.mean([f[0] for f in found]):.3f}",
            "range": f"{min(f[0] for f in found):.2f} to {max(f[0] for f in found):.2f}",
            "area under the curve": f"{np.mean([f[1] for f in found]):.3f}",
        }
        for k, fold in enumerate(FOLDS):
            row[f"fold {k + 1}"] = f"{right[np.isin([c[:4] for c in cell], fold)].mean():.2f}"
        rows.append(row)
    return rows


def autocorrelation(z: np.ndarray, lags: int = 50) -> np.ndarray:
    """Mean autocorrelation of windows at lags of 1 to ``lags`` bins, each window's variance counted once."""
    z = z - z.mean(axis=1, keepdims=True)
    power = (z**2).mean(axis=1) + 1e-6
    return np.array([np.mean((z[:, k:] * z[:, :-k]).mean(axis=1) / power) for k in range(1, lags + 1)])


def judge_distances(real: Windows, sources: dict[str, Windows], sweeps: Sequence[Sweep]) -> list[dict]:
    """Distances between marginals and autocorrelations, set by set, in the mean over sets."""
    one, two = halves(sweeps, 0)
    rows = []
    for name, other in {"real, other cells": None, **sources}.items():
        marginal, course = [], []
        for prefix in sorted({c[:4] for c in real.cell}):
            mine = {c for c in real.cell if c.startswith(prefix)}
            a, b = (real.of(mine), other.of(mine)) if other is not None else (real.of(mine & one), real.of(mine & two))
            if len(a.z) and len(b.z):
                marginal.append(wasserstein_distance(np.arcsinh(a.z).ravel()[::3], np.arcsinh(b.z).ravel()[::3]))
                course.append(np.abs(autocorrelation(a.z) - autocorrelation(b.z)).mean())
        rows.append(
            {
                "against real": name,
                "marginal (Wasserstein, asinh of units of noise)": f"{np.mean(marginal):.3f}",
                "autocorrelation (mean difference, 0.04 to 2 s)": f"{np.mean(course):.3f}",
            }
        )
    return rows


def judge_amplitudes(sweeps: Sequence[Sweep], traces: dict[str, list[np.ndarray]]) -> list[dict]:
    """Mean rise of dF/F by number of spikes in a burst, in the mean over sets; and its distance from the real one."""
    rises: dict[str, dict[tuple[str, int], float]] = {}
    for name, mine in traces.items():
        sampled = [Sampled(t, s.spikes, FS, np.arange(1, len(t) + 1) / FS, s.valid) for t, s in zip(mine, sweeps, strict=True)]
        bursts = measure_bursts(sampled)
        before = bursts.dff[:, bursts.times_s < 0].mean(axis=1)
        after = bursts.dff[:, (bursts.times_s >= 0.1) & (bursts.times_s < 0.6)].mean(axis=1)
        source = np.array([sweeps[i].source[:4] for i in bursts.sweep])
        rises[name] = {
            (d, n): float(np.mean((after - before)[(source == d) & (bursts.size == n)]))
            for d in np.unique(source)
            for n in range(1, 6)
            if np.sum((source == d) & (bursts.size == n)) >= 10
        }
    rows = []
    for name, found in rises.items():
        row = {"fluorescence": name}
        for n in range(1, 6):
            row[f"{n} spikes"] = f"{np.mean([v for (_, k), v in found.items() if k == n]):.3f}"
        both = [key for key in rises["real"] if key in found]
        apart = [abs(found[key] - rises["real"][key]) / max(abs(rises["real"][key]), 0.01) for key in both]
        rows.append({**row, "median relative distance from real": f"{np.median(apart):.2f}", "sets and sizes": len(both)})
    return rows


def judge_neighbours(real: Windows, sources: dict[str, Windows], seed: int = 0) -> list[dict]:
    """Distance of each window of a fold to the nearest window that the fold's generator learned from."""
    rng, rows = np.random.default_rng(seed), []

    def shapes(windows: np.ndarray) -> np.ndarray:
        return (windows - windows.mean(axis=1, keepdims=True)) / (windows.std(axis=1, keepdims=True) + 1e-6)

    for name, other in {"real, held out": real, **sources}.items():
        nearest = []
        for fold in FOLDS:
            inside = np.isin([c[:4] for c in real.cell], fold)
            known, asked = shapes(real.z[~inside]), shapes(other.z[inside])
            asked = asked[rng.permutation(len(asked))[:300]]
            square = 2 * WINDOW - 2 * asked @ known.T
            nearest.append(np.sqrt(np.maximum(square.min(axis=1), 0) / WINDOW))
        joined = np.concatenate(nearest)
        row = {"windows": name, "median distance to the nearest learned": f"{np.median(joined):.3f}"}
        rows.append({**row, "nearest of all": f"{joined.min():.3f}", "1 %": f"{np.quantile(joined, 0.01):.3f}"})
    return rows


def judge_training(sweeps: Sequence[Sweep], traces: dict[str, list[np.ndarray]], out: Path, steps: int) -> list[dict]:
    """Train `SpikeNet` on each source outside a fold, test it on the real recordings of the fold."""
    rows = []
    for name, mine in traces.items():
        by_set: dict[str, list[float]] = {}
        for k, fold in enumerate(FOLDS):
            used = [
                (Sampled(t, s.spikes, FS, np.arange(1, len(t) + 1) / FS, s.valid), s.source)
                for t, s in zip(mine[k], cycle(sweeps), strict=False)  # a mixture holds each sweep more than once
                if s.source[:4] not in fold and len(t) >= WINDOW
            ]
            train, groups = zip(*used, strict=True)
            config = FitConfig(steps=steps, every=100)
            net, _ = fit_spike_net(train, groups, config=config, checkpoint=out / f"net-{name.split()[0]}-{k}.pt")
            test = [s for s in sweeps if s.source[:4] in fold and s.spikes.sum() >= 5]
            for cell, score in correlations(net, test).items():
                by_set.setdefault(cell[:4], []).append(score)
            print(name, k, {d: round(float(np.mean(v)), 3) for d, v in by_set.items()}, flush=True)
        mean = {d: float(np.mean(v)) for d, v in by_set.items()}
        rows.append({"trained on": name, "correlation, 25 Hz, zero lag": float(np.mean(list(mean.values()))), **mean})
    best = next(row["correlation, 25 Hz, zero lag"] for row in rows if row["trained on"].startswith("real"))
    return [
        {"trained on": r["trained on"], "of real": f"{r['correlation, 25 Hz, zero lag'] / best:.2f}"}
        | {key: f"{value:.3f}" for key, value in r.items() if key != "trained on"}
        for r in rows
    ]


def correlations(net: nn.Module, sweeps: Sequence[Sweep]) -> dict[str, float]:
    """Mean over a cell's sweeps of the correlation between inferred and true spikes at 25 Hz, zero lag."""
    found: dict[str, list[float]] = {}
    for s in sweeps:
        n = len(s.dff) - len(s.dff) % 4
        if n < 50 or not s.spikes[:n].any():
            continue
        with torch.no_grad():
            rate = net(torch.from_numpy(standardise(s.dff[None, :n])[0]), torch.from_numpy(describe(s.dff[None, :n], fs=FS)))
        found.setdefault(s.cell, []).append(float(np.nan_to_num(np.corrcoef(rate[0].numpy(), s.spikes[:n])[0, 1])))
    return {cell: float(np.mean(scores)) for cell, scores in found.items()}


def train(sweeps: Sequence[Sweep], statistics: dict[str, np.ndarray], out: Path, folds: Sequence[int], steps: int) -> None:
    """One generator a fold, and one of all sets (fold 0); finished ones stay."""
    for k in folds:
        folder = out / f"fold{k}"
        if (folder / "weights.safetensors").exists():
            continue
        mine = [s for s in sweeps if k == 0 or s.source[:4] not in FOLDS[k - 1]]
        config = SpikeGanConfig(steps=steps, seed=k)

        def tell(step: int, n: int, distance: float, k: int = k) -> None:
            if step % 50 == 0:
                print(f"fold {k}: {step} of {n}, distance {distance:.3f}", flush=True)

        model, history = fit_gan(
            mine, config=config, statistics=statistics, checkpoint=out / f"fold{k}.pt", every=100, progress=tell
        )
        left_out = [] if k == 0 else list(FOLDS[k - 1])
        save_model(model, folder, about={"command": COMMAND, "left out": left_out, "steps": steps})
        np.savez(folder / "history.npz", losses=history.losses, pictured=history.pictured, pictures=history.pictures)


def untrained(model: SpikeGan) -> SpikeGan:
    """Return the same generator before it met a critic: what is measured of the cells, and the formula."""
    torch.manual_seed(model.config.seed)
    fresh, known = SpikeGan(model.config), model.state_dict()
    for name, buffer in fresh.named_buffers():
        buffer.copy_(known[name])
    return fresh.eval()


def judge(sweeps: Sequence[Sweep], statistics: dict[str, np.ndarray], out: Path, only: str, net_steps: int) -> None:
    like = others(sweeps, statistics)
    fold_of = {d: k for k, fold in enumerate(FOLDS) for d in fold}
    models = [load_gan(out / f"fold{k + 1}") for k in range(len(FOLDS))]
    by_fold = [generated(model, sweeps, like, seed=k) for k, model in enumerate(models, start=1)]
    before = [generated(untrained(model), sweeps, like, seed=k) for k, model in enumerate(models, start=1)]
    held_out, formula = ([source[fold_of[s.source[:4]]][i] for i, s in enumerate(sweeps)] for source in (by_fold, before))
    simple = simulated(sweeps, like, 0)
    real = [s.dff for s in sweeps]
    windows = cut(sweeps, real)
    traces = {"GAN, families held out": held_out, "its formula, untrained": formula, "parametric simulator": simple}
    sources = {name: cut(sweeps, made) for name, made in traces.items()}
    if only in ("all", "figures"):
        write_table("spike_gan_distances", judge_distances(windows, sources, sweeps), COMMAND)
        write_table("spike_gan_amplitudes", judge_amplitudes(sweeps, {"real": real, **traces}), COMMAND)
        write_table("spike_gan_neighbours", judge_neighbours(windows, sources), COMMAND)
    if only in ("all", "classifier"):
        write_table("spike_gan", judge_classifier(windows, sources, sweeps), COMMAND)
    if only in ("all", "net"):
        same = {
            "real recordings": [real] * len(FOLDS),
            "GAN, same spikes": by_fold,
            "simulator, same spikes": [simple] * len(FOLDS),
            "both, real and GAN": [real + made for made in by_fold],
        }
        write_table("spike_gan_training", judge_training(sweeps, same, out, net_steps), COMMAND)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and generators")
    parser.add_argument("--stage", choices=("train", "judge", "all"), default="all")
    parser.add_argument("--folds", type=int, nargs="*", default=[1, 2, 3, 4, 5, 0], help="0 is the generator of all sets")
    parser.add_argument("--only", choices=("all", "classifier", "figures", "net"), default="all", help="tables to write")
    parser.add_argument("--steps", type=int, default=SpikeGanConfig().steps)
    parser.add_argument("--net-steps", type=int, default=400, help="of each SpikeNet")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    sweeps = [as_sweep(r) for r in load_ground_truth(Path(os.environ["CALCIUM_DATA_DIR"]) / "spikes")]
    stored = args.out / "statistics.npz"
    if not stored.exists():
        np.savez(stored, **measure_cells(sweeps))
    statistics = dict(np.load(stored))
    if args.stage in ("train", "all"):
        train(sweeps, statistics, args.out, args.folds, args.steps)
    if args.stage in ("judge", "all"):
        judge(sweeps, statistics, args.out, args.only, args.net_steps)


if __name__ == "__main__":
    main()
