"""All statistics of a run's accepted cells in one call, and the numbers and remarks that a report states of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Events
from calcium_helpers.results import Results
from calcium_helpers.stats.clusters import Clustering, cluster_cells, cluster_events
from calcium_helpers.stats.correlation import Correlation, correlate, correlate_events
from calcium_helpers.stats.distance import correlation_by_distance
from calcium_helpers.stats.rates import measure_cells, measure_groups
from calcium_helpers.stats.spectra import Spectra, estimate_spectra, find_rhythms, measure_bands
from calcium_helpers.stats.stimulus import Alignment, align_to_stimuli
from calcium_helpers.stats.synchrony import Synchrony, find_synchrony

ALL = "all cells"


@dataclass(frozen=True)
class StatisticsConfig:
    """What the statistics of a report may be told."""

    confidence: float = 0.95
    """Of all intervals."""
    alpha: float = 0.05
    """False discoveries accepted among pairs, cells and responses; chance of any false synchronous event."""
    max_lag_s: float = 2.0
    """Longest lag looked at between two cells, seconds."""
    window_s: float = 0.5
    """Events of two cells this close count as together, seconds."""
    max_clusters: int = 8
    """Most groups that are tried."""
    before_s: float = 2.0
    """Stretch shown before a stimulus, its baseline, seconds."""
    after_s: float = 4.0
    """Stretch after a stimulus that the response is measured in, seconds."""
    seed: int = 0
    """Of shuffles and resampling."""


class Statistics(NamedTuple):
    """Statistics of the accepted cells of a run: ``rows`` of the results, ``ids``, ``events``, and each part.

    ``groups`` holds all cells and, where there are several, each cluster; ``lagged`` and ``tiling`` are the correlation at its
    best lag and the spike-time tiling coefficient; ``alignment`` is None without stimuli; ``notes`` say in words what was
    assumed and what could not be told.
    """

    config: StatisticsConfig
    rows: np.ndarray
    ids: np.ndarray
    events: Events
    cells: pd.DataFrame
    groups: pd.DataFrame
    spectra: Spectra
    bands: pd.DataFrame
    rhythms: pd.DataFrame
    cell_clusters: Clustering
    event_clusters: Clustering
    correlation: Correlation
    lagged: Correlation
    tiling: Correlation
    distance: pd.DataFrame
    synchrony: Synchrony
    alignment: Alignment | None
    notes: tuple[str, ...]


def analyse(results: Results, *, config: StatisticsConfig | None = None, stimuli: pd.DataFrame | None = None) -> Statistics:
    """Compute all statistics of the accepted cells.

    Parameters
    ----------
    results : Results
        Of a run; zero cells give empty tables.
    config : StatisticsConfig, optional
        Levels, lags and windows.
    stimuli : DataFrame, optional
        Times of stimuli as `read_stimuli` gives them: adds averages around them.

    Returns
    -------
    Statistics
    """
    config = config or StatisticsConfig()
    alpha, seed = config.alpha, config.seed
    rows = np.flatnonzero(results.cells_by_id()["accepted"])
    dff, footprints = results.dff.select(rows), results.footprints.select(rows)
    ids, duration_s = dff.ids, dff.n_frames / dff.fs
    events = Events(results.events.table[results.events.table["roi"].isin(ids)])
    cells = measure_cells(events, ids=ids, duration_s=duration_s, confidence=config.confidence, seed=seed)
    cell_clusters = cluster_cells(dff, max_clusters=config.max_clusters, seed=seed)
    correlation = correlate(dff, alpha=alpha, seed=seed)
    alignment = None
    if stimuli is not None:
        alignment = align_to_stimuli(
            dff, stimuli, before_s=config.before_s, after_s=config.after_s, alpha=alpha, confidence=config.confidence, seed=seed
        )
    spectra = estimate_spectra(dff)
    parts: dict[str, Any] = {
        "groups": _measure_all_groups(cells, cell_clusters, config),
        "spectra": spectra,
        "bands": measure_bands(spectra),
        "rhythms": find_rhythms(dff, alpha=alpha),
        "cell_clusters": cell_clusters,
        "event_clusters": cluster_events(events, max_clusters=config.max_clusters, seed=seed),
        "correlation": correlation,
        "lagged": correlate(dff, max_lag_s=min(config.max_lag_s, duration_s / 4), alpha=alpha, seed=seed),
        "tiling": correlate_events(events, ids=ids, duration_s=duration_s, window_s=config.window_s, alpha=alpha, seed=seed),
        "distance": correlation_by_distance(
            correlation, footprints, pixel_um=results.summary.get("pixel_um"), confidence=config.confidence
        ),
        "synchrony": find_synchrony(events, ids=ids, duration_s=duration_s, window_s=config.window_s, alpha=alpha, seed=seed),
        "alignment": alignment,
    }
    return Statistics(config, rows, ids, events, cells, **parts, notes=_notes(parts, cells, len(events), duration_s))


def state_numbers(statistics: Statistics) -> dict[str, Any]:
    """Return the numbers and remarks that a report states, by name.

    Parameters
    ----------
    statistics : Statistics
        As `analyse` gives them.

    Returns
    -------
    dict
        What cannot be told is None.
    """
    table, ids = statistics.events.table, statistics.ids
    pairs = np.triu_indices(len(ids), 1)
    rate = statistics.cells.loc[statistics.cells["measure"] == "rate", "value"]

    def median(values: pd.Series) -> float | None:
        return float(values.median()) if values.notna().any() else None

    return {
        "n_events": len(table),
        "events_per_min": float(rate.mean()) if len(rate) else None,
        "median_amplitude": median(table["amplitude"]),
        "median_rise_s": median(table["rise_s"]),
        "median_half_decay_s": median(table["half_decay_s"]),
        "n_cell_clusters": statistics.cell_clusters.n_clusters,
        "n_event_clusters": statistics.event_clusters.n_clusters,
        "n_pairs": len(pairs[0]),
        "n_correlated_pairs": int(statistics.correlation.significant[pairs].sum()),
        "n_lagged_pairs": int(statistics.lagged.significant[pairs].sum()),
        "n_coincident_pairs": int(statistics.tiling.significant[pairs].sum()),
        "mean_correlation": float(np.nanmean(r)) if np.isfinite(r := statistics.correlation.r[pairs]).any() else None,
        "n_synchronous": len(statistics.synchrony.table),
        "n_rhythmic": int(statistics.rhythms["significant"].sum()),
        "n_responsive": None if statistics.alignment is None else int(
            statistics.alignment.responses.groupby("roi")["significant"].any().sum()
        ),
        "notes": list(statistics.notes),
    }  # fmt: skip


def _measure_all_groups(cells: pd.DataFrame, clusters: Clustering, config: StatisticsConfig) -> pd.DataFrame:
    """All cells together, then each cluster where there are several."""
    groupings = [dict.fromkeys(clusters.ids.tolist(), ALL)]
    if clusters.n_clusters > 1:
        grouped = zip(clusters.ids.tolist(), clusters.labels.tolist(), strict=True)
        groupings.append({roi: f"cluster {label + 1}" for roi, label in grouped if label >= 0})
    tables = [measure_groups(cells, groups=names, confidence=config.confidence, seed=config.seed) for names in groupings]
    return pd.concat(tables, ignore_index=True)


def _notes(parts: dict[str, Any], cells: pd.DataFrame, n_events: int, duration_s: float) -> tuple[str, ...]:
    """Say what could not be told, or not well."""
    ids = parts["cell_clusters"].ids
    rate = cells.loc[cells["measure"] == "rate"]
    silent = rate.loc[rate["n"] == 0, "roi"].tolist()
    notes = []
    if silent and n_events:
        share = f"{len(silent)} of {len(ids)} accepted cells"
        notes.append(f"{share} have no event above the noise: their rate is given as 0 with an upper bound")
    if len(ids) and not n_events:
        notes.append("no event stands out of the noise: kinetics, intervals and synchrony cannot be told")
    if len(ids) > 1 and duration_s < 60:
        notes.append(
            f"the recording lasts {duration_s:.0f} s: rates, correlations and slow rhythms of so short a time are uncertain"
        )
    if len(ids) > 2 and parts["cell_clusters"].n_clusters <= 1:
        notes.append("the cells do not fall into separate groups: they are drawn as one, alike ones side by side")
    if n_events > 2 and parts["event_clusters"].n_clusters <= 1:
        notes.append("the events show no kinds beyond one: they differ gradually")
    return tuple(notes)
