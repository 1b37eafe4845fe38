"""What the browser of cells draws: the field, a cell from near, and what it did. The field is drawn once."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from calcium_helpers.plots import show_activity, show_footprints, show_neighbours
from calcium_helpers.plots.cells import PARTNER, THIN, mark_cells
from calcium_helpers.results import Results

SIZE, DPI = (10.4, 9.0), 80
FIELD, NEAR = (0.06, 0.47, 0.42, 0.42), (0.56, 0.47, 0.42, 0.42)
ALONE, ABOVE, BELOW = (0.08, 0.07, 0.9, 0.3), (0.08, 0.25, 0.9, 0.13), (0.08, 0.06, 0.9, 0.12)
NOT_SAID = {"accepted", "reason", "y_px", "x_px"}


class CellPicture:
    """Draws one cell after the other."""

    def __init__(self) -> None:
        self._drawn: tuple[Results, str] | None = None
        self._field: Any = None

    def draw(
        self, results: Results, cell: int | None, *, partner: int | None = None, image: str = "mean",
        times_s: tuple[float, float] | None = None, place: str = "",
    ) -> bytes:  # fmt: skip
        """Draw a cell (None: the field alone) as PNG; ``place`` says which one of how many it is."""
        if self._drawn is None or self._drawn[0] is not results or self._drawn[1] != image:
            self._field, self._drawn = _draw_field(results, image), (results, image)
        figure = _new_figure()
        if cell is None:
            figure.text(0.06, 0.985, "no cell passes these filters", fontsize=12, va="top")
            return _paint(figure, self._field)
        height, width = results.footprints.shape
        over = figure.add_axes(FIELD, aspect="equal", xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        over.axis("off")
        mark_cells(over, results, cell, partner=partner)
        near = show_neighbours(results, cell, partner=partner, image=image, ax=figure.add_axes(NEAR))
        shown = [show_activity(results, cell, times_s=times_s, ax=figure.add_axes(ALONE if partner is None else ABOVE))]
        if partner is not None:
            shown += [show_activity(results, partner, times_s=times_s, colour=PARTNER, ax=figure.add_axes(BELOW))]
            shown[0].set_xlabel("")
        for ax in (near, *shown):  # ticks and legends take most of the time that a picture takes
            ax.locator_params(nbins=5)
        for ax in (near, *shown[1:]):
            ax.legend_ = None
        row = results.cells_by_id().loc[cell]
        figure.text(0.06, 0.985, f"cell {cell} ({place}): {state(row)}", fontsize=12, fontweight="bold", va="top")
        numbers = {describe(str(name)): value for name, value in row.items() if name not in NOT_SAID}
        said = [f"{name} {value:.3g}" for name, value in numbers.items() if isinstance(value, int | float | np.number)]
        figure.text(0.06, 0.955, "   ".join(said), fontsize=9, va="top")
        return _paint(figure, self._field)


def describe(name: str) -> str:
    """Write the name of a column for people: its unit in brackets."""
    return re.sub(r" (px|um|s)$", r" (\1)", name.replace("_", " ")).replace("um)", "µm)").replace("snr", "SNR")


def state(row: Any) -> str:
    """Say whether a component is a cell, and why or by whom."""
    words, reason = "accepted" if row["accepted"] else "rejected", str(row.get("reason") or "")
    return reason if reason.startswith((words, "merged")) else f"{words}, {reason}" if reason else words


def _new_figure() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _draw_field(results: Results, image: str) -> Any:
    """Draw all cells over an image of the field; return the pixels of the whole picture."""
    figure = _new_figure()
    accepted = results.cells_by_id()["accepted"].to_numpy()
    ax = figure.add_axes(FIELD)
    pixel_um = results.summary.get("pixel_um")
    show_footprints(results.footprints, results.images.get(image), accepted=accepted, pixel_um=pixel_um, ax=ax)
    for lines in ax.collections:
        lines.set(linewidths=THIN)
    figure.canvas.draw()
    return figure.canvas.copy_from_bbox(figure.bbox)


def _paint(figure: Any, below: Any) -> bytes:
    """Draw what is in a figure over pixels drawn before, as PNG."""
    renderer = figure.canvas.get_renderer()
    renderer.restore_region(below)
    for artist in (*figure.axes, *figure.texts):
        artist.draw(renderer)
    buffer = BytesIO()
    Image.fromarray(np.asarray(renderer.buffer_rgba())).convert("RGB").save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
