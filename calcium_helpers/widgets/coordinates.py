"""A slider through the training of learnable coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np

from calcium_helpers.containers import Footprints
from calcium_helpers.results import Detection
from calcium_helpers.widgets.sliders import add_player, as_png, follow, join


def explore_path(detection: Detection, image: np.ndarray, *, truth: Footprints | None = None) -> Any:
    """Slider and player for the training of learnable coordinates: where they are at each step, and how they came there.

    Parameters
    ----------
    detection : Detection
        As `models.one_photon.detect` gives it.
    image, truth
        What lies below and true cells, as for `plots.show_path`.

    Returns
    -------
    ipywidgets.VBox
        Show it as the last line of a cell; it needs a running kernel.

    Raises
    ------
    ModuleNotFoundError
        Without ipywidgets.
    ValueError
        As `plots.show_path`.
    """
    from matplotlib.figure import Figure

    from calcium_helpers.plots import show_path

    def draw(step: int) -> bytes:
        figure = Figure(figsize=(6.4, 1.2 + 6.4 * image.shape[0] / image.shape[1]), dpi=80, layout="constrained")
        show_path(detection, image, steps=[step], truth=truth, ax=figure.subplots())
        return as_png(figure)

    controls, slider = add_player("step", 0, len(detection.extras.get("path", ())), interval_ms=400)
    return join(controls, picture=follow({"step": slider}, draw))
