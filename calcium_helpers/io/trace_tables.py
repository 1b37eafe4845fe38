"""Traces in CSV: a header row, one column a cell, times in an optional column ``time_s``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Traces
from calcium_helpers.containers._base import check_positive
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path

TIME = "time_s"
_JITTER = 0.2


class TraceTable(NamedTuple):
    """Traces (N, T), what the columns are called, and the time of each frame (T,), seconds."""

    traces: Traces
    names: tuple[str, ...]
    times_s: np.ndarray


def read_traces(path: str | Path, *, fs: float | None = None) -> TraceTable:
    """Read a table of dF/F.

    Parameters
    ----------
    path : str or Path
        CSV: a header row, then one row a frame. A column ``time_s`` holds seconds, every other one a cell.
    fs : float, optional
        Frames per second, Hz; found from ``time_s`` where not given.

    Returns
    -------
    TraceTable
        Kind "dff"; times from ``time_s``, else from ``fs``.

    Raises
    ------
    MovieFileError
        Where the file is no such table: no header, no column, text or empty cells among the numbers, times that do not
        increase regularly or contradict ``fs``, no rate at all.
    ValueError
        Unless ``fs`` is finite and above 0.
    """
    path = Path(path)
    if fs is not None:
        check_positive("fs", fs, "Hz")
    try:
        table = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:  # empty, ragged, not text
        raise MovieFileError(path, f"cannot be read as a table ({error})", _EXPECTED) from error
    names = [str(name) for name in table.columns]
    if names and all(_is_number(name) for name in names) and any("." in name for name in names):
        raise MovieFileError(path, "has numbers in its first row, where names were expected", _EXPECTED)
    _check_numbers(path, table)
    times = table.pop(TIME).to_numpy(dtype=np.float64) if TIME in table else None
    if not len(table.columns):
        raise MovieFileError(path, "has no column of a cell", _EXPECTED)
    fs = _find_rate(path, times, fs)
    times = np.arange(len(table)) / fs if times is None else times
    return TraceTable(Traces(table.to_numpy(dtype=np.float32).T, fs, "dff"), tuple(map(str, table.columns)), times)


def write_traces(traces: Traces, path: str | Path, *, names: tuple[str, ...], times_s: np.ndarray) -> None:
    """Write a table that ``read_traces`` reads: ``time_s``, then one column a cell."""
    table = pd.DataFrame(traces.values.T, columns=list(names))
    table.insert(0, TIME, times_s)
    with atomic_path(Path(path)) as part:
        table.to_csv(part, index=False, float_format="%.6g")


_EXPECTED = "Expected is a CSV file with a header row, one row a frame, one column of dF/F a cell, and if you like time_s"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_numbers(path: Path, table: pd.DataFrame) -> None:
    for name in table.columns:
        if table[name].dtype.kind not in "iuf":
            value = next(value for value in table[name] if not _is_number(str(value))) if len(table) else "nothing"
            raise MovieFileError(path, f"column {name!r} holds {value!r}, where a number was expected", _EXPECTED)
        bad = np.flatnonzero(~np.isfinite(table[name].to_numpy(dtype=np.float64)))
        if bad.size:
            what = f"column {name!r} has {bad.size} empty or infinite values, the first in line {bad[0] + 2}"
            raise MovieFileError(path, what, "Leave the column out, or fill the gaps in a way that suits your data")


def _find_rate(path: Path, times: np.ndarray | None, fs: float | None) -> float:
    """Rate from the times, compared with the one given."""
    if times is None or len(times) < 2:
        if fs is None:
            raise MovieFileError(path, f"has no column {TIME} to find the rate from", "Give the rate: fs= frames per second")
        return fs
    steps = np.diff(times)
    found = 1 / np.median(steps) if np.median(steps) > 0 else 0.0
    # The mean, since times are often rounded to milliseconds.
    if found <= 0 or np.abs(steps * found - 1).max() > _JITTER:
        raise MovieFileError(path, f"{TIME} does not increase by equal steps", "Interpolate the traces to one rate first")
    found = (len(times) - 1) / (times[-1] - times[0])
    if fs is not None and abs(found / fs - 1) > 0.02:
        raise MovieFileError(path, f"{TIME} says {found:.4g} Hz, not {fs:g}", f"Leave fs= out, or the column {TIME}")
    return float(found if fs is None else fs)
