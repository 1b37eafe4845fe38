"""``curation.csv``: the log of what people decided of cells, beside ``results.h5``; it is added to, never changed."""

from __future__ import annotations

import getpass
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from calcium_helpers.curation import read_decision, standing
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path
from calcium_helpers.io.text_rows import read_text_rows

CURATION = "curation.csv"
COLUMNS = ("unit", "decision", "who", "when", "y_px", "x_px")


def load_decisions(path: str | Path) -> pd.DataFrame:
    """Read the decisions in a log.

    Parameters
    ----------
    path : path
        ``curation.csv``; a log that does not exist holds none. Written by hand, it needs the columns ``unit`` and ``decision``
        ("accept", "reject", "merge into N" or "undo").

    Returns
    -------
    DataFrame
        Columns ``unit, decision, who, when, y_px, x_px`` and any others that the file has, oldest first; what is not known is
        empty, or NaN.

    Raises
    ------
    MovieFileError
        Names the column that is missing, or the line that cannot be understood.
    """
    path = Path(path)
    if not path.exists():
        return pd.DataFrame([], columns=COLUMNS).astype({"unit": int, "y_px": float, "x_px": float})
    columns, rows = read_text_rows(path)
    if missing := [name for name in COLUMNS[:2] if name not in columns]:
        raise MovieFileError(path, f"line 1 lacks the column {missing[0]}", f"Name the columns: {','.join(COLUMNS)}")
    names = [*COLUMNS, *(name for name in columns if name not in COLUMNS)]
    table: list[dict[str, object]] = []
    for line, row in rows:
        try:
            decision = read_decision(row.get("decision", ""))
            unit = -1 if decision.verb == "undo" and "unit" not in row else int(row.get("unit", ""))
            decision = read_decision(row["decision"], unit)
            place = {name: float(row.get(name, "nan")) for name in ("y_px", "x_px")}
        except ValueError as error:
            raise MovieFileError(path, f"line {line} cannot be understood ({error})", "Correct that line") from error
        text = decision.verb if decision.into is None else f"merge into {decision.into}"
        table.append({**dict.fromkeys(names, ""), **row, "unit": unit, "decision": text, **place})
    return pd.DataFrame(table, columns=names).astype({"unit": int, "y_px": float, "x_px": float})


def add_decision(
    path: str | Path, unit: int | None, decision: str, *, who: str | None = None,
    where: Sequence[float] | np.ndarray | None = None,
    ids: Collection[int] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Add a decision to the log: it is read anew, so that nothing is lost that another program has added, and written whole.

    Parameters
    ----------
    path : path
        ``curation.csv``; made where it does not exist.
    unit : int or None
        Id of the component; of "undo" it is that of what is undone, whatever is given.
    decision : str
        "accept", "reject", "merge into N", or "undo": cancels the last decision not yet cancelled.
    who : str, optional
        Who decided; the user's name by default.
    where : sequence of 2 floats, optional
        Centre (y, x) of the unit's own footprint, px: tells whether a later run means another cell by this id.
    ids : collection of int, optional
        Units that there are; others are refused.

    Returns
    -------
    DataFrame
        All decisions, this one last.

    Raises
    ------
    ValueError
        For another decision, a unit merged into itself, one that is not among ``ids``, or nothing to undo.
    MovieFileError
        When the log cannot be understood; it is left as it is.
    """
    path = Path(path)
    verb, into = read_decision(decision, unit)
    table = load_decisions(path)
    if verb == "undo":
        if not len(held := standing(table)):
            raise ValueError(f"decision: there is nothing to undo in {path}")
        unit, where = int(held["unit"].iloc[-1]), None
    elif unit is None:
        raise ValueError('unit must be the id of a component, got None; only "undo" goes without')
    elif ids is not None and (unknown := {unit, unit if into is None else into}.difference(map(int, ids))):
        raise ValueError(f"unit {unknown.pop()} is not among the {len(ids)} components; cells.csv lists them")
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    place = {} if where is None else {name: round(float(value), 2) for name, value in zip(COLUMNS[4:], where, strict=True)}
    row = {"unit": int(unit), "decision": verb if into is None else f"merge into {into}", "who": who or _user(), "when": when}
    table = pd.DataFrame([*table.to_dict("records"), row | place], columns=table.columns)
    table = table.fillna(dict.fromkeys(table.columns.drop(list(COLUMNS[4:])), ""))
    with atomic_path(path) as part:
        table.to_csv(part, index=False)
    return table


def _user() -> str:
    """Name the user, where the system knows one."""
    try:
        return getpass.getuser()
    except (OSError, ImportError, KeyError):
        return "unknown"
