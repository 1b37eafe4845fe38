"""Statistics of activity, as tidy tables with units, intervals and what chance alone would give."""
