"""Fluorescence with simultaneous electrophysiology: the spikes of a neuron are known, not inferred.

Two formats are read: the ground truth of Rupprecht et al. 2021 (doi:10.1038/s41593-021-00895-5), a folder ``DSxx-INDICATOR-...``
with one .mat file a neuron, and Spikefinder (Berens et al. 2018, doi:10.1371/journal.pcbi.1006157), two CSV files a data set.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calcium_helpers.io.errors import MovieFileError

logger = logging.getLogger(__name__)

_TICKS_PER_S = 1e4
_SPIKEFINDER_FS = 100.0
# What stands in a folder's name -> what the indicator is usually called.
_INDICATORS = {
    "OGB1-2": "OGB-1",
    "R-CaMP": "R-CaMP1.07",
    "jGECO1a": "jRGECO1a",
    "GCaMP8f": "jGCaMP8f",
    "GCaMP8s": "jGCaMP8s",
}


class GroundTruth(NamedTuple):
    """One sweep of one neuron: its fluorescence, and when it fired.

    Attributes
    ----------
    dataset : str
        Such as "DS09".
    indicator : str
        Such as "GCaMP6f".
    cell : str
        The neuron, unique within its data set; the sweeps of one neuron share it.
    times_s : ndarray, shape (T,), float64
        Strictly increasing, finite; not necessarily regular.
    dff : ndarray, shape (T,), float32
        Fluorescence, dF/F as a fraction (Spikefinder: arbitrary units); finite.
    spikes_s : ndarray, shape (S,), float64
        Times of the action potentials on the same clock, sorted; from one sample before the first to the last sample.
    fs : float
        Median rate of the fluorescence, Hz.
    neuropil : ndarray, shape (T,), float32, or None
        Fluorescence around the neuron, where it was measured.
    """

    dataset: str
    indicator: str
    cell: str
    times_s: np.ndarray
    dff: np.ndarray
    spikes_s: np.ndarray
    fs: float
    neuropil: np.ndarray | None = None


def load_ground_truth(folder: str | Path) -> tuple[GroundTruth, ...]:
    """Load one data set of ground truth, or all that lie in a folder.

    Every sweep is taken. Samples without a time or a value are left out, times that do not increase are put right (sorted,
    the first of equal ones kept), spikes outside the fluorescence and repeated ones are left out, and sweeps without
    fluorescence are passed over; one logged line counts what was mended.

    Parameters
    ----------
    folder : str or Path
        A folder ``DSxx-INDICATOR-...`` with .mat files (``CAttached``: structures with ``fluo_time`` in seconds, ``fluo_mean`` as
        dF/F, ``events_AP`` in units of 0.1 ms), or the folder that holds several of these.

    Returns
    -------
    tuple of GroundTruth
        By data set, by file, in the order of the sweeps.

    Raises
    ------
    MovieFileError
        When there is no such folder, no such file in it, or a file is broken; the message names it.
    """
    folder = Path(folder)
    inside = sorted(folder.glob("DS*-*")) if folder.is_dir() else []
    paths = [path for place in inside or [folder] for path in sorted(place.glob("*.mat"))]
    if not paths:
        remedy = "Give a folder DSxx-INDICATOR-... that holds .mat files, or the folder above it"
        raise MovieFileError(folder, "holds no ground truth", remedy)
    mended: Counter[str] = Counter()
    sweeps = tuple(sweep for path in paths for sweep in _read_neuron(path, mended))
    counts = ", ".join(f"{name} {count}" for name, count in mended.items() if count) or "nothing"
    logger.info("%s: %d sweeps of %d neurons; mended: %s", folder.name, len(sweeps), len(paths), counts)
    return sweeps


def _read_neuron(path: Path, mended: Counter[str]) -> list[GroundTruth]:
    from scipy.io import loadmat

    try:
        found = loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=["CAttached"])["CAttached"]
    except KeyError as error:
        raise MovieFileError(path, "has no variable CAttached", "Take this file out of the folder of ground truth") from error
    except Exception as error:  # a damaged file raises almost anything
        raise MovieFileError(path, f"cannot be read as a MATLAB file, version 5 ({error})", "Download it again") from error
    dataset, indicator = _name(path.parent.name)
    sweeps = []
    for sweep in np.ravel(np.atleast_1d(found)):
        if np.size(getattr(sweep, "fluo_time", ())) < 2 or not np.size(getattr(sweep, "fluo_mean", ())):
            mended["sweeps without fluorescence, left out"] += 1
            continue
        mine = GroundTruth(dataset, indicator, path.stem, *_mend(path, sweep, mended))
        if len(mine.times_s) > 1:
            sweeps.append(mine)
        else:
            mended["sweeps without a finite sample, left out"] += 1
    return sweeps


def _name(folder: str) -> tuple[str, str]:
    """Data set and indicator from a folder's name, such as DS06-GCaMP6f-zf-aDp."""
    dataset, _, rest = folder.partition("-")
    indicator = re.split(r"-(?:m|zf|spinal)\b", rest)[0]
    return dataset, _INDICATORS.get(indicator, indicator)


def _mend(path: Path, sweep: Any, mended: Counter[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray | None]:
    """Times, dF/F, spikes, rate and neuropil of a sweep, as GroundTruth promises them."""
    try:
        times, dff = (np.ravel(getattr(sweep, name)).astype(np.float64) for name in ("fluo_time", "fluo_mean"))
        spikes = np.sort(np.ravel(getattr(sweep, "events_AP", ())).astype(np.float64)) / _TICKS_PER_S
    except (TypeError, ValueError) as error:
        raise MovieFileError(path, f"holds no numbers in CAttached ({error})", "Download it again") from error
    if len(times) != len(dff):
        raise MovieFileError(path, f"has {len(times)} times and {len(dff)} values of dF/F in one sweep", "Download it again")
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(times[order]) & np.isfinite(dff[order])]
    later = np.diff(times[order], prepend=-np.inf) > 0
    mended["samples not finite, left out"] += len(times) - len(order)
    mended["times not increasing"] += int((~later).sum() + (np.diff(order) < 0).sum())
    order = order[later]
    times, dff = times[order], dff[order].astype(np.float32)
    fs = float(1 / np.median(np.diff(times))) if len(times) > 1 else np.nan
    inside = np.isfinite(spikes)
    if len(times) > 1:
        inside &= (spikes > times[0] - 1 / fs) & (spikes <= times[-1])
    mended["spikes outside the fluorescence"] += int((~inside).sum())
    around = np.ravel(getattr(sweep, "neuropil", ()))
    neuropil = around[order].astype(np.float32) if len(around) == len(later) + len(times) - len(order) else None
    return times, dff, spikes[inside], fs, neuropil
