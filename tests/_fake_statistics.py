"""Statistics of planted groups of cells, for tests of what is drawn and written from them; quick at 2,000 cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
from _fake_results import make_results
from scipy.signal import lfilter

from calcium_helpers.containers import Events
from calcium_helpers.stats import Alignment, Clustering, Correlation, Spectra, Statistics, StatisticsConfig, Synchrony

MEASURES = {
    "rate": "1/min",
    "interval": "s",
    "interval_cv": "1",
    "amplitude": "dF/F",
    "rise": "s",
    "half_decay": "s",
    "area": "dF/F s",
}


def make_grouped(*, n_cells=20, n_frames=1500, fs=30.0, n_groups=3, seed=0, shape=(256, 256)):
    """Results of cells in groups that fire together, and the statistics of the accepted ones; every fifth is rejected."""
    rng = np.random.default_rng(seed)
    results = make_results(n_cells=n_cells, n_frames=n_frames, fs=fs, seed=seed, shape=shape)
    group = rng.integers(0, n_groups, n_cells) if n_groups else np.full(n_cells, -1)
    common = rng.random((max(n_groups, 1), n_frames)) < 0.08 / fs
    fires = (rng.random((n_cells, n_frames)) < 0.7) & common[group] if n_groups else np.zeros((n_cells, n_frames), bool)
    spikes = (fires | (rng.random((n_cells, n_frames)) < 0.03 / fs)) * rng.uniform(0.4, 1.2, (n_cells, 1))
    clean = lfilter([1], [1, -np.exp(-1 / (0.6 * fs))], spikes, axis=1).astype(np.float32)
    dff = clean + rng.normal(0, 0.12, clean.shape).astype(np.float32)
    events = _events(spikes, fs, n_frames)
    results = results._replace(
        dff=results.dff.replace(values=dff), denoised=results.denoised.replace(values=clean),
        spikes=results.spikes.replace(values=spikes), events=results.events.replace(table=events),
    )  # fmt: skip
    return results, make_statistics(results, group, seed=seed)


def _events(spikes, fs, n_frames):
    roi, frame = np.nonzero(spikes)
    onset, amplitude, last = frame / fs, spikes[roi, frame], (n_frames - 1) / fs
    table = {"roi": roi, "onset_s": onset, "peak_s": np.minimum(onset + 0.1, last), "offset_s": np.minimum(onset + 1.2, last)}
    table |= {"amplitude": amplitude, "rise_s": 0.1 * amplitude, "half_decay_s": 0.4 * amplitude**0.3, "area": 0.6 * amplitude}
    return pd.DataFrame(table | {"z": 10 * amplitude})


def make_statistics(results, group, *, seed=0):
    """Statistics of the accepted cells in the shapes that `stats.analyse` gives."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(results.cells["accepted"])
    ids, labels, n = results.footprints.ids[rows], group[rows], len(rows)
    cells = _cells(ids, rng)
    clusters = _clustering(ids, labels, pd.DataFrame(rng.normal(0, 0.3, (n, 2)) + labels[:, None], columns=["pc1", "pc2"]))
    table = results.events.table[results.events.table["roi"].isin(ids)]
    kind = (table["amplitude"] > 0.8).astype(int).to_numpy()
    features = np.log(table[["amplitude", "rise_s", "half_decay_s"]].clip(lower=1e-3))
    correlation = _correlation(
        ids, np.where(np.equal.outer(labels, labels) & (labels >= 0), 0.5, 0) + rng.normal(0, 0.05, (n, n))
    )
    fs, n_frames = results.dff.fs, results.dff.n_frames
    frequency = np.arange(n_frames // 2 + 1) * fs / n_frames
    power = rng.gamma(4, 0.25, (n, len(frequency))) / (1 + (frequency / 0.3) ** 2)
    if n:
        power[0] += 20 * np.exp(-(((frequency - 1.2) / 0.05) ** 2))
    edges = {"infraslow": (0.01, 0.1), "slow": (0.1, 1), "fast": (1, fs / 2)}
    bands = pd.DataFrame(
        [(i, name, *edge, 0.1, rng.random()) for i in ids for name, edge in edges.items()],
        columns=["roi", "band", "low_hz", "high_hz", "power", "share"],
    )
    found = np.arange(n) == 0
    rhythms = pd.DataFrame(
        {"roi": ids, "frequency_hz": 1.2, "power": 20.0, "contrast": 9.0, "p": 0.5, "q": np.where(found, 0.01, 0.9)}
    )
    distance = np.linspace(10, 200, 8)
    r = np.exp(-distance / 60) if n > 1 else np.full(8, np.nan)
    return Statistics(
        config=StatisticsConfig(), rows=rows, ids=ids, events=Events(table), cells=cells, groups=_groups(cells),
        spectra=Spectra(frequency_hz=frequency, power=power, unit="(dF/F)^2/Hz", method="multitaper", ids=ids), bands=bands,
        rhythms=rhythms.assign(significant=found), cell_clusters=clusters,
        event_clusters=_clustering(np.arange(len(table)), kind, features),
        correlation=correlation, lagged=_lagged(correlation, rng), tiling=correlation,
        distance=pd.DataFrame({"distance": distance, "unit": "um", "n": 40, "r": r, "low": r - 0.1, "high": r + 0.1})
        .assign(null_r=0.0),
        synchrony=_synchrony(results, rng), alignment=_alignment(ids, rng),
        notes=("the recording is too short for the band infraslow (below 0.1 Hz): it is left out",),
    )  # fmt: skip


def _cells(ids, rng):
    parts = []
    for measure, unit in MEASURES.items():
        value = rng.gamma(4, 0.5, len(ids))
        parts.append(
            pd.DataFrame(
                {"roi": ids, "measure": measure, "unit": unit, "n": 9, "value": value, "low": 0.8 * value, "high": 1.3 * value}
            )
        )
    return pd.concat(parts, ignore_index=True)


def _groups(cells):
    means = cells.groupby(["measure", "unit"], sort=False)["value"].agg(n="count", value="mean").reset_index()
    return means.assign(group="all", low=0.9 * means["value"], high=1.1 * means["value"])


def _clustering(ids, labels, features):
    n_clusters = len(set(labels[labels >= 0].tolist()))
    number = np.arange(2, 9)
    choice = pd.DataFrame(
        {"method": np.repeat(["hierarchical", "k-means"], 7), "n_clusters": np.tile(number, 2), "null_high": 0.15}
    )
    choice["silhouette"] = (
        0.5 - 0.08 * np.abs(choice["n_clusters"] - max(n_clusters, 2)) - 0.01 * (choice["method"] == "k-means")
    )
    order = np.argsort(np.where(labels < 0, 99, labels), kind="stable")
    return Clustering(
        labels=labels, ids=np.asarray(ids), order=order, method="hierarchical", n_clusters=n_clusters, choice=choice,
        stability=np.linspace(0.95, 0.6, n_clusters), features=features.reset_index(drop=True),
    )  # fmt: skip


def _correlation(ids, r, lag=0.0):
    r = (r + r.T) / 2
    np.fill_diagonal(r, 1)
    significant = (r > 0.25) & ~np.eye(len(ids), dtype=bool)
    null = np.random.default_rng(1).normal(0, 0.05, r.shape)
    p = np.where(significant, 1e-4, 0.5)
    return Correlation(
        r=r, lag_s=np.full(r.shape, lag), null_sd=np.full(r.shape, 0.05), null=(null + null.T) / 2, p=p, q=p,
        significant=significant, ids=ids, method="Pearson", alpha=0.05,
    )  # fmt: skip


def _lagged(correlation, rng):
    lag = np.triu(rng.normal(0, 0.2, correlation.r.shape), 1)
    return correlation._replace(lag_s=lag - lag.T, method="lagged Pearson")


def _synchrony(results, rng):
    times = results.dff.times_s
    active = rng.poisson(1.5, len(times))
    table = {"onset_s": [], "peak_s": [], "offset_s": [], "n_cells": [], "share": [], "p": []}
    if len(times) > 500:
        active[300:320] += 9
        table = {
            "onset_s": [times[300]],
            "peak_s": [times[310]],
            "offset_s": [times[320]],
            "n_cells": [10],
            "share": [0.6],
            "p": [0.001],
        }
    return Synchrony(
        times_s=times, n_active=active, threshold=8.0, alpha=0.05, table=pd.DataFrame(table, dtype=float), expected=1.5
    )


def _alignment(ids, rng):
    times, labels = np.linspace(-2, 4, 61), ("left", "right")
    bump = np.where(times > 0, times * np.exp(-times), 0)
    mean = bump * rng.random((len(ids), 2, 1)) + rng.normal(0, 0.03, (len(ids), 2, 61))
    responses = pd.DataFrame(
        {
            "roi": np.repeat(ids, 2),
            "label": np.tile(labels, len(ids)),
            "n_trials": 12,
            "unit": "dF/F",
            "response": mean.mean(axis=2).ravel(),
        }
    )
    responses = responses.assign(
        low=responses["response"] - 0.1,
        high=responses["response"] + 0.1,
        p=0.01,
        q=0.02,
        significant=responses["response"] > 0.1,
    )
    return Alignment(times_s=times, mean=mean, low=mean - 0.1, high=mean + 0.1, labels=labels, responses=responses, ids=ids)
