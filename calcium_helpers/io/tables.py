"""Tables in HDF5: one dataset a column."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd


def write_table(group: Any, table: pd.DataFrame) -> None:
    """Write a table into an empty group: ``index``, and each column below ``columns``.

    Raises
    ------
    ValueError
        When a column holds anything but booleans, numbers or text, or its name is no text without ``/``.
    """
    for name in table.columns:
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"table column names must be text without '/', got {name!r}")
    group.attrs["columns"] = json.dumps(list(table.columns))
    group.attrs["index_name"] = json.dumps(table.index.name)
    columns = group.create_group("columns")
    _write_column(group, "index", table.index.to_series())
    for name in table.columns:
        _write_column(columns, name, table[name])


def read_table(group: Any) -> pd.DataFrame:
    """Read back what ``write_table`` wrote."""
    index = pd.Index(_read_column(group["index"]), name=json.loads(group.attrs["index_name"]))
    data = {name: _read_column(group["columns"][name]) for name in json.loads(group.attrs["columns"])}
    return pd.DataFrame({name: column.set_axis(index) for name, column in data.items()}, index=index)


def _write_column(group: Any, name: str, column: pd.Series) -> None:
    """Write one column; missing text is stored as an empty string, its rows in the attribute ``missing``."""
    import h5py

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        group.create_dataset(name, data=column.to_numpy())
        return
    values = column.to_numpy(dtype=object)
    missing = pd.isna(values)
    if not all(isinstance(value, str) for value in values[~missing]):
        raise ValueError(f"table column {name!r} must hold booleans, numbers or text, got {column.dtype}")
    text = np.where(missing, "", values)
    dataset = group.create_dataset(name, data=text, shape=text.shape, dtype=h5py.string_dtype("utf-8"))
    dataset.attrs["missing"] = np.flatnonzero(missing)
    dataset.attrs["pandas_dtype"] = "object" if column.dtype == object else "str"


def _read_column(dataset: Any) -> pd.Series:
    if "missing" not in dataset.attrs:
        return pd.Series(dataset[()])
    text = dataset.asstr()[()].astype(object)
    text[dataset.attrs["missing"]] = None
    return pd.Series(text, dtype=dataset.attrs["pandas_dtype"])
