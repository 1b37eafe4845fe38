"""A run in napari: its movie, images and cells; keys decide on the cell under the cursor, and what is drawn is saved."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from calcium_helpers.containers import Movie
from calcium_helpers.io import load_movie, load_results
from calcium_helpers.io.curation import CURATION
from calcium_helpers.napari_view.annotation import LABELS, POINTS, Annotation
from calcium_helpers.napari_view.cells import Cells
from calcium_helpers.plots.display import display_limits
from calcium_helpers.results import Results
from calcium_helpers.workdir import is_whole, load_arrays

IMAGES = ("correlation", "max", "mean")
INSTALL = "pip install 'calcium_helpers[napari]' 'napari[pyqt6]'"
QT = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_SAMPLED_FRAMES = 9


def view(
    results: Results | str | Path, *, movie: Movie | None = None, curation: str | Path | None = None, who: str | None = None,
    points: str | Path | None = None, labels: str | Path | None = None, viewer: Any = None,
) -> Any:  # fmt: skip
    """Open a run in napari.

    Layers: the corrected movie, where the run's folder holds it, and ``movie``, read while they are watched; mean, maximum and
    correlation; ``cells`` (where footprints overlap, a pixel is shown as of the cell that has more of its weight there, so
    that small cells lie above large ones); ``centres`` with the cells' ids. Accepted cells are orange discs, others blue
    crosses; a white rim means that a person decided. ``a`` accepts and ``r`` rejects the cell under the cursor, ``u`` takes
    the last decision back; ``m`` on one cell, then on another, merges the first into the second. What is drawn in the layers
    ``annotation`` (points) and ``annotation labels`` is saved by ``s`` and when the window closes, as
    ``calcium-helpers annotate`` reads it.

    Parameters
    ----------
    results : Results or path
        A run's folder or its ``results.h5``. Of Results, give those that no decision was applied to
        (``load_results(path, curated=False)``).
    movie : Movie, optional
        The raw movie, or another to see cells in; needed where the folder keeps no corrected one.
    curation : path, optional
        Log that each decision is written to at once; by default ``curation.csv`` beside ``results.h5``. Results without a log
        can only be looked at.
    who : str, optional
        Who decides; the user's name by default.
    points, labels : path, optional
        Files (``.csv``, ``.tif``) to save annotation to, and to go on from where they exist; by default ``annotation.csv`` and
        ``annotation_labels.tif`` beside ``results.h5``, or where you are.
    viewer : napari.Viewer or napari.components.ViewerModel, optional
        Where to add the layers; a new window by default.

    Returns
    -------
    napari.Viewer or ViewerModel
        In a script, ``napari.run()`` then waits until the window is closed.

    Raises
    ------
    ModuleNotFoundError
        Without napari, or without a Qt where a window is to be opened.
    ValueError
        When the movie's frames do not have the size of the footprints.
    MovieFileError
        When results, log or annotation cannot be read.
    """
    napari = require_napari(window=viewer is None)
    folder = None
    if not isinstance(results, Results):
        file = Path(results) / "results.h5" if Path(results).is_dir() else Path(results)
        folder, results = file.parent, load_results(file, curated=False)
    movies = {"corrected movie": None if folder is None else _find_corrected(folder, results), "movie": movie}
    shown = {name: one for name, one in movies.items() if one is not None}
    for one in shown.values():
        if one.shape[1:] != results.footprints.shape:
            raise ValueError(f"movie must have frames of {results.footprints.shape} px as the results, got {one.shape[1:]}")
    log = (folder and folder / CURATION) if curation is None else Path(curation)
    files = [(folder or Path()) / name if path is None else Path(path) for name, path in ((POINTS, points), (LABELS, labels))]
    fs, side = results.dff.fs, results.summary.get("pixel_um")
    unit = "um" if side else "pixel"
    place = {"scale": (1 / fs, side or 1.0, side or 1.0), "units": ("s", unit, unit), "axis_labels": ("time (s)", "y", "x")}
    flat = {name: values[1:] for name, values in place.items()}
    if viewer is None:
        viewer = napari.Viewer(title="calcium-helpers" if folder is None else f"calcium-helpers: {folder.resolve().name}")
    overlays, first = viewer.canvas.overlays, next(iter(shown), "mean")
    overlays.scale_bar.visible, overlays.current_slice.visible = bool(side), True
    for name in IMAGES:
        if (image := results.images.get(name)) is not None:
            _add_image(viewer, image, image, name=name, visible=name == first, **flat)
    for name, one in reversed(shown.items()):
        # Without limits napari would look for them in the whole movie.
        frames = np.unique(np.linspace(0, one.n_frames - 1, _SAMPLED_FRAMES).astype(int)).tolist()
        sample = np.concatenate([one.frames(i, i + 1) for i in frames])
        _add_image(viewer, one.data, sample, name=name, visible=name == first, **place)
    cells = Cells(viewer, results, log, who, flat)
    n_frames = shown[first].n_frames if shown else max(1, results.dff.n_frames)
    annotation = Annotation(viewer, (n_frames, *results.footprints.shape), fs, files, place)
    for layer in (viewer, *viewer.layers):
        layer.bind_key("s", lambda _: cells.say(annotation.save()), overwrite=True)
    viewer.layers.selection.active = cells.centres
    if (window := getattr(viewer, "window", None)) is not None:
        window._qt_window.destroyed.connect(lambda: print(annotation.save()))
    return viewer


def require_napari(*, window: bool = True) -> Any:
    """Import napari, and see that it can open a window, or say how it is installed."""
    try:
        import napari
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(f"view needs napari: {INSTALL}") from missing
    if window and not any(find_spec(name) for name in QT):
        raise ModuleNotFoundError(f"napari has no Qt to open a window with: {INSTALL}")
    return napari


def _find_corrected(folder: Path, results: Results) -> Movie | None:
    """Open the corrected movie that a run kept: the one in ``work/`` that has its shifts, or ``motion_corrected.tif``."""
    fs, pixel_um, shifts = results.dff.fs, results.summary.get("pixel_um"), results.shifts
    for path in sorted(folder.glob("work/motion-*.npy")):
        if shifts is not None and is_whole(path) and np.array_equal(load_arrays(path.with_suffix(".npz"))["yx"], shifts.yx):
            return Movie(np.load(path, mmap_mode="r"), fs, pixel_um)
    path = folder / "motion_corrected.tif"
    return load_movie(path, fs=fs, pixel_um=pixel_um) if path.exists() else None


def _add_image(viewer: Any, image: Any, sample: np.ndarray, **kinds: Any) -> None:
    viewer.add_image(image, contrast_limits=display_limits(sample), rgb=False, multiscale=False, **kinds)
