"""What steps return together: a simulation with its truth, a detection, the results of a run."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from calcium_helpers.containers import Events, Footprints, Movie, Shifts, Traces


class Simulation(NamedTuple):
    """A simulated movie and everything that is true of it.

    ``calcium`` holds the noiseless dF/F of each cell, ``spikes`` counts a frame, ``shifts`` the corrections that undo the
    simulated motion.
    """

    movie: Movie
    footprints: Footprints
    calcium: Traces
    spikes: Traces
    shifts: Shifts


class Detection(NamedTuple):
    """What a detector found.

    ``footprints`` and ``traces`` hold every component that survived fitting; ``scores`` (one row each, index = id) says in
    ``accepted`` and ``reason`` which of them are cells. ``funnel`` (columns ``stage, n, why``) counts what went where.
    ``background`` is (spatial (K, H, W), temporal (K, T)) or None.
    """

    footprints: Footprints
    traces: Traces
    background: tuple[np.ndarray, np.ndarray] | None
    scores: pd.DataFrame
    funnel: pd.DataFrame
    extras: dict[str, Any]

    def accepted(self) -> Detection:
        """Keep only the components accepted as cells."""
        keep = self.scores["accepted"].to_numpy(dtype=bool)
        return self._replace(footprints=self.footprints.select(keep), traces=self.traces.select(keep), scores=self.scores[keep])


class Imported(NamedTuple):
    """What another ``program`` found, as far as its file ``source`` says; ``pipeline`` completes it to `Results`.

    ``raw, neuropil`` are in its counts, ``share`` of the neuropil is in each cell, and dF/F is stated relative to ``f0``:
    all light in a cell's place ("all"), or the cell's own ("cell"). ``dff`` and ``spikes`` (in the program's unit) are None
    where it did not infer any. ``scores`` (one row a component) has ``accepted, reason`` and, where known, ``confidence``.
    """

    program: str
    source: str
    footprints: Footprints
    raw: Traces
    neuropil: Traces
    dff: Traces | None
    spikes: Traces | None
    scores: pd.DataFrame
    images: dict[str, np.ndarray]
    shifts: Shifts | None
    share: float
    f0: Literal["cell", "all"]
    pixel_um: float | None


class Results(NamedTuple):
    """All that a run of the pipeline leaves behind, as ``io.save_results`` stores it.

    ``raw, neuropil`` are in counts, ``dff`` and ``denoised`` (calcium as deconvolution fits it) fractions, ``spikes`` in dF/F a
    frame, or in Hz where a network inferred them; ``events`` are the transients of all components. ``images``
    maps names (mean, max, correlation, pnr) to (H, W)
    arrays; ``strip`` maps "raw", "corrected" and, where that was done, "denoised" to the same few frames, binned to be small;
    ``cells`` has one row a component; ``steps`` one row a step of the pipeline (``step, seconds, note``); ``times_s`` (T,) are
    the frame times that the file states, or None; ``summary`` holds every number the report states.
    """

    footprints: Footprints
    raw: Traces
    neuropil: Traces
    dff: Traces
    denoised: Traces
    spikes: Traces
    events: Events
    cells: pd.DataFrame
    funnel: pd.DataFrame
    steps: pd.DataFrame
    times_s: np.ndarray | None
    shifts: Shifts | None
    images: dict[str, np.ndarray]
    strip: dict[str, Movie]
    parameters: dict[str, Any]
    summary: dict[str, Any]
    history: tuple[str, ...]

    def cells_by_id(self) -> pd.DataFrame:
        """Return ``cells`` with its index named ``id``, in the order of the footprints, and a Boolean ``accepted``.

        Raises
        ------
        ValueError
            When a footprint has no row.
        """
        cells = self.cells.set_index("id") if "id" in self.cells else self.cells.rename_axis("id")
        missing = np.setdiff1d(self.footprints.ids, cells.index)
        if missing.size:
            raise ValueError(f"results.cells has no row for the components {missing[:5].tolist()}; each footprint needs one")
        cells = cells.loc[self.footprints.ids]
        return cells.assign(accepted=cells["accepted"].astype(bool) if "accepted" in cells else True)
