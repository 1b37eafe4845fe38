"""Statistics of activity, as tidy tables with units, intervals and what chance alone would give."""

from calcium_helpers.stats.rates import measure_cells, measure_groups

__all__ = [
    "measure_cells",
    "measure_groups",
]
