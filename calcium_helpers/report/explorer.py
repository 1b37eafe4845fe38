"""What the page's interactive view of the cells needs: outlines, images, and traces small enough to travel inside it."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from calcium_helpers.containers import Events, Footprints
from calcium_helpers.plots import outline
from calcium_helpers.plots.display import display_limits, envelope, peaks
from calcium_helpers.report.numbers import CELL_LABELS, MEASURES, format_value
from calcium_helpers.results import Results

if TYPE_CHECKING:
    from calcium_helpers.stats import Statistics

# With the spikes about 4 MB of text at any number of cells: of 2000 cells 1000 samples each, which is what their panel shows.
TRACE_BYTES, LONGEST_TRACE, SHORTEST_TRACE = 2_000_000, 4_000, 64
# All outlines together about 2.5 MB, also where footprints are ragged.
OUTLINE_POINTS, FEWEST_POINTS = 200_000, 24
IMAGE_SIDE_PX = 800
IMAGES = {
    "mean": ("Mean", "mean of all frames"),
    "correlation": ("Correlation", "correlation of each pixel with its neighbours: active cells are bright"),
    "max": ("Maximum", "maximum over time: cells that were active once are bright"),
    "pnr": ("Peak to noise", "peak over noise of each pixel: active cells are bright"),
}


class Outline(NamedTuple):
    """One component on the page: its row, whether it was accepted, and its SVG path."""

    row: int
    accepted: bool
    path: str


class Explorer(NamedTuple):
    """Outlines as SVG (large ones first, so that small ones stay on top) and the data behind them, ready for JSON."""

    outlines: list[Outline]
    truth: list[str]
    images: dict[str, dict[str, str]]
    data: dict[str, Any]


def build_explorer(results: Results, statistics: Statistics, *, truth: Footprints | None = None) -> Explorer:
    """Collect what the interactive views need.

    Raises
    ------
    ValueError
        When an image or the truth has another shape than the footprints.
    """
    cells = results.cells_by_id()
    footprints = results.footprints
    if truth is not None and truth.shape != footprints.shape:
        raise ValueError(f"truth must have the footprints' shape {footprints.shape}, got {truth.shape}")
    max_points = max(FEWEST_POINTS, OUTLINE_POINTS // max(1, len(footprints)))
    outlines = [
        Outline(int(row), bool(cells["accepted"].iloc[row]), svg_path(footprints, int(row), max_points=max_points))
        for row in np.argsort(-footprints.area_px, kind="stable")
    ]
    n_samples = int(np.clip(TRACE_BYTES // max(1, len(footprints)), SHORTEST_TRACE, LONGEST_TRACE))
    duration_s = results.dff.n_frames / results.dff.fs
    rows = _with_measures(cells.drop(columns="accepted"), statistics)
    place = pd.Series(range(len(cells)), index=cells.index)
    clusters = statistics.cell_clusters
    data = {
        "ids": footprints.ids.tolist(),
        "accepted": cells["accepted"].tolist(),
        "columns": list(map(str, rows.columns)),
        "rows": [[_cell_text(value) for value in row] for row in rows.itertuples(index=False)],
        "centres": np.round(footprints.centroids + 0.5, 1).tolist(),
        "order": place[clusters.ids[clusters.order]].tolist(),
        "clusters": pd.Series(clusters.labels, index=clusters.ids).reindex(cells.index, fill_value=-1).tolist(),
        "duration_s": duration_s,
        "events": _pack_events(results.events, results.footprints.ids, duration_s),
        "dff": _quantise(envelope(results.dff.values, n_samples)),
        "spikes": _quantise(peaks(results.spikes.values, n_samples // 2)),
    }
    paths = [] if truth is None else [svg_path(truth, row, max_points=max_points) for row in range(len(truth))]
    return Explorer(outlines, paths, _images(results), data)


def _with_measures(cells: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """Add to each accepted cell its cluster and what was measured of its events; scores and words come last."""
    measured = statistics.cells.pivot(index="roi", columns="measure", values="value").reindex(cells.index)
    clusters = statistics.cell_clusters
    label = pd.Series(clusters.labels, index=clusters.ids).reindex(cells.index)
    added: dict[str, Any] = {"cluster": [str(int(value) + 1) if value >= 0 else None for value in label]}
    added |= {name: measured[measure] for measure, name in MEASURES.items() if measure in measured}
    table = cells.assign(**added).rename(columns=CELL_LABELS)
    known = [name for name in (*list(CELL_LABELS.values())[:-1], *added) if name in table]
    words = [name for name in table if name == "reason"]
    return table[[*known, *table.columns.drop([*known, *words]), *words]]


def _pack_events(events: Events, ids: np.ndarray, duration_s: float) -> dict[str, Any]:
    """Pack times, cell by cell, as shares of the recording in 16 bits: of 10 min, to a hundredth of a second."""
    table = events.table[events.table["roi"].isin(ids)]
    row = pd.Index(ids).get_indexer(table["roi"])
    table = table.iloc[np.argsort(row, kind="stable")]
    times = table[["onset_s", "peak_s", "offset_s"]].to_numpy(dtype=float).T / max(duration_s, 1e-9)
    text = base64.b64encode(np.round(65535 * np.clip(times, 0, 1)).astype("<u2").tobytes()).decode()
    return {"counts": np.bincount(row, minlength=len(ids)).tolist(), "bytes": text}


def _images(results: Results) -> dict[str, dict[str, str]]:
    images = {}
    for key, (label, about) in IMAGES.items():
        if key in results.images:
            image = np.asarray(results.images[key])
            if image.shape != results.footprints.shape:
                raise ValueError(f"image {key!r} must have the footprints' shape {results.footprints.shape}, got {image.shape}")
            images[key] = {"label": label, "about": about, "src": _grey_png(image)}
    return images


def _grey_png(image: np.ndarray) -> str:
    low, high = display_limits(image)
    grey = np.clip((np.nan_to_num(image, nan=low) - low) / (high - low), 0, 1)
    picture = Image.fromarray(np.round(255 * grey).astype(np.uint8))
    picture.thumbnail((IMAGE_SIDE_PX, IMAGE_SIDE_PX))
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def svg_path(footprints: Footprints, row: int, *, max_points: int) -> str:
    """Return the border of one footprint as an SVG path of about ``max_points`` points at most, each to a tenth of a pixel."""
    lines = outline(footprints, row)
    stride = -(-sum(len(line) for line in lines) // max_points)
    parts = []
    for line in lines:
        # Pixel (0, 0) has its centre at 0.5 in SVG.
        points = [f"{x + 0.5:.1f} {y + 0.5:.1f}" for y, x in line[:-1:stride]]
        parts.append("M" + "L".join(points) + "Z")
    return "".join(parts)


def _quantise(values: np.ndarray) -> dict[str, Any]:
    """Pack rows as bytes between each row's minimum and maximum; what is not finite counts as the minimum."""
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(axis=1, initial=np.inf)
    high = np.where(finite, values, -np.inf).max(axis=1, initial=-np.inf)
    low, high = (np.where(np.isfinite(bound), bound, 0).astype(float) for bound in (low, high))
    span = np.where(high > low, high - low, 1)[:, None]
    packed = np.round(255 * (np.where(finite, values, low[:, None]) - low[:, None]) / span).astype(np.uint8)
    text = base64.b64encode(packed.tobytes()).decode()
    return {"n": values.shape[1], "low": _short(low), "high": _short(high), "bytes": text}


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _cell_text(value: Any) -> str:
    return "–" if value is None or value != value or value == "" else format_value(value)
