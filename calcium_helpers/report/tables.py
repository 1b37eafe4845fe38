"""The results as tables that other programs read: traces, spikes, cells, and every number of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Traces
from calcium_helpers.io.save import atomic_path
from calcium_helpers.results import Results


class TablePaths(NamedTuple):
    """Where the tables were written."""

    traces: Path
    denoised: Path
    spikes: Path
    cells: Path
    summary: Path


def write_tables(results: Results, out_dir: str | Path) -> TablePaths:
    """Write ``traces.csv``, ``denoised.csv``, ``spikes.csv``, ``cells.csv`` and ``summary.json``.

    Parameters
    ----------
    results : Results
        What a run of the pipeline left.
    out_dir : path
        Folder, made where it does not exist.

    Returns
    -------
    TablePaths
        ``traces``, ``denoised`` and ``spikes`` hold ``time_s`` (seconds, as the file states them where it does) and one
        column a component, named by its id (dF/F as a fraction; spikes in amplitude a frame); ``cells`` one row a component;
        ``summary`` every number that the report states.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = TablePaths(*(out_dir / name for name in ("traces.csv", "denoised.csv", "spikes.csv", "cells.csv", "summary.json")))
    for traces, path in (
        (results.dff, paths.traces), (results.denoised, paths.denoised), (results.spikes, paths.spikes)
    ):  # fmt: skip
        _write_wide(traces, results.times_s, path)
    with atomic_path(paths.cells) as part:
        cells_by_id(results).to_csv(part)
    text = json.dumps(stated_numbers(results), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(paths.summary) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return paths


def cells_by_id(results: Results) -> pd.DataFrame:
    """Return the table of cells with its index named ``id``, in the order of the footprints, and a Boolean ``accepted``.

    Raises
    ------
    ValueError
        When a footprint has no row.
    """
    cells = results.cells.set_index("id") if "id" in results.cells else results.cells.rename_axis("id")
    missing = np.setdiff1d(results.footprints.ids, cells.index)
    if missing.size:
        raise ValueError(f"results.cells has no row for the components {missing[:5].tolist()}; each footprint needs one")
    cells = cells.loc[results.footprints.ids]
    accepted = cells["accepted"].astype(bool) if "accepted" in cells else True
    return cells.assign(accepted=accepted)


def stated_numbers(results: Results) -> dict[str, Any]:
    """Return all that the report states, in types of strict JSON (what is not finite becomes null)."""
    tables = {"funnel": results.funnel.to_dict("records"), "steps": results.steps.to_dict("records")}
    document = {**results.summary, **tables, "parameters": results.parameters, "history": list(results.history)}
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
