"""The path of the coordinates: where each was while it learned, and what became of it."""

from __future__ import annotations

from typing import Any

import numpy as np


class Path:
    """Records coordinates step by step; each keeps its number for life.

    Parameters
    ----------
    n : int
        Coordinates at the start.
    """

    def __init__(self, n: int) -> None:
        self.numbers = np.arange(n)
        self.n_ever = n
        self.stage = "start"
        self._steps: list[tuple[str, np.ndarray, np.ndarray, float]] = []

    def record(self, yx: np.ndarray, explained: float) -> None:
        """Write down where the coordinates (K, 2) are, and the share of variance that they explain."""
        self._steps.append((self.stage, self.numbers, np.array(yx, dtype=np.float32), explained))

    def keep(self, rows: np.ndarray) -> None:
        """Go on with the coordinates at these rows."""
        self.numbers = self.numbers[rows]

    def add(self, n: int) -> None:
        """Append new coordinates."""
        self.numbers = np.concatenate([self.numbers, self.n_ever + np.arange(n)])
        self.n_ever += n

    def as_extras(self) -> dict[str, Any]:
        """``path`` (S, M, 2), NaN where a coordinate does not exist; ``path_stage``, ``explained`` (S,), ``path_ids`` (M,)."""
        path = np.full((len(self._steps), self.n_ever, 2), np.nan, dtype=np.float32)
        for step, (_, numbers, yx, _) in zip(path, self._steps, strict=True):
            step[numbers] = yx
        ids = np.full(self.n_ever, -1)
        ids[self.numbers] = np.arange(len(self.numbers))
        stages, explained = [step[0] for step in self._steps], np.array([step[3] for step in self._steps])
        return {"path": path, "path_stage": stages, "path_ids": ids, "explained": explained}
