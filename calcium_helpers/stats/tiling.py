"""The inner loop of spike-time tiling: events that have one of another cell near them, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_near(onset: np.ndarray, first: np.ndarray, window: float, near: np.ndarray) -> None:
    """Set ``near[i, j]`` to how many events of cell i have an event of cell j at most ``window`` away.

    ``onset[first[i]:first[i + 1]]`` are the events of cell i, sorted.
    """
    n = len(first) - 1
    for i in range(n):
        for j in range(n):
            k, end, count = first[j], first[j + 1], 0
            if k < end and i != j:
                for a in range(first[i], first[i + 1]):
                    while k + 1 < end and onset[k] < onset[a] - window:
                        k += 1
                    count += abs(onset[k] - onset[a]) <= window
            near[i, j] = count
