"""The still pictures of the report: each in words, in the page, and as a PNG and an SVG of its own."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from calcium_helpers.io.save import atomic_path
from calcium_helpers.results import Results

if TYPE_CHECKING:
    from calcium_helpers.stats import Statistics

FOLDER = "figures"
PALETTE_BYTES = 200_000
# Text stays text in an SVG, so that other programs can edit it; the salt makes it the same file from run to run.
STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.edgecolor": "#5b6770", "font.family": "DejaVu Sans", "svg.fonttype": "none",
    "svg.hashsalt": "calcium",
}  # fmt: skip


class Drawing(NamedTuple):
    """A figure with what it shows and what to look for, a text in its place, what was assumed, and what its check found."""

    figure: Figure
    caption: str
    alt: str
    assumed: str = ""
    check: str = ""


class Picture(NamedTuple):
    """A drawing in the page: as a data address, with its words and the name of its files."""

    src: str
    file: str
    caption: str
    alt: str
    assumed: str
    check: str


Drawer = Callable[[Results, "Statistics"], Drawing | None]


def draw_pictures(drawers: dict[str, Drawer], results: Results, statistics: Statistics, out_dir: Path) -> dict[str, Picture]:
    """Draw every picture that these results allow, and write it into the folder ``figures``; older ones of these names go."""
    folder = out_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    with rc_context(STYLE):
        for name, draw in drawers.items():
            drawing = draw(results, statistics)
            if drawing is None:
                for ending in ("png", "svg"):
                    (folder / f"{name}.{ending}").unlink(missing_ok=True)
                continue
            src = _write(drawing.figure, folder, name)
            pictures[name] = Picture(src, f"{FOLDER}/{name}", *drawing[1:])
    return pictures


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    # Not pyplot: a report must not open windows nor change the figures of the notebook that writes it.
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure in both formats and return the PNG as a data address."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)  # once holds for both formats: more would be half of the time
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    with atomic_path(folder / f"{name}.svg") as part:
        figure.savefig(part, format="svg", metadata={"Date": None})
    with atomic_path(folder / f"{name}.png") as part:
        part.write_bytes(buffer.getvalue())
    if len(buffer.getvalue()) > PALETTE_BYTES:
        # 256 colours are half the bytes; the file beside the page keeps them all.
        picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        picture.save(buffer := BytesIO(), "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
