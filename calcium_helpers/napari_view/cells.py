"""The cells of a run as layers of napari, and keys that decide on them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from calcium_helpers.containers import Footprints
from calcium_helpers.curation import apply_decisions, standing
from calcium_helpers.io.curation import add_decision, load_decisions
from calcium_helpers.plots._style import ACCEPTED, REJECTED
from calcium_helpers.results import Results

KEYS = {"a": "accept", "r": "reject", "u": "undo", "m": "merge"}
SEEN = 0.2
"""Share of a footprint's largest weight from which a pixel counts as the cell's."""
_TEXT = {"string": "{id}", "size": 9, "color": "white", "anchor": "lower_left"}


class Cells:
    """The layers ``cells`` and ``centres``, and what was decided."""

    def __init__(self, viewer: Any, results: Results, log: Path | None, who: str | None, place: dict[str, Any]) -> None:
        self.viewer, self.base, self.log, self.who = viewer, results, log, who
        self.chosen: int | None = None  # row of the cell that is to be merged into another
        self.pointed: int | None = None  # row of the one under the cursor
        footprints = results.footprints
        diameter = 2 * np.sqrt(np.median(footprints.area_px) / np.pi) if len(footprints) else 1.0
        self.radius = max(1.0, diameter / 8)
        self.areas = viewer.add_labels(np.zeros(footprints.shape, int), name="cells", opacity=0.8, **place)
        self.areas.contour = 1
        self.centres = viewer.add_points(
            footprints.centroids, name="centres", size=2 * self.radius, border_width=0.2,
            features=pd.DataFrame({"id": footprints.ids}), text=_TEXT | {"translation": (0, self.radius)}, **place,
        )  # fmt: skip
        self.areas.editable = self.centres.editable = False
        warned = self._apply(load_decisions(log) if log is not None else pd.DataFrame(columns=["unit", "decision"]))
        for key, act in KEYS.items():
            for one in (viewer, self.centres, self.areas):  # napari's own keys of a layer come first otherwise
                one.bind_key(key, lambda _, act=act: self.decide(act), overwrite=True)
        viewer.mouse_move_callbacks.append(lambda *_: self._point())
        n = int(self.results.cells_by_id()["accepted"].sum())
        self.say(f"{n} of {len(footprints)} components are accepted as cells. {warned}")

    def say(self, text: str) -> None:
        """Show a line at the top of the window."""
        keys = "   ".join(f"{key}: {act}" for key, act in (KEYS | {"s": "save annotation"}).items())
        overlay = self.viewer.canvas.overlays.text
        overlay.text, overlay.visible, overlay.position, overlay.font_size = f"{text}\n{keys}", True, "top_left", 11
        self.viewer.status = text

    def decide(self, act: str) -> None:
        """Write a decision on the cell under the cursor down and show it; what cannot be is said."""
        row, own = self._row(), self.base.footprints
        if self.log is None:
            return self.say("Nothing is decided: give curation, the log to write to")
        if act != "undo" and row is None:
            return self.say(f"{act}: there is no cell under the cursor")
        chosen, self.chosen = self.chosen, None
        if act == "merge" and chosen is None:
            self.chosen = row
            return self.say(f"merge cell {own.ids[row]}: point at the cell that it is a part of, and press m")
        if act == "merge" and chosen == row:
            return self.say("nothing is merged")
        if act == "merge":
            row, act = chosen, f"merge into {own.ids[row]}"
        unit, where = (None, None) if act == "undo" else (int(own.ids[row]), own.centroids[row])
        try:
            table = add_decision(self.log, unit, act, who=self.who, where=where, ids=own.ids)
        except (OSError, ValueError) as error:
            return self.say(str(error))
        unit, warned = int(table["unit"].iloc[-1]), self._apply(table)
        return self.say(f"{'undone: ' * (act == 'undo')}{self._describe(unit)}. Decided: {len(standing(table))}. {warned}")

    def _row(self) -> int | None:
        """Row of the cell under the cursor: a centre first, for cells may hide each other."""
        place = np.array(self.areas.world_to_data(self.viewer.cursor.position)[-2:])
        distance = np.where(self.centres.shown, np.hypot(*(self.centres.data - place).T), np.inf)
        if len(distance) and distance.min() <= self.radius:
            return int(distance.argmin())
        pixel = np.floor(place + 0.5).astype(int)
        inside = ((pixel >= 0) & (pixel < self.areas.data.shape)).all()
        return int(self.areas.data[tuple(pixel)]) - 1 if inside and self.areas.data[tuple(pixel)] else None

    def _point(self) -> None:
        """Say which cell the cursor came to."""
        row = self._row()
        if row != self.pointed and row is not None and self.chosen is None:
            self.say(self._describe(int(self.base.footprints.ids[row])))
        self.pointed = row

    def _describe(self, unit: int) -> str:
        state = self.centres.features.set_index("id")["state"]
        return f"cell {unit}: {state[unit]}" if unit in state.index else f"cell {unit} is not there any more"

    def _apply(self, decisions: pd.DataFrame) -> str:
        """Show cells as all decisions have them; say which decisions do not fit."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            self.results = apply_decisions(self.base, decisions, count=False)
        cells = self.results.cells_by_id()
        accepted, reason = cells["accepted"].to_numpy(), cells.get("reason", pd.Series("", cells.index)).astype(str)
        merged = reason.str.startswith("merged into").to_numpy(dtype=bool)
        state = [
            why if why.startswith((word, "merged")) else f"{word}, {why}" if why else word
            for word, why in zip(np.where(accepted, "accepted", "rejected"), reason, strict=True)
        ]
        self._show(accepted, np.isin(cells.index, standing(decisions)["unit"].to_numpy(dtype=int)), merged, state)
        return " ".join(str(warning.message) for warning in caught)

    def _show(self, accepted: np.ndarray, decided: np.ndarray, merged: np.ndarray, state: list[str]) -> None:
        """Give cells the places and colours that they have now."""
        from napari.utils.colormaps import DirectLabelColormap

        features = pd.DataFrame({"id": self.base.footprints.ids, "state": state})
        colours, none = np.where(accepted, ACCEPTED, REJECTED), {0: "transparent", None: "transparent"}
        # Features first: napari's line of status is made from them as soon as anything changes.
        self.centres.features = features
        self.areas.features = pd.concat([pd.DataFrame({"id": [-1], "state": ["no cell"]}), features], ignore_index=True)
        self.areas.data = _owners(self.results.footprints, ~merged)
        self.areas.colormap = DirectLabelColormap(color_dict=none | dict(enumerate(colours.tolist(), start=1)))
        if len(colours):
            self.centres.face_color, self.centres.border_color = colours, np.where(decided, "white", "black")
            self.centres.symbol, self.centres.shown = np.where(accepted, "disc", "cross"), ~merged


def _owners(footprints: Footprints, there: np.ndarray) -> np.ndarray:
    """Image (H, W) of the row, from 1, of the cell that has the largest share of its weight in a pixel; 0 is nobody's."""
    weights, image = footprints.weights, np.zeros(footprints.weights.shape[1], int)
    if len(footprints):
        high, total = (np.asarray(values).ravel() for values in (weights.max(axis=1).todense(), weights.sum(axis=1)))
        found = weights.tocoo()
        keep = np.flatnonzero((found.data >= SEEN * high[found.row]) & there[found.row])
        keep = keep[np.argsort(found.data[keep] / total[found.row[keep]], kind="stable")]
        image[found.col[keep]] = found.row[keep] + 1  # of several the last one stays
    return image.reshape(footprints.shape)
