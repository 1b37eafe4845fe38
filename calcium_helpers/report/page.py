"""The report: one HTML page that holds everything it shows and opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from calcium_helpers.containers import Footprints
from calcium_helpers.io.save import atomic_path
from calcium_helpers.plots.display import nice_length
from calcium_helpers.report import numbers
from calcium_helpers.report.explorer import build_explorer
from calcium_helpers.report.figures import draw_pictures
from calcium_helpers.report.tables import cells_by_id, stated_numbers
from calcium_helpers.results import Results

FOLDER = Path(__file__).parent


def write_report(results: Results, out_dir: str | Path, *, title: str | None = None, truth: Footprints | None = None) -> Path:
    """Write ``report.html``.

    Every number on the page comes from ``results.summary`` or a table of the results; `write_tables` writes the same ones.

    Parameters
    ----------
    results : Results
        What a run of the pipeline left; zero cells, one frame or no motion correction are shown as such.
    out_dir : path
        Folder, made where it does not exist.
    title : str, optional
        Heading of the page; "Calcium imaging report" by default.
    truth : Footprints, optional
        True footprints, where they are known; drawn beside those found.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    TypeError
        When ``truth`` is not Footprints.
    ValueError
        When images, cells or truth do not belong to the footprints.
    """
    if truth is not None and not isinstance(truth, Footprints):
        raise TypeError(f"truth must be Footprints or None, got {type(truth).__name__}; of a Simulation pass .footprints")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("template.html").render(_context(results, title or "Calcium imaging report", truth))
    path = out_dir / "report.html"
    with atomic_path(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _context(results: Results, title: str, truth: Footprints | None) -> dict[str, Any]:
    stated = stated_numbers(results)
    groups = {name: getattr(numbers, name.upper()) for name in ("headline", "recording", "cells", "motion", "truth")}
    return {
        "title": title,
        "facts": {name: numbers.facts(stated, rows) for name, rows in groups.items()},
        "warnings": stated.get("warnings"),
        "summary": stated,
        "parameters": list(numbers.flatten(stated["parameters"])),
        "format": numbers.format_value,
        "pictures": draw_pictures(results, cells_by_id(results)["accepted"].to_numpy(dtype=bool)),
        "explorer": build_explorer(results, truth=truth),
        "shape": results.footprints.shape,
        "scale": _scale(results),
        "css": (FOLDER / "style.css").read_text(encoding="utf-8"),
        "script": (FOLDER / "script.js").read_text(encoding="utf-8"),
    }


def _scale(results: Results) -> dict[str, str] | None:
    """Return the length of the map's scale bar in pixels and in micrometres, where the size of a pixel is known."""
    pixel_um = results.summary.get("pixel_um")
    if not pixel_um:
        return None
    length_um = nice_length(results.footprints.shape[1] * pixel_um / 4)
    return {"px": f"{length_um / pixel_um:.4g}", "um": f"{length_um:g}"}
