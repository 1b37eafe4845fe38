"""What of results becomes tables and traces of an NWB file, on one clock: footprints, traces, events, and what was done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from calcium_helpers.containers import Traces
from calcium_helpers.results import Results

TRACES = {
    "raw": "mean light in the footprint, counts",
    "neuropil": "light around the footprint, counts",
    "dff": "dF/F as a fraction",
    "denoised": "calcium as deconvolution fits it, dF/F as a fraction",
}
COLUMNS = {
    "accepted": "whether it counts as a cell",
    "reason": "why it does not, or who decided",
    "y_px": "row of its centre, from the top",
    "x_px": "column of its centre, from the left",
    "area_px": "pixels of its footprint",
    "snr": "height of its strongest transients over the noise",
    "contrast": "height of its strongest transients over the spread below the median",
    "consistency": "correlation of the images that two halves of the recording give",
    "compactness": "roundness: 1 for a disc",
    "confidence": "probability that it is a cell, as its detector gives it",
    "onset_time": "begin, seconds, on the clock of the traces",
    "peak_time": "highest point, seconds",
    "offset_time": "end, seconds",
    "amplitude": "height above the level before the onset, dF/F",
    "rise_s": "from 10 to 90 % of the amplitude, seconds",
    "half_decay_s": "from the peak to half of the amplitude, seconds; NaN where something comes before",
    "area": "integral, dF/F s",
    "z": "evidence in standard deviations of the noise",
}
"""What columns of tables mean."""


class Clock:
    """Makes series of one time base: a rate where frames came regularly, else the times, which lie in the file once."""

    def __init__(self, results: Results) -> None:
        self.results = results
        times = results.times_s
        if times is None:
            self.timing: dict[str, Any] = {"starting_time": 0.0, "rate": float(results.raw.fs)}
        elif len(np.unique(np.diff(times).round(9))) > 1:
            self.timing = {"timestamps": times}
        else:
            rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else results.raw.fs
            self.timing = {"starting_time": float(times[0]), "rate": float(rate)}

    def series(self, kind: Callable[..., Any], name: str, **fields: Any) -> Any:
        """Make a series."""
        made = kind(name=name, **self.timing, **fields)
        if "timestamps" in self.timing:
            self.timing = {"timestamps": made}
        return made

    def at(self, seconds: Any) -> np.ndarray:
        """Return seconds from the first frame, at the mean rate, as times of the recording."""
        times = self.results.times_s
        seconds = np.asarray(seconds, dtype=np.float64)
        return seconds if times is None else np.interp(seconds * self.results.raw.fs, np.arange(len(times)), times)


def add_cells(module: Any, plane: Any, clock: Clock) -> None:
    """Add footprints, traces and events."""
    from hdmf.common import DynamicTable, DynamicTableRegion, VectorData, VectorIndex
    from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, PlaneSegmentation, RoiResponseSeries

    results = clock.results
    weights, width = results.footprints.weights, results.footprints.shape[1]
    pixels = np.empty(weights.nnz, dtype=[("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])
    pixels["y"], pixels["x"] = np.divmod(weights.indices, width)
    pixels["weight"] = weights.data
    mask = VectorData(name="pixel_mask", description="column, row and weight of each pixel", data=pixels)
    ends = VectorIndex(name="pixel_mask_index", data=weights.indptr[1:].astype(np.int64), target=mask)
    found = PlaneSegmentation(
        name="PlaneSegmentation", description="components, accepted as cells or not", imaging_plane=plane,
        id=results.footprints.ids, columns=[mask, ends, *_columns(results.cells_by_id())],
    )  # fmt: skip
    module.add(ImageSegmentation(plane_segmentations=[found]))

    def respond(traces: Traces, text: str, unit: str) -> Any:
        rois = found.create_roi_table_region(description="all components", region=list(range(len(traces))))
        fields = {"data": packed(traces.values.T), "unit": unit, "rois": rois, "description": text}
        return clock.series(RoiResponseSeries, traces.kind, **fields)

    for kind, names, unit in ((Fluorescence, ("raw", "neuropil"), "counts"), (DfOverF, ("dff", "denoised"), "dF/F")):
        module.add(container := kind())
        for name in names:
            container.add_roi_response_series(respond(getattr(results, name), TRACES[name], unit))
    source = results.summary.get("spikes_from", "deconvolution")
    unit = "Hz" if results.parameters.get("spikes") == "net" else "dF/F a frame" if source == "deconvolution" else "a.u."
    module.add(respond(results.spikes, f"spikes, from {source}", unit))
    events = results.events.table
    if len(events):
        rows = pd.Index(results.footprints.ids).get_indexer(events["roi"])
        unit_column = DynamicTableRegion(name="unit", data=rows, table=found, description="the component")
        times = {f"{name}_time": clock.at(events[f"{name}_s"]) for name in ("onset", "peak", "offset")}
        others = events.drop(columns=["roi", "onset_s", "peak_s", "offset_s"])
        columns = [unit_column, *_columns(pd.DataFrame(times).join(others))]
        module.add(DynamicTable(name="events", description="transients in dF/F", columns=columns))


def add_records(module: Any, results: Results) -> None:
    """Add what was done, and with which parameters."""
    from hdmf.common import DynamicTable

    done = [("done", line) for line in results.history] + [("warning", line) for line in results.summary.get("warnings", ())]
    tables = {
        "history": ("what was done, oldest first, and what it warned of", pd.DataFrame(done, columns=["kind", "text"])),
        "funnel": ("how many components each stage found or left out", results.funnel),
        "parameters": ("of the analysis, as JSON", pd.DataFrame(_flat(results.parameters), columns=["parameter", "value"])),
    }
    for name, (text, table) in tables.items():
        if len(table):
            module.add(DynamicTable(name=name, description=text, columns=_columns(table)))


def _flat(parameters: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """List nested parameters by names such as ``motion.block_px``."""
    rows = []
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{above}{name}.")
        else:
            rows.append((f"{above}{name}", json.dumps(value, default=str)))
    return rows


def _columns(table: pd.DataFrame) -> list[Any]:
    """Return the columns of a table for NWB, missing text as an empty one."""
    from hdmf.common import VectorData

    columns = []
    for name, values in table.items():
        data: Any = values.to_numpy() if values.dtype.kind in "biuf" else [str(value) for value in values.fillna("")]
        columns.append(VectorData(name=str(name), description=COLUMNS.get(str(name), f"{name}, as in the results"), data=data))
    return columns


def packed(values: np.ndarray) -> Any:
    """Compress an array without loss."""
    from hdmf.backends.hdf5 import H5DataIO

    return H5DataIO(values, compression="gzip", shuffle=True)
