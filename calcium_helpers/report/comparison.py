"""Many recordings on one page: what each gave, how their cells are distributed, and whether conditions differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.ticker import LogLocator, NullLocator

from calcium_helpers.io.save import atomic_path
from calcium_helpers.plots._style import INK, MANY_MARKS, MUTED, cluster_colour, pretty_unit, strip_frame
from calcium_helpers.plots.measures import NAMES
from calcium_helpers.report.conditions import compare_conditions
from calcium_helpers.report.figures import FOLDER as FIGURES
from calcium_helpers.report.figures import STYLE, Picture, _write, canvas
from calcium_helpers.report.numbers import format_value

HERE = Path(__file__).parent
NUMBERS = {
    "cells": ("n_accepted",), "duration (s)": ("duration_s",), "snr": ("median_snr",), "noise (dF/F)": ("median_noise",),
    "motion (px)": ("motion", "rms_shift_px"),
}  # fmt: skip
"""Columns of ``comparison.csv`` and where they stand in summary.json."""
LABELS = {**NAMES, "snr": "SNR", "duration": "recorded", "n_warnings": "warnings"}
EVENTS = "Events, means over cells"
NEEDED = ("roi", "measure", "unit", "value")
NAMED_COLUMNS, LONGEST_NAME = 24, 18
LOG_FROM = 30
"""A measure is drawn on a logarithmic axis where its largest value is more than so many times its smallest."""


class Recording(NamedTuple):
    """One recording of a batch: its folder's ``name``, how it ended, and its report, relative to the batch's folder."""

    name: str
    path: str
    status: str
    message: str
    report: str
    condition: str = ""
    subject: str = ""


class Loaded(NamedTuple):
    """What a recording left: a row of ``comparison.csv``, its cells' measures, and what is to be looked at."""

    row: dict[str, Any]
    cells: pd.DataFrame
    problems: list[str]


def write_comparison(recordings: Sequence[Recording], out_dir: str | Path) -> Path:
    """Write ``comparison.html`` and ``comparison.csv``, and ``conditions.csv`` where conditions are compared.

    Parameters
    ----------
    recordings : sequence of Recording
        All of a batch, those that failed too; ``summary.json`` and ``statistics.csv`` are read beside the report of each.
    out_dir : path
        Folder of the batch.

    Returns
    -------
    Path
        The page, which opens without a network.
    """
    out_dir = Path(out_dir)
    loaded = [_load(recording, out_dir) for recording in recordings]
    table = pd.DataFrame([one.row for one in loaded])
    cells = pd.concat([_label(one.cells, one.row) for one in loaded], ignore_index=True)
    quality = pd.concat([_label(_quality(one.row), one.row) for one in loaded], ignore_index=True)
    conditions = compare_conditions(cells, quality)
    with atomic_path(out_dir / "comparison.csv") as part:
        table.to_csv(part, index=False, float_format="%.6g")
    if conditions:
        compared = pd.concat([pair.table.assign(condition_a=pair.a, condition_b=pair.b) for pair in conditions])
        with atomic_path(out_dir / "conditions.csv") as part:
            compared.to_csv(part, index=False, float_format="%.6g")
    else:
        (out_dir / "conditions.csv").unlink(missing_ok=True)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    given = [name for name in ("condition", "subject") if table[name].any()]
    measured = [str(name) for name in table.columns[list(table).index("warnings") + 1 :]]
    page = environment.get_template("comparison.html").render(
        rows=table.assign(link=table["report"].map(quote)).to_dict("records"), words=[*given, "status"],
        tables={"Recordings": [*given, "status", *NUMBERS, "n_warnings"]} | ({EVENTS: measured} if measured else {}),
        problems=[(one.row["recording"], one.problems) for one in loaded if one.problems],
        pictures=_draw(table, cells, out_dir), conditions=conditions, column=_column, heading=_heading, write=_write_value,
        css=(HERE / "style.css").read_text(encoding="utf-8"),
    )  # fmt: skip
    with atomic_path(out_dir / "comparison.html") as part:
        part.write_text(page, encoding="utf-8")
    return out_dir / "comparison.html"


def _load(recording: Recording, out_dir: Path) -> Loaded:
    """Read what a recording left; what is missing or damaged is said, and stops nothing."""
    summary: dict[str, Any] = {}
    cells = pd.DataFrame(columns=list(NEEDED)).astype({"value": float})
    problems = []
    if recording.report:
        folder = (out_dir / recording.report).parent
        try:
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            cells = pd.read_csv(folder / "statistics.csv").astype({"value": float})[list(NEEDED)]
        except (OSError, ValueError, KeyError) as error:
            problems.append(f"its tables cannot be read ({error}): delete its folder and run the same command again")
    else:
        message = recording.message or "it left no report"
        problems.append(f"{recording.status}: {message}" + ("" if recording.path in message else f" ({recording.path})"))
    problems += (warnings := [str(warning) for warning in summary.get("warnings") or []])
    row = {"recording": recording.name, **recording._asdict()}
    del row["name"]
    for name, keys in NUMBERS.items():
        value: Any = summary
        for key in keys:
            value = (value or {}).get(key)
        row[name] = np.nan if value is None else value
    row |= {"n_warnings": len(warnings) if summary else np.nan, "warnings": "; ".join(warnings)}
    means = cells.groupby(["measure", "unit"], sort=False)["value"].mean().reset_index()
    row |= {_column(measure, unit): value for measure, unit, value in means.itertuples(index=False)}
    return Loaded(row, cells, problems)


def _label(cells: pd.DataFrame, row: dict[str, Any]) -> pd.DataFrame:
    """Say of each value which recording it is of."""
    return cells.assign(**{name: row[name] for name in ("recording", "condition", "subject")})


def _quality(row: dict[str, Any]) -> pd.DataFrame:
    """Write the numbers of a whole recording that its activity must be read with, as measures."""
    parts = [(name, *name.partition(" (")) for name in NUMBERS if name != "duration (s)"]
    values = [("", measure, unit.rstrip(")") or "1", float(row[name])) for name, measure, _, unit in parts]
    return pd.DataFrame(values, columns=list(NEEDED))


def _draw(table: pd.DataFrame, cells: pd.DataFrame, out_dir: Path) -> dict[str, Picture]:
    """Draw how each measure is distributed over the cells of each recording."""
    pictures = {}
    (out_dir / FIGURES).mkdir(exist_ok=True)
    for measure, unit in cells.loc[cells["value"].notna(), ["measure", "unit"]].drop_duplicates().itertuples(index=False):
        label = _heading(_column(measure, unit))
        with rc_context(STYLE):
            figure = canvas(10, 3.2)
            _draw_columns(figure.subplots(), table, cells[cells["measure"] == measure])
            figure.axes[0].set_ylabel(label)
            src = _write(figure, out_dir / FIGURES, measure)
        alt = f"Points in one column a recording: {label} of each cell, with median and mean."
        pictures[measure] = Picture(src, f"{FIGURES}/{measure}", label, alt, "", "")
    return pictures


def _draw_columns(ax: Any, table: pd.DataFrame, cells: pd.DataFrame) -> None:
    """Draw one column of points a recording, in the colour of its condition."""
    conditions = list(dict.fromkeys(table["condition"]))
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(cells))
    for column, (name, condition) in enumerate(zip(table["recording"], table["condition"], strict=True)):
        mine = (cells["recording"] == name).to_numpy()
        values = cells["value"].to_numpy(dtype=float)[mine]
        colour = cluster_colour(conditions.index(condition))
        ax.plot(
            column + spread[mine], values, "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0,
            rasterized=len(cells) > MANY_MARKS,
        )  # fmt: skip
        if np.isfinite(values).any():
            ax.hlines(np.nanmedian(values), column - 0.38, column + 0.38, color=INK, linewidth=2, zorder=3)
            ax.plot(column, np.nanmean(values), "D", color="white", markeredgecolor=INK, markersize=5, zorder=4)
    names = [f"{row + 1} {name}"[:LONGEST_NAME] for row, name in enumerate(table["recording"])]
    named = len(table) <= NAMED_COLUMNS
    ticks = np.arange(len(table)) if named else np.unique(np.linspace(0, len(table) - 1, NAMED_COLUMNS).astype(int))
    turned = {"rotation": 30, "ha": "right"} if named and sum(map(len, names)) > 90 else {}
    ax.set_xticks(ticks, [names[tick] if named else str(tick + 1) for tick in ticks], **turned)
    ax.set_xlim(-0.6, len(table) - 0.4)
    if (low := cells["value"].min()) * LOG_FROM > 0 and cells["value"].max() > LOG_FROM * low:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.set_ylim(min(0, low), None)
    if conditions != [""]:
        for number, condition in enumerate(conditions):
            ax.plot([], [], "o", color=cluster_colour(number), label=condition or "no condition")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=len(conditions), frameon=False, labelcolor=MUTED)
    strip_frame(ax)


def _column(measure: str, unit: str) -> str:
    """Name the column of a measure."""
    return measure if unit == "1" else f"{measure} ({unit})"


def _heading(column: str) -> str:
    """Write the name of a column for people."""
    measure, bracket, unit = column.partition(" (")
    label = LABELS.get(measure, measure)
    return label[:1].upper() + label[1:] + bracket + pretty_unit(unit)


def _write_value(value: Any) -> str:
    """Write a number, or that there is none."""
    if isinstance(value, str):
        return value
    return "–" if pd.isna(value) else format_value(float(value))
