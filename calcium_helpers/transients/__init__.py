"""Miniature synaptic calcium transients: events as small volumes of T x H x W."""

from calcium_helpers.transients.annotate import from_labels, from_points
from calcium_helpers.transients.compare import compare_conditions, what_distinguishes
from calcium_helpers.transients.features import measure_events
from calcium_helpers.transients.prepare import fit_baseline, normalise
from calcium_helpers.transients.sites import find_sites, site_fates
from calcium_helpers.transients.subtypes import find_subtypes, prune_correlated
from calcium_helpers.transients.surrogate import choose_threshold, join_events
from calcium_helpers.transients.threshold import detect_by_threshold
from calcium_helpers.transients.volumes import events_from_label, label_from_events
from calcium_helpers.transients.watershed import connected_volumes, erase_seams, split_volumes
from calcium_helpers.transients.withhold import withhold

__all__ = [
    "choose_threshold", "compare_conditions", "connected_volumes", "detect_by_threshold", "erase_seams", "events_from_label",
    "find_sites", "find_subtypes", "fit_baseline", "from_labels", "from_points", "join_events", "label_from_events",
    "measure_events", "normalise", "prune_correlated", "site_fates", "split_volumes", "what_distinguishes", "withhold",
]  # fmt: skip
