"""The columns in which cells are scored: the simulator that was in view, one out of its range, and hybrids.

Each entry makes a movie with its truth from a seed; the hybrids need CALCIUM_DATA_DIR.
"""

from __future__ import annotations

from collections.abc import Callable

from anchors import anchor_1p, anchor_2p
from hybrids import hybrid_1p, hybrid_2p
from out_of_range import out_of_range_1p, out_of_range_2p

from calcium_helpers.results import Simulation

COLUMNS_2P: dict[str, Callable[[int], Simulation]] = {
    "same simulator": anchor_2p,
    "out of range": out_of_range_2p,
    "hybrid": hybrid_2p,
}
COLUMNS_1P: dict[str, Callable[[int], Simulation]] = {
    "same simulator": anchor_1p,
    "out of range": out_of_range_1p,
    "hybrid": hybrid_1p,
}
