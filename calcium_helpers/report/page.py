"""The report: one HTML page that holds everything it shows and opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from calcium_helpers.containers import Footprints
from calcium_helpers.io.save import atomic_path
from calcium_helpers.plots.display import nice_length
from calcium_helpers.report import activity, numbers, recording
from calcium_helpers.report.explorer import build_explorer
from calcium_helpers.report.figures import draw_pictures
from calcium_helpers.report.tables import stated_numbers
from calcium_helpers.results import Results

if TYPE_CHECKING:
    from calcium_helpers.stats import Statistics

FOLDER = Path(__file__).parent
# In this order, as one script: the others use what the first defines.
SCRIPTS = ("cells.js", "trace.js", "map.js", "raster.js", "table.js", "start.js")


def write_report(
    results: Results,
    out_dir: str | Path,
    *,
    title: str | None = None,
    truth: Footprints | None = None,
    statistics: Statistics | None = None,
) -> Path:
    """Write ``report.html``, and each of its pictures as PNG and SVG into the folder ``figures``.

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
    statistics : Statistics, optional
        Of these results; by default `stats.analyse` measures them.

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
    if statistics is None:
        from calcium_helpers.stats import analyse

        statistics = analyse(results)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    context = _context(results, statistics, truth)
    context["title"] = title or "Calcium imaging report"
    context["pictures"] = draw_pictures({**recording.DRAWERS, **activity.DRAWERS}, results, statistics, out_dir)
    page = environment.get_template("template.html").render(context)
    path = out_dir / "report.html"
    with atomic_path(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _context(results: Results, statistics: Statistics, truth: Footprints | None) -> dict[str, Any]:
    stated = stated_numbers(results, statistics)
    scripts = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return {
        "facts": {name: numbers.facts(stated, rows) for name, rows in numbers.GROUPS.items()},
        "warnings": stated.get("warnings"),
        "notes": stated["statistics"]["notes"],
        "summary": stated,
        "parameters": list(numbers.flatten(stated["parameters"])),
        "format": numbers.format_value,
        "explorer": build_explorer(results, statistics, truth=truth),
        "shape": results.footprints.shape,
        "scale": _scale(results),
        "css": (FOLDER / "style.css").read_text(encoding="utf-8"),
        "script": f"'use strict';\n(() => {{\n{scripts}}})();",
    }


def _scale(results: Results) -> dict[str, str] | None:
    """Return the length of the map's scale bar in pixels and in micrometres, where the size of a pixel is known."""
    pixel_um = results.summary.get("pixel_um")
    if not pixel_um:
        return None
    length_um = nice_length(results.footprints.shape[1] * pixel_um / 4)
    return {"px": f"{length_um / pixel_um:.4g}", "um": f"{length_um:g}"}
