"""Pictures of the containers: ``show_*(data, *, ax=None) -> Axes``. Each draws what it is given and computes no result."""

from calcium_helpers.plots.activity import show_heatmap, show_raster, show_traces
from calcium_helpers.plots.cells import show_activity, show_neighbours
from calcium_helpers.plots.coordinates import show_path
from calcium_helpers.plots.images import outline, show_footprints, show_frames, show_image
from calcium_helpers.plots.measures import show_alignment, show_bands, show_distribution, show_responses, show_spectra
from calcium_helpers.plots.networks import (
    show_cluster_choice,
    show_clusters,
    show_correlation,
    show_distance,
    show_lags,
    show_stability,
    show_synchrony,
)
from calcium_helpers.plots.overlaps import show_overlaps
from calcium_helpers.plots.quality import show_funnel, show_shifts, show_template_correlation
from calcium_helpers.plots.sessions import show_sessions
from calcium_helpers.plots.spikes import show_spike_density, show_spike_triggered
from calcium_helpers.plots.training import show_history, show_risks
from calcium_helpers.plots.transients import show_features, show_pr_curve, show_sites, show_surrogate, show_transients
from calcium_helpers.plots.unrolled import show_blocks, show_matching
from calcium_helpers.plots.volumes import show_event

__all__ = [
    "outline",
    "show_activity",
    "show_alignment",
    "show_bands",
    "show_blocks",
    "show_cluster_choice",
    "show_clusters",
    "show_correlation",
    "show_distance",
    "show_distribution",
    "show_event",
    "show_features",
    "show_footprints",
    "show_frames",
    "show_funnel",
    "show_heatmap",
    "show_history",
    "show_image",
    "show_lags",
    "show_matching",
    "show_neighbours",
    "show_overlaps",
    "show_path",
    "show_pr_curve",
    "show_raster",
    "show_responses",
    "show_risks",
    "show_sessions",
    "show_shifts",
    "show_spectra",
    "show_sites",
    "show_spike_density",
    "show_spike_triggered",
    "show_stability",
    "show_surrogate",
    "show_synchrony",
    "show_template_correlation",
    "show_traces",
    "show_transients",
]
