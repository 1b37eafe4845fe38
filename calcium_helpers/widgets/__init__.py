"""Widgets for notebooks: move a control and the picture follows; cells are looked through and decided."""

from calcium_helpers.widgets.cells import browse_cells
from calcium_helpers.widgets.coordinates import explore_path
from calcium_helpers.widgets.generator import draw_condition, explore_generator
from calcium_helpers.widgets.movies import play_movies
from calcium_helpers.widgets.thresholds import explore_quality
from calcium_helpers.widgets.transients import explore_threshold, explore_transients

__all__ = [
    "browse_cells", "draw_condition", "explore_generator", "explore_path", "explore_quality", "explore_threshold",
    "explore_transients", "play_movies",
]  # fmt: skip
