"""Sliders for notebooks: move one and the picture follows."""

from calcium_helpers.widgets.coordinates import explore_path
from calcium_helpers.widgets.generator import draw_condition, explore_generator
from calcium_helpers.widgets.transients import explore_threshold, explore_transients

__all__ = ["draw_condition", "explore_generator", "explore_path", "explore_threshold", "explore_transients"]
