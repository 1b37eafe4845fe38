"""Write the pictures of ``docs/gallery.md`` from the executed notebooks: ``make notebooks``, or ``python tools/gallery.py``."""

from __future__ import annotations

import base64
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/gallery"
PICTURES = {
    "path": ("01", "show_path("),
    "overlaps": ("02", "show_overlaps(cells"),
    "transients": ("03", "show_event(movie, truth, shown"),
    "risks": ("03", "show_risks("),
    "bursts": ("04", "show_spike_triggered(*found"),
    "funnel": ("05", "show_funnel("),
    "events": ("05", "detect_events("),
    "correlation": ("05", "null=True"),
    "quality": ("05", "explore_quality("),
    "browser": ("05", "browse_cells("),
}
"""Name of each picture, its notebook, and what stands in the cell that draws it."""


def pictures() -> dict[str, bytes]:
    """Return each picture as the notebook keeps it: the last of its cell."""
    found = {}
    for name, (number, words) in PICTURES.items():
        (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        drawn = [
            output["data"]["image/jpeg"]
            for cell in cells if words in "".join(cell["source"])
            for output in cell["outputs"] if "image/jpeg" in output.get("data", {})
        ]  # fmt: skip
        if not drawn:
            raise SystemExit(f"{notebook.name} has no picture of a cell with {words!r}")
        found[name] = base64.b64decode(drawn[-1])
    return found


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        (FOLDER / f"{name}.jpg").write_bytes(picture)


if __name__ == "__main__":
    main()
