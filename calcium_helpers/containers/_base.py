"""What the containers share: a checked copy and the checks themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_Self = TypeVar("_Self", bound="Container")


class Container:
    """Shared by the containers: a checked copy with some fields changed."""

    def replace(self: _Self, **changes: Any) -> _Self:
        """Return a validated copy with the named fields changed."""
        return replace(self, **changes)  # type: ignore[type-var]


def check_positive(name: str, value: float, unit: str) -> None:
    """Raise unless ``value`` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number in {unit}, got {value!r}")
    if not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number of {unit} above 0, got {value!r}")


def check_ids(ids: npt.ArrayLike | None, n: int) -> np.ndarray:
    """Return ``n`` unique integer ids, 0..n-1 where none are given."""
    if ids is None:
        return np.arange(n)
    ids = np.asarray(ids)
    if ids.shape != (n,) or (n and not np.issubdtype(ids.dtype, np.integer)):
        raise ValueError(f"ids must be {n} integers, got shape {ids.shape} of {ids.dtype}")
    if len(np.unique(ids)) != n:
        raise ValueError("ids must be unique")
    return ids.astype(np.int64)


def as_rows(rows: np.ndarray, n: int) -> np.ndarray:
    """Turn a boolean mask over ``n`` rows, an index array or an empty list into row indices."""
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n,):
            raise ValueError(f"rows as a mask must have one entry a row ({n}), got shape {rows.shape}")
        return np.flatnonzero(rows)
    if rows.size and not np.issubdtype(rows.dtype, np.integer):
        raise TypeError(f"rows must be a boolean mask or integers, got {rows.dtype}")
    return rows.astype(np.int64)
