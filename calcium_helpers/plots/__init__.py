"""Pictures of the containers: ``show_*(data, *, ax=None) -> Axes``. Each draws what it is given and computes no result."""

from calcium_helpers.plots.curves import show_funnel, show_raster, show_shifts, show_template_correlation, show_traces
from calcium_helpers.plots.images import outline, show_footprints, show_image

__all__ = [
    "outline",
    "show_footprints",
    "show_funnel",
    "show_image",
    "show_raster",
    "show_shifts",
    "show_template_correlation",
    "show_traces",
]
