"""Sliders for the thresholds of a detector: which components would be cells, and what the others lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from calcium_helpers.io import load_results
from calcium_helpers.pipeline.judge import find_thresholds, judge_again
from calcium_helpers.plots import show_footprints, show_funnel
from calcium_helpers.plots.display import nice_length
from calcium_helpers.results import Results
from calcium_helpers.widgets.sliders import as_png, follow, join, require_ipywidgets, wide_slider

SIZE, FIELD, FUNNEL, REASONS = (11.0, 5.4), (0.05, 0.1, 0.4, 0.8), (0.58, 0.58, 0.41, 0.33), (0.66, 0.12, 0.33, 0.3)
MOST = 0.95
"""A slider ends at this quantile of its quality: a few outliers would take its length."""


def explore_quality(results: Results | str | Path, *, image: str = "mean") -> Any:
    """Sliders for the least qualities of a cell: outlines and funnel follow.

    Parameters
    ----------
    results : Results or path
        A run's folder or its ``results.h5``; what people decided does not count.
    image : str
        Name of the image below the outlines.

    Returns
    -------
    ipywidgets.VBox
        Show it as the last line of a cell; it needs a running kernel. Nothing is written: the line below the sliders says
        which settings a new run would take.

    Raises
    ------
    ModuleNotFoundError
        Without ipywidgets.
    MovieFileError
        When the results cannot be read.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    widgets = require_ipywidgets()
    run = results if isinstance(results, Results) else load_results(results, curated=False)
    start = find_thresholds(run)
    said = widgets.HTML()

    def draw(**thresholds: float) -> bytes:
        changed = {name: value for name, value in thresholds.items() if value != start[name]}
        judged = judge_again(run, **changed)
        cells = judged.cells_by_id()
        figure = Figure(figsize=SIZE, dpi=80)
        FigureCanvasAgg(figure)
        show_footprints(run.footprints, run.images.get(image), accepted=cells["accepted"].to_numpy(), ax=figure.add_axes(FIELD))
        funnel = show_funnel(judged.funnel.assign(why=""), ax=figure.add_axes(FUNNEL))
        funnel.set(title=f"{cells['accepted'].sum()} cells; {run.cells_by_id()['accepted'].sum()} in the run")
        counts = cells.loc[~cells["accepted"], "reason"].value_counts()
        reasons = pd.DataFrame({"stage": counts.index, "n": counts.to_numpy(), "why": ""})
        show_funnel(reasons, ax=figure.add_axes(REASONS)).set(title="rejected, by reason", xlabel="components")
        said.value = "as in the run" if not changed else ", ".join(f"{name}={value:g}" for name, value in changed.items())
        return as_png(figure)

    sliders = {name: _slider(widgets, name, value, run) for name, value in start.items()}
    return join(*sliders.values(), said, picture=follow(sliders, draw))


def _slider(widgets: Any, name: str, start: float, results: Results) -> Any:
    """Make the slider of a threshold: it begins at that of the run, and can be set to all that is in the components."""
    values = np.asarray(results.cells[name.removeprefix("min_")], dtype=float)
    values = np.append(values[np.isfinite(values)], start)
    low, high = float(values.min()), max(float(np.quantile(values, MOST)), start)
    step = nice_length(max(high - low, 1e-3) / 50)
    steps = np.union1d(np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step, start)
    options = [(f"{value:.4g}", float(value)) for value in steps]
    return widgets.SelectionSlider(
        options=options, index=int(np.searchsorted(steps, start)), description=name.replace("_", " "), **wide_slider(widgets)
    )
