"""The results as tables that other programs read: traces, spikes, cells, and every number of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Footprints, Traces
from calcium_helpers.io.save import atomic_path
from calcium_helpers.results import Results

if TYPE_CHECKING:
    from calcium_helpers.stats import Statistics


LISTED_PAIRS = 100_000


class TablePaths(NamedTuple):
    """Where the tables were written; ``responses`` is None without stimuli."""

    traces: Path
    denoised: Path
    spikes: Path
    cells: Path
    events: Path
    statistics: Path
    groups: Path
    clusters: Path
    correlation: Path
    spectra: Path
    bands: Path
    synchrony: Path
    responses: Path | None
    summary: Path


def write_tables(results: Results, out_dir: str | Path, *, statistics: Statistics | None = None) -> TablePaths:
    """Write the tables of a run and ``summary.json``.

    Parameters
    ----------
    results : Results
        What a run of the pipeline left.
    out_dir : path
        Folder, made where it does not exist.
    statistics : Statistics, optional
        Of these results, as `stats.analyse` gives them; computed where not given.

    Returns
    -------
    TablePaths
        ``traces``, ``denoised`` and ``spikes`` hold ``time_s`` (seconds, as the file states them where it does) and one
        column a component, named by its id (dF/F as a fraction; spikes in amplitude a frame); ``cells`` one row a component.
        All others are of accepted cells: ``events`` one row each, with its kind; ``statistics`` one row a cell and measure,
        ``groups`` a group and measure; ``clusters`` a cell; ``correlation`` a pair (beyond 100,000 pairs those that are
        correlated by one of the three measures); ``spectra`` the frequency and one column a cell, ``bands`` a cell and band
        with the cell's rhythm; ``synchrony`` a synchronous event; ``responses`` a cell and stimulus; ``summary`` every number
        that the report states.
    """
    if statistics is None:
        from calcium_helpers.stats import analyse

        statistics = analyse(results)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    wide = {"traces": results.dff, "denoised": results.denoised, "spikes": results.spikes}
    paths: dict[str, Path | None] = {name: out_dir / f"{name}.csv" for name in TablePaths._fields}
    paths["summary"] = out_dir / "summary.json"
    for name, traces in wide.items():
        _write_wide(traces, results.times_s, out_dir / f"{name}.csv")
    with atomic_path(out_dir / "cells.csv") as part:
        results.cells_by_id().to_csv(part)
    tables = statistics_tables(statistics, results.footprints)
    for name, table in tables.items():
        with atomic_path(out_dir / f"{name}.csv") as part:
            table.to_csv(part, index=False, float_format="%.6g")
    if "responses" not in tables:
        paths["responses"] = None
    text = json.dumps(stated_numbers(results, statistics), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(out_dir / "summary.json") as part:
        part.write_text(text + "\n", encoding="utf-8")
    return TablePaths(**paths)  # type: ignore[arg-type]


def statistics_tables(statistics: Statistics, footprints: Footprints) -> dict[str, pd.DataFrame]:
    """Return the tables that are written of statistics, by the name of their file."""
    clusters, spectra = statistics.cell_clusters, statistics.spectra
    kinds = statistics.event_clusters.labels + 1
    rhythms = statistics.rhythms.add_prefix("rhythm_").rename(columns={"rhythm_roi": "roi"})
    tables = {
        "events": statistics.events.table.assign(kind=kinds),
        "statistics": statistics.cells,
        "groups": statistics.groups,
        "clusters": pd.DataFrame({
            "roi": clusters.ids, "cluster": clusters.labels + 1, "position": np.argsort(clusters.order),
            "stability": np.append(clusters.stability, np.nan)[clusters.labels],
        }),
        "correlation": _pairs(statistics, footprints),
        "spectra": pd.DataFrame(spectra.power.T, columns=[str(i) for i in spectra.ids]).assign(
            frequency_hz=spectra.frequency_hz
        )[["frequency_hz", *map(str, spectra.ids)]],
        "bands": statistics.bands.merge(rhythms, on="roi"),
        "synchrony": statistics.synchrony.table,
    }  # fmt: skip
    if statistics.alignment is not None:
        tables["responses"] = statistics.alignment.responses
    return tables


def _pairs(statistics: Statistics, footprints: Footprints) -> pd.DataFrame:
    """List the pairs of cells with all measures of what they have in common."""
    a, b = np.triu_indices(len(statistics.ids), 1)
    measures = {"correlation": statistics.correlation, "lagged": statistics.lagged, "tiling": statistics.tiling}
    if len(a) > LISTED_PAIRS:
        kept = np.any([measure.significant[a, b] for measure in measures.values()], axis=0)
        a, b = a[kept], b[kept]
    centres = footprints.select(statistics.rows).centroids
    table = {"roi_a": statistics.ids[a], "roi_b": statistics.ids[b], "distance_px": np.hypot(*(centres[a] - centres[b]).T)}
    for name, measure in measures.items():
        table |= {name: measure.r[a, b], f"{name}_q": measure.q[a, b], f"{name}_significant": measure.significant[a, b]}
    return pd.DataFrame(table | {"lag_s": statistics.lagged.lag_s[a, b]})


def stated_numbers(results: Results, statistics: Statistics) -> dict[str, Any]:
    """Return all that the report states, in types of strict JSON (what is not finite becomes null)."""
    from calcium_helpers.stats import state_numbers

    tables = {"funnel": results.funnel.to_dict("records"), "steps": results.steps.to_dict("records")}
    document = {
        **results.summary,
        **tables,
        "statistics": state_numbers(statistics),
        "parameters": results.parameters,
        "history": list(results.history),
    }
    return as_json(document)


def as_json(value: Any) -> Any:
    """Turn nested numpy values, paths and containers into what strict JSON holds; NaN and infinity into None."""
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _write_wide(traces: Traces, times_s: np.ndarray | None, path: Path) -> None:
    times = traces.times_s if times_s is None else times_s
    # Rounded well under the noise: it halves the file and the time to write it.
    values = np.round(traces.values.T.astype(np.float64), 5)
    table = pd.DataFrame(values, columns=[str(i) for i in traces.ids], index=pd.Index(np.round(times, 6), name="time_s"))
    with atomic_path(path) as part:
        table.to_csv(part)
