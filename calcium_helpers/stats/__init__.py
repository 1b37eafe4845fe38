"""Statistics of activity, as tidy tables with units, intervals and what chance alone would give."""

from calcium_helpers.stats.clusters import Clustering, cluster_cells, cluster_events
from calcium_helpers.stats.coherence import Coherence, estimate_coherence
from calcium_helpers.stats.compare import compare
from calcium_helpers.stats.correlation import Correlation, correlate, correlate_events
from calcium_helpers.stats.distance import correlation_by_distance
from calcium_helpers.stats.rates import measure_cells, measure_groups
from calcium_helpers.stats.spectra import (
    Spectra,
    estimate_spectra,
    find_rhythms,
    measure_bands,
)
from calcium_helpers.stats.stimulus import Alignment, align_to_stimuli, read_stimuli
from calcium_helpers.stats.summary import Statistics, StatisticsConfig, analyse, state_numbers
from calcium_helpers.stats.synchrony import Synchrony, find_synchrony

__all__ = [
    "Alignment",
    "Clustering",
    "Coherence",
    "Correlation",
    "Spectra",
    "Statistics",
    "StatisticsConfig",
    "Synchrony",
    "align_to_stimuli",
    "analyse",
    "cluster_cells",
    "cluster_events",
    "compare",
    "correlate",
    "correlate_events",
    "correlation_by_distance",
    "estimate_coherence",
    "estimate_spectra",
    "find_rhythms",
    "find_synchrony",
    "measure_bands",
    "measure_cells",
    "measure_groups",
    "read_stimuli",
    "state_numbers",
]
