"""Transients drawn by hand in napari, saved as ``calcium-helpers annotate`` reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from calcium_helpers.containers import Movie
from calcium_helpers.io import load_movie, save_movie
from calcium_helpers.io.errors import MovieFileError
from calcium_helpers.io.save import atomic_path
from calcium_helpers.memory import limit_memory, scratch_array
from calcium_helpers.plots._style import PURPLE
from calcium_helpers.transients.annotate import check_points

POINTS, LABELS = "annotation.csv", "annotation_labels.tif"
LABELS_GB = 1.0
"""Labels of a long movie, of more than a part of this, lie in an unnamed file: only what is painted takes room."""
_PLACE = ["t_frame", "y_px", "x_px"]


class Annotation:
    """The layers ``annotation`` (points) and ``annotation labels``, and their files."""

    def __init__(
        self, viewer: Any, shape: tuple[int, int, int], fs: float, files: Sequence[Path], place: dict[str, Any]
    ) -> None:
        self.fs, self.files = fs, files
        self.unsaved: dict[str, Callable[[], str]] = {}
        painted = _read_labels(files[1], shape, fs)
        table = _read_points(files[0], Movie(painted, fs))
        self.labels = viewer.add_labels(painted, name="annotation labels", opacity=0.5, **place)
        self.points = viewer.add_points(
            table[_PLACE].to_numpy(float), ndim=3, name="annotation", size=6, symbol="ring", face_color=PURPLE,
            border_color="white", features=table.drop(columns=_PLACE), **place,
        )  # fmt: skip
        self.labels.events.labels_update.connect(lambda _: self.unsaved.update(labels=self._save_labels))
        self.points.events.data.connect(lambda _: self.unsaved.update(points=self._save_points))

    def save(self) -> str:
        """Write what was drawn since the last time; say what was written, or why nothing was."""
        said = []
        for name, write in list(self.unsaved.items()):
            try:
                said.append(write())
                del self.unsaved[name]
            except OSError as error:
                said.append(f"not saved: {error}")
        return "; ".join(said) or "nothing new is drawn in the layers annotation and annotation labels"

    def _save_points(self) -> str:
        """Write those that lie on the movie, by time."""
        table = pd.DataFrame(self.points.data, columns=_PLACE).assign(**self.points.features.reset_index(drop=True))
        whole = np.rint(self.points.data).astype(int)
        kept = table.assign(t_frame=whole[:, 0]).loc[((whole >= 0) & (whole < self.labels.data.shape)).all(axis=1)]
        with atomic_path(self.files[0]) as part:
            kept.sort_values("t_frame", kind="stable").round({"y_px": 2, "x_px": 2}).to_csv(part, index=False)
        left = f" ({len(table) - len(kept)} outside the movie left out)" if len(kept) < len(table) else ""
        return f"{self.files[0]}: {len(kept)} point{'s' * (len(kept) != 1)}{left}"

    def _save_labels(self) -> str:
        save_movie(Movie(self.labels.data, self.fs), self.files[1])
        return f"{self.files[1]}: labels"


def _read_points(path: Path, movie: Movie) -> pd.DataFrame:
    """Read points to go on from, with all their columns; none where there is no such file yet."""
    if not path.exists():
        return pd.DataFrame(np.zeros((0, 3)), columns=_PLACE)
    try:
        table = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
        return table.assign(t_frame=check_points(movie, table)[:, 0]).drop(columns="t_s", errors="ignore")
    except ValueError as error:
        raise MovieFileError(path, str(error), "Correct it, or name another file") from error


def _read_labels(path: Path, shape: tuple[int, int, int], fs: float) -> np.ndarray:
    """Read labels to go on from, or make empty ones."""
    if not path.exists():
        with limit_memory(LABELS_GB):
            return scratch_array(shape, np.uint16, sparse=True)
    labels = load_movie(path, fs=fs).frames()
    if labels.shape != shape:
        raise MovieFileError(path, f"holds labels of {labels.shape}, the movie has {shape}", "Name another file")
    return labels if labels.dtype.kind == "u" else labels.astype(np.int32)
