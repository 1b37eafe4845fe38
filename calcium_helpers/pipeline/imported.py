"""``load_suite2p``, ``load_caiman``: what other programs found, completed to results like those of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from calcium_helpers.cell_summary import summarise_cells, warn_of_cells
from calcium_helpers.deconvolve import deconvolve
from calcium_helpers.io.caiman import read_caiman
from calcium_helpers.io.suite2p import read_suite2p
from calcium_helpers.noise import estimate_snr
from calcium_helpers.pipeline.config import PipelineConfig
from calcium_helpers.pipeline.steps import Activity, find_events, state_change
from calcium_helpers.pipeline.summary import list_versions
from calcium_helpers.results import Imported, Results


def load_suite2p(folder: str | Path, *, fs: float | None = None, plane: int | None = None, trusted: bool = False) -> Results:
    """Read a folder of suite2p as results, to be shown, decided on and written like those of a run.

    F, Fneu, footprints, spikes and decisions are suite2p's. dF/F (of F less suite2p's share of Fneu, 0.7 by default), denoised
    traces and events are computed here.

    Parameters
    ----------
    folder : path
        The one with ``F.npy``, ``Fneu.npy``, ``stat.npy`` and ``ops.npy``, or one above that holds ``plane0``.
    fs : float, optional
        Frames per second, Hz; by default what the file says.
    plane : int, optional
        Which of several planes, from 0.
    trusted : bool
        Read files that ask for more than arrays and numbers, which may run programs.

    Returns
    -------
    Results
        Without the strip of frames; ``spikes`` in suite2p's unit.

    Raises
    ------
    MovieFileError
        When a file is absent, damaged or does not fit the others, or is not to be read without trust.
    """
    return complete(read_suite2p(folder, fs=fs, plane=plane, trusted=trusted))


def load_caiman(path: str | Path, *, fs: float | None = None) -> Results:
    """Read an HDF5 file of CaImAn as results, to be shown, decided on and written like those of a run.

    Footprints, traces and decisions are CaImAn's, and so are dF/F and spikes where the file has them; what it lacks, denoised
    traces and events are computed here.

    Parameters
    ----------
    path : path
        As ``cnmf.save`` writes it.
    fs : float, optional
        Frames per second, Hz; by default what the file says.

    Returns
    -------
    Results
        Without the strip of frames; ``raw`` is C + YrA and the background in each component's place, ``neuropil`` that
        background.

    Raises
    ------
    MovieFileError
        When the file is absent, damaged, not CaImAn's, or of a volume.
    """
    return complete(read_caiman(path, fs=fs))


def complete(imported: Imported) -> Results:
    """Add what another program did not compute: dF/F, denoised traces, spikes, events, and the numbers of a report.

    Parameters
    ----------
    imported : Imported
        As a reader of ``io`` gives it.

    Returns
    -------
    Results
    """
    footprints, raw, program = imported.footprints, imported.raw, imported.program
    # Both programs leave out, or tell apart, pixels that cells share.
    config = PipelineConfig("2p", motion=None, detector="rois", neuropil=imported.share, unmix=False, f0=imported.f0)
    dff = state_change(raw, imported.neuropil, footprints, config) if imported.dff is None else imported.dff
    fitted = deconvolve(dff, method=config.deconvolution)
    spikes, spikes_from = (fitted.spikes, "deconvolution") if imported.spikes is None else (imported.spikes, program)
    kinetics = np.array([fitted.decay_s, fitted.rise_s])
    activity = Activity(raw, imported.neuropil, dff, fitted.denoised, spikes, kinetics)
    y, x = footprints.centroids.T
    place = pd.DataFrame({"id": footprints.ids, "y_px": y, "x_px": x})
    measured = imported.scores.assign(snr=estimate_snr(dff), area_px=footprints.area_px)
    cells = pd.concat([place, measured], axis=1)
    accepted = measured["accepted"].to_numpy(dtype=bool)
    height, width = footprints.shape
    summary = {
        "source": imported.source, "fs_hz": raw.fs, "n_frames": raw.n_frames, "duration_s": raw.n_frames / raw.fs,
        "height_px": height, "width_px": width, "pixel_um": imported.pixel_um, "modality": None, "detector": program,
        "method": f"Cells were found by {program}, whose results were read; dF/F not in them, and events, were computed here.",
        "diameter_px": None, "motion": None, **summarise_cells(cells, dff, spikes, in_hz=False),
        "spikes_from": spikes_from, "decay_s": fitted.decay_s, "rise_s": fitted.rise_s,
        "warnings": warn_of_cells(accepted, dff), "versions": list_versions(), "seconds_total": None,
    }  # fmt: skip
    stages = [(f"components of {program}", len(accepted), "as its files hold them")]
    stages.append(("accepted", int(accepted.sum()), f"by {program}, or by hand there"))
    return Results(
        footprints, *activity[:5], find_events(activity, config), cells, pd.DataFrame(stages, columns=["stage", "n", "why"]),
        pd.DataFrame({"step": [f"import from {program}"], "seconds": [np.nan], "note": [""]}), None, imported.shifts,
        imported.images, {}, {**config.as_dict(), "modality": None, "detector": program, "spikes": spikes_from}, summary,
        (f"{program}: {imported.source}", f"{len(accepted)} components read, {int(accepted.sum())} accepted"),
    )  # fmt: skip
