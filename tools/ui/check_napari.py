"""A run in napari's real window: keys and mouse as a person has them. ``python check_napari.py RUN SCREENSHOTS``.

Without a screen the program starts itself again under xvfb.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

os.environ["NAPARI_CONFIG"] = ""  # neither with the settings of who runs it, nor into them

import numpy as np

from calcium_helpers.io.curation import load_decisions
from calcium_helpers.napari_view import view
from calcium_helpers.plots._style import ACCEPTED, REJECTED

PATIENCE_S = 30
NEAR = 40  # levels of 255 by which a colour may differ: napari blends edges


def main(folder: Path, pictures: Path) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    viewer = view(folder, who="tester")
    window = viewer.window._qt_window
    window.resize(1200, 840)
    window.activateWindow()
    canvas = viewer.window._qt_viewer.canvas.native
    canvas.setFocus()
    wait_for(lambda: viewer.layers["centres"].loaded and canvas.width() > 300, "the window")
    QTest.qWait(1000)

    row, cell = 0, int(viewer.layers["centres"].features["id"][0])
    place = on_canvas(viewer, canvas, viewer.layers["centres"].data[row])
    QTest.mouseMove(canvas, place)
    wait_for(lambda: f"cell {cell}:" in viewer.canvas.overlays.text.text, "the name of the cell under the mouse")
    before = shoot(viewer, pictures / "napari_before.png")
    share = {colour: count(before, place, colour) for colour in (ACCEPTED, REJECTED)}
    assert share[ACCEPTED] > 20 > share[REJECTED], f"cell {cell} should be shown as accepted, got {share}"

    QTest.keyClick(canvas, Qt.Key.Key_R)
    wait_for(lambda: (folder / "curation.csv").exists(), "curation.csv")
    last = load_decisions(folder / "curation.csv").iloc[-1]
    assert (last["unit"], last["decision"], last["who"]) == (cell, "reject", "tester"), f"curation.csv says {last.to_dict()}"
    QTest.qWait(500)
    after = shoot(viewer, pictures / "napari_rejected.png")
    share = {colour: count(after, place, colour) for colour in (ACCEPTED, REJECTED)}
    assert share[REJECTED] > 20 > share[ACCEPTED], f"cell {cell} should be shown as rejected, got {share}"
    print(f"cell {cell} rejected by a key: it changed its colour, and curation.csv has it")

    annotation = viewer.layers["annotation"]
    viewer.layers.selection.active = annotation
    QTest.keyClick(canvas, Qt.Key.Key_2)  # napari's own key: add points
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=place)
    wait_for(lambda: len(annotation.data) == 1, "a point drawn with the mouse")
    shoot(viewer, pictures / "napari_annotation.png")
    window.close()
    wait_for(lambda: (folder / "annotation.csv").exists(), "annotation.csv after closing the window")
    print("annotation.csv:", *(folder / "annotation.csv").read_text(encoding="utf-8").split())


def wait_for(condition: Any, what: str) -> None:
    """Let the window work until a condition holds."""
    from qtpy.QtTest import QTest

    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"napari: {what} did not come in {PATIENCE_S} s")
        QTest.qWait(50)


def on_canvas(viewer: Any, canvas: Any, yx_px: np.ndarray) -> Any:
    """Return where a point of the field lies on the canvas."""
    from qtpy.QtCore import QPoint

    y, x = (yx_px * viewer.layers["centres"].scale - viewer.scene.camera.center[-2:]) * viewer.scene.camera.zoom
    return QPoint(round(canvas.width() / 2 + x), round(canvas.height() / 2 + y))


def shoot(viewer: Any, path: Path) -> np.ndarray:
    """Save a picture of the window, and return that of its canvas; neither may be blank."""
    from PIL import Image

    whole, canvas = (np.asarray(viewer.screenshot(canvas_only=only, flash=False))[..., :3] for only in (False, True))
    Image.fromarray(whole).save(path)
    assert whole.std() > 10 < canvas.std(), f"{path} is blank: its pixels differ by {whole.std():.1f}, {canvas.std():.1f}"
    return canvas


def count(picture: np.ndarray, place: Any, colour: str) -> int:
    """Count the pixels of a colour around a place of the canvas."""
    near = picture[max(0, place.y() - 40) : place.y() + 40, max(0, place.x() - 40) : place.x() + 40].astype(int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(near - wanted).max(axis=-1) < NEAR).sum())


if __name__ == "__main__":
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        if shutil.which("xvfb-run") is None:
            packages = (Path(__file__).parent / "packages.txt").read_text(encoding="utf-8").split()
            sys.exit(f"napari needs a screen, or xvfb: apt install {' '.join(packages)}")
        os.execvp("xvfb-run", ["xvfb-run", "-a", "-s", "-screen 0 1280x900x24", sys.executable, *sys.argv])
    main(*map(Path, sys.argv[1:]))
