"""Widgets in JupyterLab under Chromium, moved by a mouse: ``python check_browser.py RUN SCREENSHOTS``."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets
from playwright.sync_api import Locator, Page, sync_playwright

from calcium_helpers.io.curation import load_decisions

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = "05_analysis_report.ipynb"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},  # it would ask, before the notebook
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells that are out of sight would not be found
}
PATIENCE_S = 90
RUN_S = 420
PICTURE = "img.jupyter-widgets, .jupyter-widgets img, img.widget-image"


def main(folder: Path, pictures: Path) -> None:
    if CHROMIUM is None:
        sys.exit("the browser's check needs chromium (apt install chromium), or CHROMIUM=/path/to/it")
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        cell = f"from calcium_helpers import widgets\nwidgets.browse_cells({str(folder.resolve())!r}, who='tester')"
        write_notebook(Path(work) / "browser.ipynb", cell)
        shutil.copy(ROOT / "notebooks" / NOTEBOOK, work)
        with serve(Path(work)) as address:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            try:
                browse_cells(page, address, folder, pictures)
                whole_notebook(page, address, pictures)
            except BaseException:
                page.screenshot(path=pictures / "browser_failed.png")
                raise
            finally:
                browser.close()


def browse_cells(page: Page, address: str, folder: Path, pictures: Path) -> None:
    """Go to another cell, reject it, and take that back."""
    open_notebook(page, address, "browser.ipynb")
    run_all(page)
    picture = page.locator(PICTURE).first
    picture.wait_for(timeout=1000 * PATIENCE_S)
    shoot(page, pictures / "browser_first.png")
    changes(picture, lambda: page.get_by_role("button", name="Next").click(), "Next")
    changes(picture, lambda: drag(page, page.locator(".noUi-handle").last), "the slider of places")
    before = len(load_decisions(folder / "curation.csv"))
    changes(picture, lambda: page.get_by_role("button", name="Reject").click(), "Reject")
    table = load_decisions(folder / "curation.csv")
    assert len(table) == before + 1, f"curation.csv has {len(table)} decisions, expected {before + 1}"
    assert (table["decision"].iloc[-1], table["who"].iloc[-1]) == ("reject", "tester"), f"got {table.iloc[-1].to_dict()}"
    shoot(page, pictures / "browser_rejected.png")
    changes(picture, lambda: page.get_by_role("button", name="Undo").click(), "Undo")
    assert load_decisions(folder / "curation.csv")["decision"].iloc[-1] == "undo"
    print(f"browser of cells: cell {table['unit'].iloc[-1]} rejected with the mouse, and undone; curation.csv has it")


def whole_notebook(page: Page, address: str, pictures: Path) -> None:
    """Run all cells of a notebook, and move its slider."""
    open_notebook(page, address, NOTEBOOK)
    start_s = time.monotonic()
    run_all(page)
    wait_for(page, lambda: "*" in prompts(page), f"the start of {NOTEBOOK}")  # as stored, its cells have numbers too
    wait_for(page, lambda: "*" not in prompts(page), f"the end of {NOTEBOOK}", RUN_S)
    took_s = time.monotonic() - start_s
    wrong = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
    assert wrong.count() == 0, f"{NOTEBOOK}: {wrong.first.inner_text()[:500]}"
    slider = page.locator(".noUi-handle").first
    slider.scroll_into_view_if_needed(timeout=1000 * PATIENCE_S)
    picture = page.locator(PICTURE).first
    picture.scroll_into_view_if_needed()
    shoot(page, pictures / "notebook_first.png")
    changes(picture, lambda: drag(page, slider), "the slider")
    shoot(page, pictures / "notebook_moved.png")
    print(f"{NOTEBOOK}: all cells in {took_s:.0f} s, its slider moves the picture")


def write_notebook(path: Path, source: str) -> None:
    cell = {"cell_type": "code", "id": "a", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Start JupyterLab on a folder, with settings of its own; its log is shown where it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    own = {name: str(folder / f".{name.lower()}") for name in places}
    for name, settings in SETTINGS.items():
        path = Path(own["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", f"{name}.jupyterlab-settings")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    # ipywidgets may lie in the environment below: its part for the browser is found there.
    shared = Path(ipywidgets.__file__).parents[4] / "share" / "jupyter"
    options = (
        f"--port={port}", "--no-browser", "--allow-root", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
    )  # fmt: skip
    environment = {**os.environ, **own, "JUPYTER_PATH": str(shared), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    with (folder / "lab.log").open("w+") as log:
        lab = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            until = time.monotonic() + PATIENCE_S
            while lab.poll() is None and time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            else:
                sys.exit(f"JupyterLab did not start:\n{Path(log.name).read_text()[-3000:]}")
            yield f"http://127.0.0.1:{port}"
        finally:
            lab.terminate()
            lab.wait(20)


def open_notebook(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=1000 * PATIENCE_S)
    # Sooner, JupyterLab would ask which kernel to run it in.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=1000 * PATIENCE_S)


def run_all(page: Page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").first.click()


def prompts(page: Page) -> str:
    """Return the numbers of all code cells; a cell that waits has a star."""
    return " ".join(page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts())


def drag(page: Page, handle: Locator) -> None:
    """Move the handle of a slider to the right with the mouse, halfway to its end."""
    handle.scroll_into_view_if_needed()
    track, box = handle.locator("xpath=../..").bounding_box(), handle.bounding_box()
    if track is None or box is None:
        sys.exit("browser: the slider is not shown")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move((box["x"] + track["x"] + track["width"]) / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()


def changes(picture: Locator, act: Callable[[], Any], what: str) -> None:
    """Do something, and see that the picture changes: another image came, and it looks different."""
    picture.scroll_into_view_if_needed()
    source, before = picture.get_attribute("src"), picture.screenshot()
    act()
    wait_for(picture.page, lambda: picture.get_attribute("src") != source, f"another picture after {what}")
    wait_for(picture.page, lambda: picture.screenshot() != before, f"a picture that looks different after {what}")


def wait_for(page: Page, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"browser: {what} did not come in {patience_s:.0f} s")
        page.wait_for_timeout(200)


def shoot(page: Page, path: Path) -> None:
    """Save a picture of the page, which may not be blank."""
    page.screenshot(path=path)
    assert path.stat().st_size > 20_000, f"{path} is blank"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
