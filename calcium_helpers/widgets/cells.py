"""A browser of cells: look at each one, and accept, reject or merge it; every decision goes to the log at once."""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from calcium_helpers.curation import apply_decisions, standing
from calcium_helpers.io import load_results
from calcium_helpers.io.curation import CURATION, add_decision, load_decisions
from calcium_helpers.plots.display import nice_length
from calcium_helpers.results import Results
from calcium_helpers.widgets.cell_picture import CellPicture, describe, state
from calcium_helpers.widgets.sliders import follow, join, require_ipywidgets

SHOWN_PARTNERS = 20
READ_ONLY = "Decisions need a log: browse_cells('out/') of a run's folder, or curation='curation.csv'."


def browse_cells(results: Results | str | Path, *, curation: str | Path | None = None, who: str | None = None) -> Any:
    """Go through the cells of a run, and accept, reject or merge them.

    Parameters
    ----------
    results : Results or path
        A run's folder or its ``results.h5``. Of Results, give those that no decision was applied to
        (``load_results(path, curated=False)``).
    curation : path, optional
        Log that each decision is written to at once; by default ``curation.csv`` beside ``results.h5``. Results without a log
        can only be looked at.
    who : str, optional
        Who decides; the user's name by default.

    Returns
    -------
    ipywidgets.VBox
        Show it as the last line of a cell. ``curation.csv`` is applied by `load_results` and by ``calcium-helpers update``.

    Raises
    ------
    ModuleNotFoundError
        Without ipywidgets.
    MovieFileError
        When results or log cannot be read.
    """
    require_ipywidgets()
    if isinstance(results, Results):
        return _Browser(results, None if curation is None else Path(curation), who).box
    file = Path(results) / "results.h5" if Path(results).is_dir() else Path(results)
    log = file.with_name(CURATION) if curation is None else Path(curation)
    return _Browser(load_results(file, curated=False), log, who).box


class _Browser:
    """The controls, which cells they list in which order, and which of these is shown."""

    def __init__(self, results: Results, log: Path | None, who: str | None) -> None:
        self.base, self.log, self.who = results, log, who
        self.picture = CellPicture()
        self.at, self.order, self.busy = 0, results.footprints.ids, False
        self.controls = _make_controls(results)
        decisions = pd.DataFrame(columns=["unit", "decision"]) if log is None else load_decisions(log)
        warned = self._apply(decisions)
        self._say(READ_ONLY if log is None else warned)
        self._rescale()
        for name in ("show", "reverse", "range"):
            self._on(name, self._list)
        for name in ("image", "times", "partner"):
            self._on(name, self._redraw)
        self._on("sort", self._rescale)
        self._on("slider", lambda: self._go(self.controls["slider"].value))
        self._on("cell", lambda: self._go(self.controls["cell"].index))
        self.controls["back"].on_click(lambda _: self._go(self.at - 1))
        self.controls["on"].on_click(lambda _: self._go(self.at + 1))
        for verb in ("accept", "reject", "undo", "merge"):
            self.controls[verb].on_click(partial(self._decide, verb))
        picture = follow({"": self.controls["drawn"]}, lambda **_: self._draw())
        self.box = join(*_arrange(self.controls), picture=picture)

    def _on(self, name: str, act: Callable[[], None]) -> None:
        """Act when a person, not this program, moves a control."""
        self.controls[name].observe(lambda _: None if self.busy else act(), names="value")

    @property
    def cell(self) -> int | None:
        """Id of the cell that is shown."""
        return int(self.order[self.at]) if len(self.order) else None

    def _apply(self, decisions: pd.DataFrame) -> str:
        """Apply all decisions; say which of them do not fit."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            self.results = apply_decisions(self.base, decisions, count=False)
        self.decided = standing(decisions)["unit"].to_numpy(dtype=int)
        self.cells = self.results.cells_by_id()
        return " ".join(str(warning.message) for warning in caught)

    def _values(self) -> np.ndarray:
        return _qualities(self.results)[self.controls["sort"].value]

    def _rescale(self) -> None:
        """Fit the filter to the numbers that cells are sorted by."""
        finite = self._values()[np.isfinite(self._values())]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        step = nice_length(max(high - low, 1e-3) / 50)
        low, high = np.floor(low / step) * step, np.ceil(high / step) * step + (high == low) * step
        control, self.busy = self.controls["range"], True
        control.max = max(control.max, high)  # first wider: low must never pass high
        control.min, control.max, control.step, control.value = low, high, step, (low, high)
        self.busy = False
        self._list()

    def _list(self, show: int | None = None) -> None:
        """List the cells that pass the filters, in order; stay with the one that is shown, or go to another."""
        controls, values, show = self.controls, self._values(), self.cell if show is None else show
        low, high = controls["range"].value
        everything = (low, high) == (controls["range"].min, controls["range"].max)
        accepted = self.cells["accepted"].to_numpy()
        kinds = {"accepted": accepted, "rejected": ~accepted, "undecided": ~np.isin(self.cells.index, self.decided)}
        passes = ((values >= low) & (values <= high)) | everything
        rows = np.flatnonzero(passes & kinds.get(controls["show"].value, True))
        rows = rows[np.argsort(-values[rows] if controls["reverse"].value else values[rows], kind="stable")]
        self.order = self.results.footprints.ids[rows]
        names = [f"{cell}: {state(self.cells.loc[cell])}" for cell in self.order]
        self.busy = True
        controls["cell"].options = list(zip(names, self.order.tolist(), strict=True))
        controls["slider"].max = max(len(rows) - 1, 0)
        self.busy = False
        found = np.flatnonzero(self.order == show)
        self._go(int(found[0]) if len(found) else self.at)

    def _go(self, at: int | None) -> None:
        """Show another cell of the list."""
        self.at, self.busy = int(np.clip(at or 0, 0, max(len(self.order) - 1, 0))), True
        controls, cell = self.controls, self.cell
        controls["slider"].value = self.at
        if cell is not None:
            controls["cell"].value = cell
        partners = [] if cell is None else _partners(self.results, cell)
        controls["partner"].options = [("none", None), *((text, unit) for text, unit, _ in partners)]
        controls["partner"].value = partners[0][1] if partners and partners[0][2] else None
        controls["back"].disabled, controls["on"].disabled = self.at == 0, self.at >= len(self.order) - 1
        for name in ("accept", "reject", "merge"):
            controls[name].disabled = self.log is None or cell is None
        controls["undo"].disabled = self.log is None or not len(self.decided)
        self.busy = False
        self._redraw()

    def _redraw(self) -> None:
        self.controls["merge"].disabled = self.log is None or self.controls["partner"].value is None
        self.controls["drawn"].value += 1

    def _draw(self) -> bytes:
        return self.picture.draw(
            self.results, self.cell, partner=self.controls["partner"].value, image=self.controls["image"].value or "",
            times_s=self.controls["times"].value, place=f"{self.at + 1} of {len(self.order)}",
        )  # fmt: skip

    def _decide(self, verb: str, _: Any) -> None:
        """Write a decision down, apply it, and say so; what cannot be written is said too."""
        cell, partner = self.cell, self.controls["partner"].value
        decision = f"merge into {partner}" if verb == "merge" else verb
        own = self.base.footprints
        try:
            where = None if verb == "undo" else own.centroids[own.ids == cell][0]
            table = add_decision(self.log or "", cell, decision, who=self.who, where=where, ids=own.ids)
        except (OSError, ValueError) as error:
            self._say(str(error))
            return
        unit, warned = int(table["unit"].iloc[-1]), self._apply(table)
        self._list(show=partner if verb == "merge" else unit if verb == "undo" else None)
        done = f"undone: cell {unit} is {state(self.cells.loc[unit])}" if unit in self.cells.index else "undone"
        self._say(f"{done if verb == 'undo' else f'cell {unit}: {decision}'}. Decided: {len(self.decided)}. {warned}")

    def _say(self, text: str) -> None:
        self.controls["said"].value = html.escape(text)


def _make_controls(results: Results) -> dict[str, Any]:
    """Make all controls, by name."""
    widgets = require_ipywidgets()
    style = {"description_width": "80px"}
    duration_s = results.dff.n_frames / results.dff.fs
    narrow = widgets.Layout(width="120px")
    half, third = ({"layout": widgets.Layout(width=width), "style": style} for width in ("410px", "270px"))
    images = [name for name in ("mean", "correlation", "max", "pnr", *results.images) if name in results.images]
    qualities = [(describe(name), name) for name in _qualities(results)]
    button = partial(widgets.Button, layout=widgets.Layout(width="96px"))
    return {
        "image": widgets.Dropdown(options=list(dict.fromkeys(images)), description="image", **third),
        "show": widgets.Dropdown(options=["all", "accepted", "rejected", "undecided"], description="show", **third),
        "sort": widgets.Dropdown(options=qualities, description="sort by", **third),
        "reverse": widgets.Checkbox(value=False, description="largest first", indent=False, layout=narrow),
        "range": widgets.FloatRangeSlider(value=(0, 1), min=0, max=1, description="only", continuous_update=False, **half),
        "times": widgets.FloatRangeSlider(
            value=(0, duration_s), min=0, max=duration_s, step=max(duration_s / 500, 1e-3), description="time (s)",
            continuous_update=False, readout_format=".1f", **half,
        ),
        "back": button(description="Previous", icon="arrow-left"), "on": button(description="Next", icon="arrow-right"),
        "slider": widgets.IntSlider(value=0, min=0, max=0, description="place", readout=False, **third),
        "cell": widgets.Dropdown(options=[], description="cell", **third),
        "accept": button(description="Accept", icon="check"), "reject": button(description="Reject", icon="times"),
        "undo": button(description="Undo", icon="undo"), "merge": button(description="Merge", icon="compress"),
        "partner": widgets.Dropdown(options=[("none", None)], description="merge into", **half),
        "said": widgets.HTML(value=""), "drawn": widgets.IntText(value=0),
    }  # fmt: skip


def _arrange(controls: dict[str, Any]) -> list[Any]:
    """Put controls into rows."""
    row = require_ipywidgets().HBox
    rows = [
        ("image", "show", "sort", "reverse"), ("range", "times"), ("back", "slider", "on", "cell"),
        ("accept", "reject", "undo", "partner", "merge"), ("said",),
    ]  # fmt: skip
    return [row([controls[name] for name in names]) for names in rows]


def _qualities(results: Results) -> dict[str, np.ndarray]:
    """Return the numbers that cells can be sorted by, in the order of the footprints."""
    cells = results.cells_by_id()
    numbers = cells.select_dtypes("number").drop(columns=["y_px", "x_px"], errors="ignore")
    events = results.events.table["roi"].value_counts().reindex(cells.index, fill_value=0)
    table = {"id": cells.index, **{str(name): numbers[name] for name in numbers}, "events": events}
    return {name: np.asarray(values, dtype=float) for name, values in table.items()}


def _partners(results: Results, cell: int) -> list[tuple[str, int, bool]]:
    """Return what a cell could be merged into, those that overlap most first: a name, the id, whether they overlap at all."""
    footprints, dff = results.footprints, results.dff.values
    row = int(np.flatnonzero(footprints.ids == cell)[0])
    merged = [state(row).startswith("merged") for _, row in results.cells_by_id().iterrows()]
    shared = np.asarray((footprints.masks @ footprints.masks[row].astype(float).T).todense()).ravel()
    shared /= np.minimum(footprints.area_px, footprints.area_px[row])
    distance = np.hypot(*(footprints.centroids - footprints.centroids[row]).T)
    order = [other for other in np.lexsort((distance, -shared)) if other != row and not merged[other]][:SHOWN_PARTNERS]
    found = []
    for other in order:
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.corrcoef(dff[row], dff[other])[0, 1] if dff.shape[1] > 1 else np.nan
        alike = f", r {r:.2f}" if np.isfinite(r) else ""
        near = f"{100 * shared[other]:.0f} % shared" if shared[other] else f"{distance[other]:.0f} px away"
        found.append((f"{footprints.ids[other]}: {near}{alike}", int(footprints.ids[other]), bool(shared[other])))
    return found
